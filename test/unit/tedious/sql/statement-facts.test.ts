import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { statementFacts } from '../../../../src/tedious/sql/statement-facts.ts';
import { analyse } from '../../../../src/tedious/sql/text-analysis.ts';

describe('what only reads', () => {
  it.each([
    ['select 1'],
    ['SELECT TOP (10) a, count(*) AS n FROM dbo.t WITH (NOLOCK, INDEX (i)) WHERE a IN (1, 2) GROUP BY a'],
    ['select * from t (nolock), dbo.s (updlock, holdlock)'],
    ['select a from t order by a offset 0 rows fetch next 10 rows only'],
    ['with a (x, y) as (select 1, 2), b (z) as (select x from a) select * from b'],
    [';with a as (select 1 as x) select row_number() over (partition by x order by x) from a'],
    ['(select 1) union all (select 2)'],
    ['select * from (values (1, 2), (3, 4)) as v (a, b)'],
    ["select c.value('(/a)[1]', 'varchar(10)') from t cross apply t.x.nodes('/a') as n (c)"],
    ["select * from openjson(@j) with (a int '$.a', b nvarchar(max) as json)"],
    ['select * from sys.fn_helpcollations()'],
    ['declare @a int = 1, @b decimal(10, 2); set @a = 2; set @b += 1; select @a'],
    [
      'declare @t table (a int primary key, b varchar(10)); insert into @t (a) select a from s; select * from @t',
    ],
    ['if exists (select 1 from t) select 1 else begin select 0 end'],
    ['select 1 from a inner merge join b on 1 = 1 option (merge join, recompile)'],
    ["select a as [delete], [into] from [insert] where b = 'update' -- delete"],
    ['select 1 for json path, without_array_wrapper'],
    [
      'select cast(a as nvarchar(max)), convert(datetime2(3), b), iif(a = 1, 2, 3), next.value from t as next',
    ],
    ['select a from srv.db.dbo.t'],
    ['print 1'],
    ['select @@rowcount'.replace('select', 'select 1; select')],
    [''],
  ])('%j', (sql) => {
    for (const scope of ['batch', 'dynamic'] as const) {
      expect(statementFacts(sql, scope)).toMatchObject({
        isRead: true,
        isRepeatable: true,
        actsOutside: null,
      });
    }
  });

  it.each([
    ['insert t values (1)'],
    ['select 1; delete from t'],
    ['select 1 delete t'],
    ['select * into s from t'],
    ['select * from (update t set a = 1 output inserted.a) as x'],
    ['with a as (select 1 as x) update a set x = 2'],
    ['select next value for s'],
    ['select dbo.f(1)'],
    ['select [dbo].[f](1)'],
    ['select a from t cross apply dbo.f(t.a)'],
    ['select * from f(1)'],
    ['select * from t, f(1)'],
    ['select * from [f](1)'],
    ["select * from openquery(s, 'x')"],
    ["select * from openrowset(bulk 'f', single_blob) as x"],
    ['exec p'],
    ['p'],
    ['[p]'],
    ['select 1; p'],
    ['select 1; receive top (1) * from q'],
    ['select 1; send on conversation @h (1)'],
    ['select 1; end conversation @h'],
    ['select 1; begin dialog @h from service a to service b'],
    ['declare c cursor for select 1'],
    ['create table t (a int)'],
    ['if exists (select 1) drop table t'],
    ['insert into @t exec p'],
    ['insert into @t select next value for s'],
    ['declare @a int = dbo.f(1)'],
    ['set @x = dbo.f(1)'],
    ['select 1 -- \rdelete t'],
    ['begin tran'],
    ["waitfor delay '0:0:1'"],
    ['dbcc freeproccache'],
    ['select @@identity'],
    ['select scope_identity()'],
    ['select @@rowcount'],
    ['if @@error <> 0 select 1'],
    ['select ( ; delete t'],
    ['select 1 ) delete t'],
  ])('%j: no read', (sql) => {
    expect(statementFacts(sql, 'batch')).toMatchObject({ isRead: false, isRepeatable: false });
  });

  it('what sets may be repeated, and is no read', () => {
    for (const sql of [
      'set nocount on',
      'use a',
      'set datefirst 1; use a; select 1',
      'set transaction isolation level snapshot',
    ]) {
      expect(statementFacts(sql, 'batch')).toMatchObject({ isRead: false, isRepeatable: true });
    }
    expect(statementFacts('set nocount on; delete t', 'batch').isRepeatable).toBe(false);
    expect(statementFacts('set datefirst @n', 'batch').isRepeatable).toBe(false);
  });

  it('never becomes a read by what is put in front of it, or behind', () => {
    const reads = fc.constantFrom(
      'select 1',
      'select a from t',
      'declare @a int',
      'set @a = 1',
      'select 1 as a from b as c',
    );
    const writes = fc.constantFrom(
      'delete t',
      'insert t values (1)',
      'update t set a = 1',
      'merge t using s on 1 = 1 when matched then delete',
      'exec p',
      'truncate table t',
      'drop table t',
      'select 1 as a into s',
      'create table t (a int)',
    );
    const separator = fc.constantFrom(';', '\n', ' ', '/* */', ' ; ');
    fc.assert(
      fc.property(
        fc.array(reads, { maxLength: 3 }),
        writes,
        fc.array(reads, { maxLength: 3 }),
        separator,
        (before, write, behind, by) => {
          expect(statementFacts([...before, write, ...behind].join(by), 'batch').isRead).toBe(false);
        },
      ),
    );
  });
});

