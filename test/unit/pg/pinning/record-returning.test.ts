import { beforeAll, describe, expect, it } from 'vitest';
import { CALLS_NOTHING } from '../../../../src/pg/pinning/made-values.ts';
import { recordedText } from '../../../../src/pg/pinning/record-returning.ts';
import type { ColumnDefault, ColumnFacts, TableFacts } from '../../../../src/pg/pinning/table-facts.ts';
import { loadParser } from '../../../../src/pg/sql/parser.ts';

function column(number: number, name: string, value: Partial<ColumnDefault> | null = null): ColumnFacts {
  return {
    number,
    name,
    type: 'text',
    typeOid: 25,
    default:
      value === null
        ? null
        : { facts: CALLS_NOTHING, isNextval: false, isTransactionTime: false, expression: '', ...value },
    isAlwaysIdentity: false,
    isIdentity: false,
    isGenerated: false,
    sequence: null,
  };
}

const TABLE: TableFacts = {
  oid: 20_000,
  isPlain: true,
  columns: [
    column(1, 'id', { isNextval: true }),
    column(2, 'name'),
    column(3, 'the "Token"', { facts: { ...CALLS_NOTHING, isMade: true } }),
    column(4, 'at', { facts: { ...CALLS_NOTHING, isConstant: true }, isTransactionTime: true }),
    column(5, 'own', { facts: { ...CALLS_NOTHING, isMade: true, unseen: 'it calls the function f' } }),
  ],
  primaryKey: [1],
  hasRowTriggers: false,
  hasTriggers: false,
};

const ID = 'holdfast_recorded_1';
const TOKEN = `"the ""Token""" AS`;

describe('an INSERT or UPDATE that returns what the server makes', () => {
  beforeAll(loadParser);

  it.each([
    [
      'INSERT INTO t (name) VALUES ($1)',
      `INSERT INTO t (name) VALUES ($1) RETURNING "id" AS ${ID}, ${TOKEN} holdfast_recorded_2`,
    ],
    [
      'insert into t (name) values ($1) returning id ; -- the end;',
      `insert into t (name) values ($1) returning id, ${TOKEN} ${ID} ; -- the end;`,
    ],
    [
      'INSERT INTO t AS x (name) VALUES (1) RETURNING x.id, id + 1 /* ; */',
      `INSERT INTO t AS x (name) VALUES (1) RETURNING x.id, id + 1, ${TOKEN} ${ID} /* ; */`,
    ],
    [
      'INSERT INTO t VALUES (1, gen_random_uuid(), DEFAULT)',
      `INSERT INTO t VALUES (1, gen_random_uuid(), DEFAULT) RETURNING "name" AS ${ID}, ${TOKEN} holdfast_recorded_2`,
    ],
    [
      `INSERT INTO t (id, "the ""Token""") VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = gen_random_uuid()`,
      `INSERT INTO t (id, "the ""Token""") VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = gen_random_uuid() RETURNING "name" AS ${ID}`,
    ],
    [
      'UPDATE t SET name = random()::text WHERE at > now()',
      `UPDATE t SET name = random()::text WHERE at > now() RETURNING "id" AS ${ID}, "name" AS holdfast_recorded_2`,
    ],
  ])('%s', (text, expected) => {
    expect(recordedText(text, TABLE)?.text).toBe(expected);
  });

  it.each([
    ['all is returned', 'INSERT INTO t (name) VALUES (1) RETURNING *'],
    ['all is returned by its name', 'INSERT INTO t AS x (name) VALUES (1) RETURNING x.*'],
    ['all is given', `INSERT INTO t (id, name, "the ""Token""") VALUES (1, 2, 3)`],
    ['nothing is made', `UPDATE t SET name = 'a', at = now()`],
    ['another table is in it', `UPDATE t SET name = random()::text FROM other`],
    ['a WITH', 'WITH w AS (SELECT 1) INSERT INTO t (name) SELECT * FROM w'],
    ['two statements', 'INSERT INTO t (name) VALUES (1); SELECT 1'],
    ['a backslash', String.raw`INSERT INTO t (name) VALUES ('\')`],
    ['another statement', 'DELETE FROM t'],
    ['old values', `UPDATE t SET name = random()::text RETURNING old.name`],
    ['what does not parse', 'INSERT INTO'],
  ])('is left as it is: %s', (_why, text) => {
    expect(recordedText(text, TABLE)).toBeNull();
  });
});
