import { beforeAll, describe, expect, it } from 'vitest';
import { loadDeparser, writeStatement } from '../../../../src/pg/pinning/deparser.ts';
import type { GivenAnswer } from '../../../../src/pg/pinning/given-answer.ts';
import { pinStatement } from '../../../../src/pg/pinning/pin-statement.ts';
import type { StatementPins } from '../../../../src/pg/pinning/pinning-input.ts';
import { PinnedValues } from '../../../../src/pg/pinning/sql-nodes.ts';
import type { ColumnFacts, TableFacts } from '../../../../src/pg/pinning/table-facts.ts';
import { TransactionConstants } from '../../../../src/pg/pinning/transaction-constants.ts';
import { CALLS_NOTHING } from '../../../../src/pg/pinning/made-values.ts';
import { loadParser, parse } from '../../../../src/pg/sql/parser.ts';

const OID = 20_000;
const INT8 = 20;
const UUID = 2950;

function column(number: number, name: string, changes: Partial<ColumnFacts> = {}): ColumnFacts {
  return {
    number,
    name,
    type: 'text',
    typeOid: 25,
    default: null,
    isAlwaysIdentity: false,
    isIdentity: false,
    isGenerated: false,
    sequence: null,
    ...changes,
  };
}

const made = { isNextval: false, isTransactionTime: false, expression: 'gen_random_uuid()' };
const ITEM: TableFacts = {
  oid: OID,
  isPlain: true,
  columns: [
    column(1, 'id', {
      type: 'bigint',
      typeOid: INT8,
      default: {
        facts: CALLS_NOTHING,
        isNextval: true,
        isTransactionTime: false,
        expression: "nextval('s')",
      },
      sequence: 30_000,
    }),
    column(2, 'name'),
    column(3, 'token', {
      type: 'uuid',
      typeOid: UUID,
      default: { facts: { ...CALLS_NOTHING, isMade: true }, ...made },
    }),
  ],
  primaryKey: [1],
  hasRowTriggers: false,
  hasTriggers: false,
};

function answer(names: readonly string[], rows: readonly (readonly string[])[], tableOid = OID): GivenAnswer {
  return {
    columns: names.map((name) => {
      const found = ITEM.columns.find((one) => one.name === name)!;
      return {
        name,
        tableOid,
        columnNumber: found.number,
        typeOid: found.typeOid,
        typeModifier: -1,
        format: 0,
      };
    }),
    rows: rows.map((row) => row.map((value) => Buffer.from(value))),
    tag: 'INSERT',
  };
}

function pin(text: string, given: GivenAnswer): StatementPins & { readonly sql: string | null } {
  const outcome = parse(text);
  if (outcome.kind !== 'parsed') throw new Error(outcome.reason);
  const tree = structuredClone(outcome.statements[0]);
  const pins = pinStatement({
    tree,
    parameters: [],
    answer: given,
    table: ITEM,
    constants: new TransactionConstants(false),
    values: new PinnedValues(0),
  });
  return { ...pins, sql: writeStatement(tree) };
}

beforeAll(async () => {
  await loadParser();
  await loadDeparser();
});

describe('a statement with the values that it made', () => {
  it('gives the defaults that were seen', () => {
    const pinned = pin(`INSERT INTO item (name) VALUES ('a') RETURNING id`, answer(['id'], [['7']]));
    expect(pinned.sql).toBe(`INSERT INTO item (name, id) VALUES ('a', CAST('7' AS bigint)) RETURNING id`);
    expect(pinned.drawn).toEqual([{ sequence: 30_000, values: [7n] }]);
  });

  it('gives ON CONFLICT what it inserts', () => {
    const text = `INSERT INTO item (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET token = gen_random_uuid() RETURNING token`;
    const pinned = pin(text, answer(['token'], [['t']]));
    expect(pinned.sql).toContain('SET token = excluded.token');
    expect(pinned.sql).toContain(`'t'::uuid`);
  });

  it('leaves ON CONFLICT alone where that would change another value', () => {
    const text = `INSERT INTO item (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET name = excluded.id::text RETURNING id`;
    expect(pin(text, answer(['id'], [['7']]))).toMatchObject({
      isPinned: false,
      reason: 'its ON CONFLICT reads a value that was made',
    });
  });

  it('updates by primary key', () => {
    const text = 'UPDATE item SET token = gen_random_uuid() RETURNING id, token';
    const pinned = pin(text, answer(['id', 'token'], [['1', 'a'], ['2', 'b']])); // prettier-ignore
    expect(pinned.sql).toContain(`CASE WHEN item.id = CAST('1' AS bigint) THEN 'a'::uuid`);
  });

  it.each([
    [
      'of another table',
      'UPDATE item SET token = gen_random_uuid() FROM other o RETURNING o.id, o.token',
      OID + 1,
    ],
    [
      'of a join with itself',
      'UPDATE item SET token = gen_random_uuid() FROM item o RETURNING o.id, o.token',
      OID,
    ],
    [
      'of itself within WITH',
      'WITH o AS (SELECT * FROM item) UPDATE item SET token = gen_random_uuid() FROM o RETURNING o.id, o.token',
      OID,
    ],
  ])('does not take columns %s for its own', (_name, text, tableOid) => {
    expect(pin(text, answer(['id', 'token'], [['1', 'a']], tableOid)).isPinned).toBe(false);
  });

  it('writes only what is read as the same', () => {
    expect(
      writeStatement({ SelectStmt: { targetList: [{ ResTarget: { val: { NoSuchNode: {} } } }] } }),
    ).toBeNull();
  });
});
