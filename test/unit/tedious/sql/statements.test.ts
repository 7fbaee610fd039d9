import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenize } from '../../../../src/tedious/sql/lexer.ts';
import { readStatements } from '../../../../src/tedious/sql/statements.ts';

function kinds(sql: string): string[] {
  return readStatements(tokenize(sql)).map(({ kind, blocks }) =>
    [...blocks.map((block) => block.kind), kind].join(' > '),
  );
}

describe('the statements of a text', () => {
  it.each([
    ['', []],
    [';;', []],
    ['select 1 select 2', ['SELECT', 'SELECT']],
    ['(select 1) union all (select 2); select 3', ['SELECT', 'SELECT']],
    ['select 1 union all select 2 except select 3 intersect select 4', ['SELECT']],
    ['with a as (select 1 as x), b (y) as (select 2) select * from a select 2', ['SELECT', 'SELECT']],
    [';with a as (select 1 as x) (select * from a) select 2', ['SELECT', 'SELECT']],
    ['with a as (select 1 as x) update a set x = 2 set nocount on', ['UPDATE', 'SET']],
    ['insert into t (a) select 1 select 2', ['INSERT', 'SELECT']],
    ['insert t values (1) select 2', ['INSERT', 'SELECT']],
    ['insert t (select 1) select 2', ['INSERT', 'SELECT']],
    ['insert t default values select 2', ['INSERT', 'SELECT']],
    ['insert t output inserted.a values (1) set @a = 1', ['INSERT', 'SET']],
    ['insert t exec p exec q', ['INSERT', 'EXEC']],
    ['insert t with (tablock) (a) select 1', ['INSERT']],
    ['update t set a = 1 set nocount on', ['UPDATE', 'SET']],
    ['update t set a = case when b = 1 then 2 else 3 end where c = 1 select 1', ['UPDATE', 'SELECT']],
    [
      'merge t using s on t.a = s.a when matched then update set b = 1 when not matched then insert (a) values (1) ' +
        'when not matched by source then delete; select 1',
      ['MERGE', 'SELECT'],
    ],
    ['select 1 from a inner merge join b on 1 = 1 option (merge join, merge union)', ['SELECT']],
    ['select a from t order by a offset 5 rows fetch next 5 rows only select 2', ['SELECT', 'SELECT']],
    ['select 1 fetch next from c into @a', ['SELECT', 'FETCH']],
    ['drop table if exists t if exists (select 1) drop table t', ['DROP', 'IF', 'if > DROP']],
    ['declare @a int = 1, @b table (c int) set @a = 2 select @a', ['DECLARE', 'SET', 'SELECT']],
    ['declare c cursor for select 1 for update of a open c', ['DECLARE', 'OPEN']],
    ['alter table t alter column a int drop table t', ['ALTER', 'DROP']],
    ['alter table t drop constraint c, column d alter table t drop e', ['ALTER', 'ALTER']],
    [
      'alter table t add constraint f foreign key (a) references r (b) on delete set null on update cascade',
      ['ALTER'],
    ],
    ['alter database x set recovery simple with rollback immediate set nocount on', ['ALTER', 'SET']],
    ['create table t (a int, b int check (b > 0)) insert t values (1)', ['CREATE', 'INSERT']],
    ['create or alter procedure p as set nocount on select 1; delete t', ['CREATE']],
    ['create view v as select 1', ['CREATE']],
    ['create partition function f (int) as range for values (1); select 1', ['CREATE', 'SELECT']],
    ['grant select, insert, execute on t to u select 1', ['GRANT', 'SELECT']],
    ["bulk insert t from 'f' insert bulk t (a int)", ['BULK', 'INSERT']],
    ['p @a = 1; select 1', ['CALL', 'SELECT']],
    ['[p]', ['CALL']],
    ['select 1; receive top (1) * from q; p', ['SELECT', 'RECEIVE', 'UNKNOWN']],
    ['select 1; end conversation @h', ['SELECT', 'END CONVERSATION']],
    ['again: select 1 goto again', ['LABEL', 'SELECT', 'GOTO']],
    ['begin tran insert t values (1) commit', ['BEGIN TRAN', 'INSERT', 'COMMIT']],
    ['select t.[set], t.x open c', ['SELECT', 'OPEN']],
    [
      'select case a when 1 then 2 else 3 end, case when 1 = 1 then case b when 1 then 2 end end from t',
      ['SELECT'],
    ],
    ['select (case a when 1 then 2 end), 1 select 2', ['SELECT', 'SELECT']],
  ])('%j', (sql, expected) => {
    expect(kinds(sql)).toEqual(expected);
  });

  it.each([
    ['if 1 = 1 select 1 else select 2 select 3', ['if > SELECT', 'else > SELECT', 'SELECT']],
    [
      'if 1 = 1 begin select 1 select 2 end select 3',
      ['if > begin > SELECT', 'if > begin > SELECT', 'SELECT'],
    ],
    ['if 1 = 1 if 2 = 2 select 1 select 2', ['if > if > SELECT', 'SELECT']],
    [
      'begin try select 1 end try begin catch throw end catch select 2',
      ['try > SELECT', 'catch > THROW', 'SELECT'],
    ],
    ['while 1 = 1 begin if 1 = 2 break end print 1', ['while > begin > if > BREAK', 'PRINT']],
    ['begin tran begin select 1 end commit', ['BEGIN TRAN', 'begin > SELECT', 'COMMIT']],
  ])('%j: what each stands in', (sql, expected) => {
    const flow = /(IF|ELSE|WHILE|BEGIN|END|TRY|CATCH)$/;
    expect(kinds(sql).filter((kind) => !flow.test(kind))).toEqual(expected);
  });

  it('never fails, and leaves no word out but of semicolons', () => {
    const pieces = fc.constantFrom(
      ...'select insert update delete merge with set if else begin end try catch case ( ) ; , a.b @x union all from into t exec'.split(
        ' ',
      ),
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const tokens = tokenize(parts.join(' '));
        const found = readStatements(tokens).flatMap((statement) => statement.tokens);
        expect(found).toEqual(tokens.filter((token) => !(token.kind === 'symbol' && token.text === ';')));
      }),
    );
  });
});
