import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadParser, parse } from '../../../../src/pg/sql/parser.ts';
import { isSelfCommitting } from '../../../../src/pg/sql/self-committing-command.ts';
import { nodeOf } from '../../../../src/pg/sql/syntax-tree.ts';
import {
  commitStart,
  mayCarryToken,
  tokenPlace,
  type TokenPlace,
} from '../../../../src/pg/sql/token-place.ts';

beforeAll(async () => {
  await loadParser();
});

describe('how a token goes with a Query', () => {
  it.each<[string, TokenPlace]>([
    ['INSERT INTO t VALUES (1)', 'extended'],
    ['/* a */ insert into t values (1) -- b', 'extended'],
    ['INSERT INTO t VALUES (1);', 'extended'],
    [';;INSERT INTO t VALUES (1);;', 'extended'],
    [`INSERT INTO t VALUES ('a; COMMIT')`, 'extended'],
    [`INSERT INTO t VALUES ('$1')`, 'extended'],
    ['INSERT INTO t VALUES ($1)', 'appended'],
    ['INSERT INTO t VALUES ($a$ ; VACUUM $a$)', 'extended'],
    ['WITH a AS (DELETE FROM t RETURNING 1) SELECT 1', 'extended'],
    ['(SELECT f())', 'extended'],
    ['SELECT f()', 'extended'],
    ['EXPLAIN ANALYZE INSERT INTO t VALUES (1)', 'extended'],
    ['EXECUTE p', 'extended'],
    ['CREATE TABLE a (id int)', 'extended'],
    ['CREATE INDEX ON t (v)', 'extended'],
    ['CREATE RULE r AS ON UPDATE TO t DO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))', 'extended'],
    ['REFRESH MATERIALIZED VIEW CONCURRENTLY a', 'extended'],
    ['DO $$ BEGIN INSERT INTO t VALUES (1); END $$', 'extended'],
    ['COPY t FROM STDIN', 'appended'],
    [`UPDATE pg_settings SET setting = '1'`, 'appended'],
    ['INSERT INTO t VALUES (1); SELECT 1', 'appended'],
    ['INSERT INTO t VALUES (1); SELECT 1; -- c', 'appended'],
    ['SET a.b = 1; INSERT INTO t VALUES (1)', 'appended'],
    // They commit by themselves, or may.
    ['VACUUM', 'none'], ['vacuum (analyze) t', 'none'], ['ANALYZE t', 'none'], ['CLUSTER', 'none'],
    ['REINDEX TABLE t', 'none'], ['CALL p()', 'none'], ['REPACK t', 'none'],
    ['CREATE INDEX CONCURRENTLY a ON t (v)', 'none'],
    ['CREATE /**/ UNIQUE -- x\n INDEX\tconcurrently a ON t (v)', 'none'],
    ['DROP INDEX CONCURRENTLY a', 'none'],
    ['ALTER TABLE a DETACH PARTITION b CONCURRENTLY', 'none'], ['ALTER TABLE a DETACH PARTITION b FINALIZE', 'none'],
    ['CREATE DATABASE a', 'none'], ['DROP DATABASE a', 'none'], ['ALTER DATABASE a SET TABLESPACE b', 'none'],
    ['CREATE TABLESPACE a LOCATION $$b$$', 'none'], ['ALTER SYSTEM SET work_mem = 1', 'none'],
    ['CREATE SUBSCRIPTION a CONNECTION $$b$$ PUBLICATION c', 'none'], ['DROP SUBSCRIPTION a', 'none'],
    ['INSERT INTO t VALUES (1); VACUUM', 'none'], ['CALL p(); INSERT INTO t VALUES (1)', 'none'],
    ['DO $$ BEGIN COMMIT; END $$', 'none'], ['DO $$ BEGIN CALL p(); END $$', 'none'],
    [`DO $$ BEGIN EXECUTE 'com' || 'mit'; END $$`, 'none'], ['DO LANGUAGE plperl $$ 1 $$', 'none'],
    ['DO $$ 1 $$ LANGUAGE plperl', 'none'],
    // In '…' the code may be written in a way that nobody sees through.
    [`DO 'BEGIN COM'\n'MIT; END'`, 'none'], [String.raw`DO E'BEGIN COM\x4dIT; END'`, 'none'],
    [String.raw`DO U&'BEGIN COM\004dIT; END'`, 'none'], [`DO U&'BEGIN COM!004dIT; END' UESCAPE '!'`, 'none'],
    // They assign no xid in front of the token, or are no transaction of their own.
    ['NOTIFY a', 'none'], ['LISTEN a', 'none'], ['SET a.b = 1', 'none'], ['SHOW work_mem', 'none'], ['LOCK t', 'none'],
    ['DECLARE a CURSOR FOR SELECT 1', 'none'], ['FETCH a', 'none'], ['DISCARD ALL', 'none'], ['SAVEPOINT a', 'none'],
    ['BEGIN', 'none'], ['COMMIT', 'none'], [`COMMIT PREPARED 'a'`, 'none'], ['INSERT INTO t VALUES (1); COMMIT', 'none'],
    ['SET a.b = 1; SHOW a.b', 'none'],
    ['', 'none'], [';', 'none'], ['-- a', 'none'], ['/* a', 'none'],
    // A body without quotes: nothing must be put into it.
    ['CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END', 'none'],
    ['SELECT 1; CREATE PROCEDURE f() BEGIN ATOMIC END', 'none'],
    // Nobody knows what it means.
    [String.raw`INSERT INTO t VALUES ('\'); VACUUM; --')`, 'none'],
    ['"insert" INTO t', 'none'], ['INSRT INTO t', 'none'],
    // The token would be part of it, or of its error.
    [`INSERT INTO t VALUES (1); SELECT 'x`, 'none'], ['INSERT INTO t VALUES (1); SELECT "x', 'none'],
    ['INSERT INTO t VALUES (1); SELECT $a$ x', 'none'], ['INSERT INTO t VALUES (1); SELECT 1 /* x', 'none'],
    ['INSERT INTO t VALUES (1); SELECT (1', 'none'], ['INSERT INTO t VALUES (1); SELECT', 'appended'],
    ['INSERT INTO t VALUES (1); INSERT INTO', 'none'],
  ])('%j: %s', (text, place) => {
    expect(tokenPlace(text)).toBe(place);
  }); // prettier-ignore
});