describe('a single write', () => {
  it.each([
    ['insert into t (a) values (1)'],
    ['INSERT INTO [t] ([a]) OUTPUT INSERTED.[id] VALUES (@p0);'],
    ['insert t default values; select scope_identity() as id'],
    ['insert into t (a) values (@p0); select @@rowcount, @@identity'],
    ['update top (5) t set a = 1 where b = 2; select @@rowcount'],
    ['update x set a = 1 from t as x join s on s.a = x.a'],
    ['delete from t where a = 1'],
    ['delete top (10) percent t'],
    [';with a as (select top (1) * from t) delete from a'],
    ['with a as (select 1 as x) insert into t select x from a'],
    [
      'merge into t using (values (1)) as s (a) on t.a = s.a when matched then update set b = 1 when not matched then insert (a) values (1);',
    ],
    ['declare @t table (id int); insert into t (a) output inserted.id into @t values (1); select id from @t'],
    ['declare @a int; set @a = 1; update t set a = @a'],
    ['insert into t select * from (delete from s output deleted.*) as d'],
    ['insert into t select next value for s, dbo.f(1)'],
    ['insert t select 1 select 2'],
  ])('%j', (sql) => {
    expect(statementFacts(sql, 'batch').isSingleWrite).toBe(true);
    expect(statementFacts(sql, 'dynamic').isSingleWrite).toBe(true);
  });

  it.each([
    ['set nocount on; insert into t values (1)'],
    ['set identity_insert t on; insert into t (id) values (1); set identity_insert t off'],
    [
      'select top (0) t.id into #out from t left join t as x on 0 = 1; insert into t (a) output inserted.id into #out values (1); ' +
        'select t.id from #out as t; drop table #out;',
    ],
  ])('%j: only where what it sets ends with it', (sql) => {
    expect(statementFacts(sql, 'batch').isSingleWrite).toBe(false);
    expect(statementFacts(sql, 'dynamic').isSingleWrite).toBe(true);
  });

  it.each([
    ['select 1'],
    ['insert t values (1); insert t values (2)'],
    ['insert t values (1) delete s'],
    ['insert t exec p'],
    ['insert t values (1); exec p'],
    ['if exists (select 1) update t set a = 1'],
    ['begin try insert t values (1) end try begin catch end catch'],
    ['insert t values (1); commit'],
    ['begin tran; insert t values (1); commit'],
    ['insert t values (1); select * into s from t'],
    ['set xact_abort off; insert t values (1)'],
    ['set transaction isolation level snapshot; insert t values (1)'],
    ['set rowcount 1; delete t'],
    ['insert into #t values (1)'],
    ['insert into @t values (1)'],
    ['insert bulk t (a int)'],
    ["bulk insert t from 'f'"],
    ['update statistics t'],
    ["update openquery(s, 'x') set a = 1"],
    ['insert into srv.db.dbo.t values (1)'],
    ["insert t select * from openrowset('a', 'b', 'c')"],
    ['update t set a = 1 where current of c'],
    ['insert into child values (@@identity)'],
    ['insert into child select scope_identity()'],
    ['select @@rowcount; insert t values (1)'],
    ['insert t values (1); select @@trancount'],
    ['insert t values (1); receive * from q'],
    ['insert t values (1); drop table t'],
    ['insert t values (1); drop table #a, t'],
    ['insert t values (1) -- \r;commit'],
    ['truncate table t'],
  ])('%j: none', (sql) => {
    expect(statementFacts(sql, 'dynamic').isSingleWrite).toBe(false);
  });
});

