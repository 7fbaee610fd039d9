import { describe, expect, it } from 'vitest';
import { batchEnding } from '../../../../src/tedious/sql/batch-ending.ts';

/** In an open transaction, and outside of one. */
function both(sql: string): string[] {
  return [true, false].map((isOpen) => {
    const { ending, opens } = batchEnding(sql, isOpen);
    return opens ? `${ending} opens` : ending;
  });
}

const NOTHING = ['none', 'none'];
const UNCLEAR = ['unclear opens', 'unclear opens'];

describe('what a batch does to transactions', () => {
  it.each([
    ['', NOTHING],
    [';;', NOTHING],
    ['select 1', NOTHING],
    ['insert into t values (1); select @@rowcount', NOTHING],
    [`update t set a = 'commit' where b = "rollback"`, NOTHING],
    ['with a as (select 1 as n) select n from a', NOTHING],
    [';with a as (select 1 as n) select n from a', NOTHING],
    ['(select 1)', NOTHING],
    ['if 1 = 1 begin select 1 end', NOTHING],
    ['save tran a', NOTHING],
    ['SAVE TRANSACTION @name;', NOTHING],
    ['set xact_abort on', NOTHING],
    ['select 1 -- commit\r\n', NOTHING],
  ])('%j: nothing', (sql, expected) => {
    expect(both(sql)).toEqual(expected);
  });

  it.each([
    ['commit', ['commit', 'commit']],
    ['COMMIT TRAN;', ['commit', 'commit']],
    ['commit work', ['commit', 'commit']],
    ['/* a */ commit transaction a -- b', ['commit', 'commit']],
    ['commit tran [a]', ['commit', 'commit']],
    ['rollback', ['rollback', 'rollback']],
    ['rollback transaction', ['rollback', 'rollback']],
    ['rollback work;', ['rollback', 'rollback']],
    ['begin tran', ['none opens', 'none opens']],
    ['BEGIN TRANSACTION a', ['none opens', 'none opens']],
  ])('%j: it is one command', (sql, expected) => {
    expect(both(sql)).toEqual(expected);
  });

  it.each([
    ['insert into t values (1); commit', ['trailing-commit', 'unclear opens']],
    ['insert into t values (1) commit tran', ['trailing-commit', 'unclear opens']],
    ['save tran a; insert into t values (1); commit', ['trailing-commit', 'unclear opens']],
    ['begin tran; insert into t values (1); commit', ['unclear opens', 'trailing-commit opens']],
  ])('%j: it ends in its only COMMIT', (sql, expected) => {
    expect(both(sql)).toEqual(expected);
  });

  it.each([
    'exec p',
    'insert into t exec p',
    `execute ('commit')`,
    'p',
    'p @a = 1',
    '[p]',
    'dbo.p',
    'rollback tran a',
    'rollback tran @name',
    'commit; insert into t values (1)',
    'commit; begin tran',
    'commit tran with (delayed_durability = on)',
    'if @@trancount > 0 commit',
    'begin try insert into t values (1); commit end try begin catch rollback end catch',
    'insert into t values (1); rollback; commit',
    'commit; commit',
    'begin tran a; begin tran b; commit',
    'begin distributed tran',
    'set implicit_transactions on',
    'set ansi_defaults on',
    'create procedure p as commit',
    'return; commit',
    'set noexec on; commit',
    'set parseonly on commit',
    'select 1 -- comment\rcommit',
    'select 1 -- comment\u2028commit',
  ])('%j: nobody knows', (sql) => {
    expect(both(sql)).toEqual(UNCLEAR);
  });
});