describe('a token behind extended messages', () => {
  it.each([
    ['INSERT INTO t VALUES ($1)', true], ['SELECT f($1)', true], ['COPY t TO STDOUT', true],
    ['COPY t FROM STDIN', false], ['copy t from /**/ stdin', false],
    ['VACUUM', false], ['CALL p($1)', false], ['NOTIFY a', false], ['COMMIT', false], ['', false],
    ['INSERT INTO t VALUES (1); SELECT 1', false],
  ])('%j: %s', (text, expected) => {
    expect(mayCarryToken(text)).toBe(expected);
  }); // prettier-ignore
});

describe('where the COMMIT of a string begins', () => {
  it.each([
    ['INSERT INTO t VALUES (1); COMMIT', { statement: 1, start: 26 }],
    ['BEGIN; INSERT INTO t VALUES (1); /* c */ END;', { statement: 2, start: 41 }],
    ['; ;SELECT 1;;commit and chain', { statement: 1, start: 13 }],
    ['SELECT 1', null],
    ['CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END', null],
    ['CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT', null],
    [`SELECT 1; COMMIT; SELECT 'x`, null],
    [String.raw`SELECT '\'; COMMIT; --'; COMMIT`, null],
  ])('%j', (text, expected) => {
    expect(commitStart(text)).toEqual(expected);
  });
});

/** As the grammar reads the text, without the places; null if it refuses it. */
function statements(text: string): readonly unknown[] | null {
  const outcome = parse(text);
  if (outcome.kind !== 'parsed') return null;
  const isPlace = (key: string): boolean => /location|len$/.test(key);
  return outcome.statements.map(
    (one) =>
      JSON.parse(JSON.stringify(one, (key, value: unknown) => (isPlace(key) ? undefined : value))) as unknown,
  );
}