describe('what acts outside of the database', () => {
  it.each([
    ["exec xp_cmdshell 'dir'", /xp_cmdshell/],
    ["exec master..xp_cmdshell 'dir'", /xp_cmdshell/],
    ["exec master.dbo.[xp_cmdshell] 'dir'", /xp_cmdshell/],
    ["exec ('xp_cmdshell ''dir''')", /xp_cmdshell/],
    ["exec sp_OACreate 'x', @o output", /sp_oacreate/],
    ["exec msdb.dbo.sp_send_dbmail @body = 'x'", /sp_send_dbmail/],
    ["insert t select * from openrowset('a', 'b', 'c')", /openrowset/],
    ["select * from openquery(s, 'x')", /openquery/],
    ['insert into srv.db.dbo.t values (1)', /four parts/],
    ['update srv.db..t set a = 1', /four parts/],
    ['exec srv.db.dbo.p', /four parts/],
    ["exec ('x') at srv", /EXECUTE … AT/],
    ["backup database a to disk = 'x'", /backup/],
    ["create login a with password = 'x'", /create login/],
    ['alter database a set recovery simple', /alter database/],
    ["bulk insert t from 'f'", /BULK INSERT/],
  ])('%j', (sql, reason) => {
    expect(statementFacts(sql, 'batch').actsOutside).toMatch(reason);
  });

  it.each([
    ['insert into other.dbo.t values (1)'],
    ['insert other..t values (1)'],
    ['update top (1) [Other].dbo.t set a = 1'],
    ['update x set a = 1 from other.dbo.t as x'],
    ['update x set a = 1 from s join other.dbo.t x on 1 = 1'],
    ['delete from other.dbo.t'],
    ['merge into other.dbo.t as t using s on 1 = 1 when matched then delete;'],
    ['insert t output inserted.a into other.dbo.l values (1)'],
    ['select * into other.dbo.t from s'],
    ['truncate table other.dbo.t'],
    ['create table other.dbo.t (a int)'],
    ['drop table if exists other.dbo.t'],
    ['exec other.dbo.p'],
    ['exec @r = other..p 1'],
  ])('%j: another database, unless it is the current one', (sql) => {
    expect(analyse(sql, 'batch', 'shop').actsOutside).toBe('it may act on another database (other)');
    expect(analyse(sql, 'batch', null).actsOutside).not.toBeNull();
    expect(analyse(sql, 'batch', 'oTHER').actsOutside).toBeNull();
    expect(analyse(`use x; ${sql}`, 'batch', 'other').actsOutside).not.toBeNull();
  });

  it.each([
    ['insert into dbo.t select * from other.dbo.s'],
    ['update dbo.t set a = dbo.t.b where dbo.t.c = 1'],
    ['update [dbo].[t] set [a] = 1 from [dbo].[t] inner join other.dbo.s as o on o.a = [dbo].[t].[a]'],
    ['create table tempdb..#t (a int)'],
    ['exec dbo.p'],
    ["insert t values ('xp_cmdshell')"],
    ['select a from other.dbo.t'],
    ['alter database scoped configuration set maxdop = 1'],
  ])('%j: inside', (sql) => {
    expect(analyse(sql, 'batch', 'shop').actsOutside).toBeNull();
  });

  it('a single write in another database has no token', () => {
    expect(analyse('insert into a.dbo.t values (1)', 'batch', 'b').isSingleWrite).toBe(false);
    expect(analyse('insert into a.dbo.t values (1)', 'batch', 'a').isSingleWrite).toBe(true);
  });
});

describe('what depends on the moment', () => {
  it.each([
    ['select * from t with (readpast)'],
    ['update t with (nowait) set a = 1'],
    ['rollback tran a'],
    ['create table t (a int)'],
    ['drop table #t'],
    ['truncate table t'],
    ['exec p'],
    ['p'],
    ['select * into t from s'],
    ['set lock_timeout 0; update t set a = 1'],
    ['select 1; disable trigger x on t'],
  ])('%j', (sql) => {
    expect(statementFacts(sql, 'batch').momentDependent).toBe(true);
  });

  it.each([
    ['select 1'],
    ['insert t values (1)'],
    ['save tran a'],
    ["raiserror ('x', 0, 1) with nowait"],
    ['update t set a = 1'],
  ])('%j: not', (sql) => {
    expect(statementFacts(sql, 'batch').momentDependent).toBe(false);
  });
});

it.each([
  ['select @@identity', true],
  ['select scope_identity()', true],
  ['select @@rowcount', true],
  ['insert child values (@@identity)', true],
  ['insert t values (1); select scope_identity(), @@rowcount', false],
  ['select 1; select @@rowcount', false],
])('%j asks for what an earlier text has left: %j', (sql, expected) => {
  const { asksForIdentity, asksForScopeIdentity, asksForRowCount } = statementFacts(sql, 'batch');
  expect(asksForIdentity || asksForScopeIdentity || asksForRowCount).toBe(expected);
});

it.each([
  ['save tran a', true],
  ['exec p', true],
  ['p', true],
  ['insert t exec p', true],
  ['select 1 -- \rsave tran a', true],
  ['select 1; update t set a = 1', false],
  ['create procedure p as save tran a', false],
])('%j may leave a savepoint: %j', (sql, expected) => {
  expect(statementFacts(sql, 'batch').mayLeaveSavepoint).toBe(expected);
});

it.each([
  ['insert t values (1)', true],
  ['declare @a int; insert t values (1); select scope_identity()', true],
  ['if @@spid = 1 insert t values (1)', false],
  ['if @@spid = 1 return; insert t values (1)', false],
  ['goto over; insert t values (1); over: select 1', false],
  ['insert t values (1); return', true],
  ['declare @t table (a int); insert @t values (1)', false],
  ['update t set a = 1', false],
])('%j surely runs an INSERT: %j', (sql, expected) => {
  expect(statementFacts(sql, 'batch').inserts).toBe(expected);
});
