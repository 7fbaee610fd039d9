import { describe, expect, it } from 'vitest';
import type { TransactionCommand } from '../../../../src/pg/sql/transaction-command.ts';
import {
  isPlainBegin,
  isSoleCommit,
  isSoleRollback,
  mayCommitInside,
  mayCopy,
  mayEndTransaction,
  transactionCommands,
} from '../../../../src/pg/sql/transaction-command.ts';

describe('what each statement does to the transaction', () => {
  it.each<[string, TransactionCommand[]]>([
    ['', []],
    [';;', []],
    ['BEGIN', ['begin']],
    ['begin work', ['begin']],
    ['START TRANSACTION READ ONLY', ['begin']],
    ['start', ['other']],
    ['COMMIT', ['commit']],
    ['end transaction', ['commit']],
    ['commit and chain', ['commit-and-chain']],
    ['COMMIT WORK AND CHAIN', ['commit-and-chain']],
    ['COMMIT AND NO CHAIN', ['commit']],
    ['END WORK AND NO CHAIN', ['commit']],
    ["commit prepared 'a'", ['commit-prepared']],
    ['ROLLBACK', ['rollback']],
    ['ABORT', ['rollback']],
    ['abort and chain', ['rollback-and-chain']],
    ['ROLLBACK TRANSACTION AND CHAIN', ['rollback-and-chain']],
    ["rollback prepared 'a'", ['rollback-prepared']],
    ['ROLLBACK TO s', ['rollback-to']],
    ['ROLLBACK TO SAVEPOINT "s"', ['rollback-to']],
    ['ROLLBACK WORK TO s', ['rollback-to']],
    ['rollback/**/to/**/s', ['rollback-to']],
    ['SAVEPOINT s', ['savepoint']],
    ['RELEASE SAVEPOINT s', ['release']],
    ['RELEASE "commit"', ['release']],
    ["PREPARE TRANSACTION 'a'", ['prepare-transaction']],
    ['PREPARE p AS SELECT 1', ['other']],
    ['select 1; commit', ['other', 'commit']],
    ['COMMIT;BEGIN', ['commit', 'begin']],
    [
      'insert into t values (1); commit; begin; insert into t values (2)',
      ['other', 'commit', 'begin', 'other'],
    ],
    ["select 'x; commit'", ['other']],
    ['select $$; commit$$', ['other']],
    ['select 1 -- ; commit', ['other']],
    ['/* begin */ commit /* ; */', ['commit']],
    ['"commit"', ['other']],
    ['commit\u00a0', ['other']],
    ['create function f() returns int begin atomic select 1; select 2; end', ['other', 'other', 'commit']],
  ])('%j', (text, expected) => {
    expect(transactionCommands(text)).toEqual(expected);
  });
});

describe('a text that may end the transaction (R11)', () => {
  it.each([
    'commit',
    'END',
    'abort',
    'rollback and chain',
    "prepare transaction 'x'",
    'select 1; select 2; COMMIT',
    "insert into t values ('\\'); commit; --')",
    'create procedure p() begin atomic insert into t values (1); end',
  ])('%j', (text) => {
    expect(mayEndTransaction(text)).toBe(true);
  });

  it.each([
    'select 1',
    'select case when true then 1 end',
    'rollback to s',
    "commit prepared 'x'",
    'savepoint commit_',
    "select '; commit'",
    'prepare p as select 1',
    'select "; commit;"',
    'update vendor set end_date = $1',
  ])('but not %j', (text) => {
    expect(mayEndTransaction(text)).toBe(false);
  });

  it('is read both ways where a backslash may or may not escape', () => {
    const text = "select '\\'; commit; --'";
    expect(mayEndTransaction(text)).toBe(true);
    expect(mayEndTransaction(text, { standardConformingStrings: true })).toBe(true);
    expect(mayEndTransaction(text, { standardConformingStrings: false })).toBe(false);
    const other = "select '\\''; commit; --'";
    expect(mayEndTransaction(other, { standardConformingStrings: true })).toBe(false);
    expect(mayEndTransaction(other)).toBe(true);
  });
});

describe('texts that are one command and nothing else', () => {
  it.each([
    'BEGIN',
    'begin;',
    ' /* x */ start transaction isolation level repeatable read, read only, not deferrable ; ;',
    'begin transaction isolation level read uncommitted read write deferrable',
    'BEGIN WORK',
  ])('a plain BEGIN: %j', (text) => {
    expect(isPlainBegin(text)).toBe(true);
  });

  it.each([
    '',
    'start',
    'begin; select 1',
    'select 1; begin',
    'begin; begin',
    "begin 'x'",
    'begin foo',
    'commit',
  ])('no plain BEGIN: %j', (text) => {
    expect(isPlainBegin(text)).toBe(false);
  });

  it.each(['commit', 'END ;', 'commit work', 'commit transaction and no chain', '-- x\ncommit'])(
    'a sole COMMIT: %j',
    (text) => {
      expect(isSoleCommit(text)).toBe(true);
    },
  );

  it.each([
    '',
    'commit and chain',
    'commit; begin',
    'commit; commit',
    "commit prepared 'x'",
    'rollback',
    'commit, work',
  ])('no sole COMMIT: %j', (text) => {
    expect(isSoleCommit(text)).toBe(false);
  });

  it.each(['rollback', 'ABORT;', 'rollback work and no chain'])('a sole ROLLBACK: %j', (text) => {
    expect(isSoleRollback(text)).toBe(true);
  });

  it.each(['rollback to s', 'rollback and chain', "rollback prepared 'x'", 'rollback; select 1', 'commit'])(
    'no sole ROLLBACK: %j',
    (text) => {
      expect(isSoleRollback(text)).toBe(false);
    },
  );
});

describe('other questions to a text', () => {
  it('CALL and DO may commit inside', () => {
    expect(mayCommitInside('call p()')).toBe(true);
    expect(mayCommitInside('select 1; do $$ begin commit; end $$')).toBe(true);
    expect(mayCommitInside('select do from call')).toBe(false);
  });

  it('COPY anywhere may start the copy protocol', () => {
    expect(mayCopy('copy t from stdin')).toBe(true);
    expect(mayCopy('select 1; COPY (select 1) TO STDOUT')).toBe(true);
    expect(mayCopy("select 'copy t'")).toBe(false);
    expect(mayCopy('select copy from t')).toBe(false);
  });
});