const FRAGMENTS = [
  'INSERT INTO t VALUES (1)', 'UPDATE t SET a = 1', 'SELECT f()', '(SELECT f())', 'VACUUM', 'CALL p()', 'COMMIT', 'END',
  'BEGIN', 'ROLLBACK', 'COMMIT AND CHAIN', `PREPARE TRANSACTION 'a'`, `COMMIT PREPARED 'a'`, 'SAVEPOINT s', 'ANALYZE',
  'CREATE INDEX CONCURRENTLY i ON t (a)', 'DROP INDEX CONCURRENTLY i', 'REINDEX TABLE t', 'CLUSTER',
  'ALTER TABLE a DETACH PARTITION b CONCURRENTLY', 'ALTER TABLE a DETACH PARTITION b FINALIZE', 'CREATE DATABASE d',
  'ALTER DATABASE d SET TABLESPACE x', 'DROP TABLESPACE x', `ALTER SYSTEM SET a = 'b'`, 'DROP SUBSCRIPTION s',
  'DO $$ BEGIN NULL; END $$', 'DO $x$ BEGIN COMMIT; END $x$', `DO 'BEGIN NULL; END'`, 'DISCARD ALL', 'SET a.b = 1',
  'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END', 'CREATE PROCEDURE f() BEGIN ATOMIC END',
  'CREATE RULE r AS ON UPDATE TO t DO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))', 'COPY t FROM STDIN',
  'NOTIFY n', 'EXPLAIN ANALYZE DELETE FROM t', 'CREATE SCHEMA s CREATE TABLE x (i int)', 'REFRESH MATERIALIZED VIEW m',
]; // prettier-ignore
const GLUE = [';', '; ', ' ', '\n', '--', '-- c\n', '/*', '*/', '/* ; */', "'", '"', '$$', '$x$', '(', ')', "E'", '\\', "U&'", ';;', '', '$1']; // prettier-ignore
const texts = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...FRAGMENTS) },
      { weight: 2, arbitrary: fc.constantFrom(...GLUE) },
    ),
    { maxLength: 7 },
  )
  .map((parts) => parts.join(''));
const joined = fc
  .array(
    fc.tuple(fc.constantFrom(...FRAGMENTS), fc.constantFrom(';', '; ', ';\n-- c\n', '; /* ; */', ';;')),
    { maxLength: 4 },
  )
  .map((parts) => parts.flat().join(''));

/** Whatever is done around it, a token behind it would be in another transaction. */
function commitsByItself(statement: unknown): boolean {
  const node = nodeOf(statement);
  if (node === undefined) return false;
  if (node.tag === 'DoStmt') return /commit/i.test(JSON.stringify(node));
  if (node.tag === 'DiscardStmt') return false; // Refused in a string of several.
  return node.tag === 'TransactionStmt' || isSelfCommitting(node);
}

describe('against the grammar', () => {
  it.each([
    ['any characters', texts],
    ['whole statements', joined],
  ])('%s', (_name, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (text) => {
        const read = statements(text);
        if (read === null) {
          expect(tokenPlace(text)).not.toBe('appended');
          expect(commitStart(text)).toBeNull();
          return;
        }
        const place = tokenPlace(text);
        if (place !== 'none' || mayCarryToken(text)) expect(read.some(commitsByItself)).toBe(false);
        if (place === 'extended' || mayCarryToken(text)) expect(read).toHaveLength(1);
        if (place === 'appended')
          expect(statements(`${text}\n;SELECT 77`)).toEqual([...read, ...statements('SELECT 77')!]);
        const commit = commitStart(text);
        if (commit === null) return;
        const { statement, start } = commit;
        expect(nodeOf(read[statement])).toMatchObject({
          tag: 'TransactionStmt',
          fields: { kind: 'TRANS_STMT_COMMIT' },
        });
        expect(
          read.slice(0, statement).some((one) => JSON.stringify(one).includes('TRANS_STMT_COMMIT"')),
        ).toBe(false);
        expect(statements(`${text.slice(0, start)}\n;SELECT 77;${text.slice(start)}`)).toEqual([
          ...read.slice(0, statement),
          ...statements('SELECT 77')!,
          ...read.slice(statement),
        ]);
      }),
      { numRuns: 10_000 },
    );
  });
});
