import { describe, expect, it } from 'vitest';
import { analyse } from '../../../../src/tedious/sql/text-analysis.ts';

describe('what may run twice', () => {
  it.each([
    'SELECT 1',
    'select * from [update] where [delete] = 1',
    'WITH a AS (SELECT 1 AS x) SELECT x FROM a',
    "SELECT 'INSERT INTO t' -- DELETE",
    'SELECT id FROM t WITH (UPDLOCK) ORDER BY id OFFSET 0 ROWS',
    '(SELECT 1)',
    'SET XACT_ABORT ON; SET LOCK_TIMEOUT 100',
    'SET @x = 1',
    'DECLARE @x int; SELECT @x',
    '',
  ])('%s', (sql) => {
    expect(analyse(sql, 'batch').isRepeatable).toBe(true);
  });

  it.each([
    'SELECT 1; DELETE FROM t',
    'SELECT * INTO t2 FROM t',
    'SELECT NEXT VALUE FOR s',
    'SELECT dbo.f(1)',
    'SELECT [dbo].[f] (1)',
    "SELECT * FROM OPENQUERY(other, 'DELETE t')",
    'EXEC p',
    'p',
    'UPDATE t SET a = 1',
    'SET XACT_ABORT ON; DELETE FROM t',
    'BEGIN TRAN',
    "WAITFOR DELAY '00:00:01'",
  ])('not: %s', (sql) => {
    expect(analyse(sql, 'batch').isRepeatable).toBe(false);
  });
});

describe('what can have a transaction of its own with a token', () => {
  it.each([
    'INSERT INTO t (a) VALUES (1)',
    'INSERT INTO t (a) OUTPUT inserted.id VALUES (1)',
    'INSERT INTO t SELECT a FROM b',
    'UPDATE t SET a = 1 WHERE b = 2',
    'DELETE FROM t',
    'WITH c AS (SELECT 1 AS x) DELETE FROM t WHERE x IN (SELECT x FROM c)',
    'INSERT INTO t VALUES (1); SELECT SCOPE_IDENTITY() AS id',
    'UPDATE t SET a = 1; SELECT @@ROWCOUNT',
    'INSERT INTO t VALUES (1); SET @x = 1',
    'UPDATE t SET a = 1 SET NOCOUNT ON',
    'SELECT a INTO #t FROM b; INSERT INTO t VALUES (1)',
    'MERGE t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT (a) VALUES (1);',
  ])('%s', (sql) => {
    expect(analyse(sql, 'dynamic').isSingleWrite).toBe(true);
  });

  it.each([
    'SELECT 1',
    'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)',
    'INSERT INTO t VALUES (1) DELETE FROM u',
    'INSERT INTO t EXEC p',
    'UPDATE t SET a = 1; COMMIT',
    'UPDATE t SET a = 1; SELECT @@TRANCOUNT',
    'UPDATE t SET a = 1; SELECT XACT_STATE()',
    'UPDATE STATISTICS t',
    'DELETE FROM other.db.dbo.t',
    "INSERT INTO t SELECT * FROM OPENROWSET('x', 'y', 'z')",
    'MERGE t USING s ON 1 = 1 WHEN MATCHED THEN DELETE; DELETE FROM u;',
    'IF 1 = 1 DELETE FROM t',
    'insert bulk t (a int)',
  ])('not: %s', (sql) => {
    expect(analyse(sql, 'dynamic').isSingleWrite).toBe(false);
  });
});

describe('what acts outside, or lies in the moment, or may leave a savepoint', () => {
  it.each([
    "EXEC xp_cmdshell 'dir'",
    'DELETE FROM other.db.dbo.t',
    'EXEC msdb.dbo.sp_send_dbmail',
    'EXEC sp_OACreate 1',
  ])('%s acts outside', (sql) => {
    expect(analyse(sql, 'batch').actsOutside).not.toBeNull();
  });

  it('a plain write does not, nor does the head of a bulk load', () => {
    expect(analyse('DELETE FROM dbo.t', 'batch').actsOutside).toBeNull();
    expect(analyse('insert bulk dbo.t (a int)', 'batch').actsOutside).toBeNull();
  });

  it.each([
    ['SELECT * FROM t WITH (READPAST)', true],
    ['CREATE TABLE t (a int)', true],
    ['UPDATE t SET a = 1', false],
  ])('%s: %s', (sql, expected) => {
    expect(analyse(sql, 'batch').liesInTheMoment).toBe(expected);
  });

  it.each([
    ['SAVE TRAN s', true],
    ['EXEC p', true],
    ['UPDATE t SET a = 1', false],
  ])('a savepoint behind %s: %s', (sql, expected) => {
    expect(analyse(sql, 'batch').mayLeaveSavepoint).toBe(expected);
  });
});
