import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage, onMessageOfAny } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

/** Keys of a query that pg knows and @types/pg does not. */
function config(keys: object): pg.QueryConfig {
  return keys as pg.QueryConfig;
}

const SHOUTING = {
  getTypeParser: (oid: number) => (value: string) => `${oid}:${value}`,
};

const NUMBERS = 'SELECT n, n + $1::int AS more FROM generate_series(1, 1000) AS n';

const FORMS: readonly (readonly [string, object])[] = [
  ['rowMode: array', { rowMode: 'array' }],
  ['types of its own', { types: SHOUTING }],
  ['binary', { binary: true }],
  ['rows', { rows: 10 }],
  ['rows and a portal of its own', { rows: 10, portal: 'own' }],
  ['a portal of its own', { portal: 'own' }],
  ['a name', { name: 'numbers' }],
  ['rows and a name', { name: 'numbers', rows: 10 }],
];

describe('the primary is lost with a query of each form', () => {
  const lab = FailoverLab.forThisSuite();

  let portals = 0;

  /** A portal lives as long as its transaction: each query has one of its own. */
  async function ask(client: pg.ClientBase, form: object): Promise<pg.QueryResult> {
    const portal = 'portal' in form ? { portal: `own${++portals}` } : {};
    return await client.query(config({ ...form, ...portal, text: NUMBERS, values: [7] }));
  }

  /** What stock pg makes of it, whose way with binary numbers has its own limits. */
  async function expectAll(result: pg.QueryResult, form: object): Promise<void> {
    const { rows, fields, rowCount, command } = await ask(await lab.stock(), form);
    expect(rows).toHaveLength(1000);
    expect({ ...result }).toMatchObject({ rows, fields, rowCount, command });
  }

  it.each(FORMS)('%s: half of its rows were delivered, inside a transaction', async (_name, form) => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await expectAll(await ask(client, form), form); // In the journal.
    const held = onMessage(lab.proxy, { from: 'server', type: 'D', after: 504 }, 'hold');
    const pending = ask(client, form);
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    await expectAll(await pending, form);
    await expectAll(await ask(client, form), form);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it.each(FORMS)(
    '%s: half of its rows were delivered, and only the connection is cut',
    async (_name, form) => {
      const client = await lab.connect();
      const cut = onMessage(lab.proxy, { from: 'server', type: 'D', after: 504 }, 'cut-before');
      const pending = ask(client, form);
      await cut;
      await expectAll(await pending, form);
      await expectAll(await ask(client, form), form);
      expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
    },
  );

  it.each(FORMS)('%s: it comes after the primary is gone', async (_name, form) => {
    const client = await lab.connect();
    await expectAll(await ask(client, form), form);
    await lab.replacePrimary();
    await expectAll(await ask(client, form), form);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it('writes with RETURNING, rows and a portal give each row once, and write once', async () => {
    const client = await lab.connect();
    const insert = config({
      text: `INSERT INTO note SELECT 'line ' || n FROM generate_series(1, $1::int) AS n RETURNING text`,
      rows: 10,
      portal: 'own',
    });
    await client.query('BEGIN');
    const held = onMessage(lab.proxy, { from: 'server', type: 'D', after: 55 }, 'hold');
    const pending = client.query<{ text: string }>({ ...insert, values: [100] });
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const { rows } = await pending;
    expect(rows).toEqual(Array.from({ length: 100 }, (_, i) => ({ text: `line ${i + 1}` })));
    await client.query('COMMIT');
    expect(await lab.notes()).toHaveLength(100);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('the same outside a transaction is never run twice', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'D', after: 55 }, 'cut-before');
    const insert = config({
      text: `INSERT INTO note SELECT 'line ' || n FROM generate_series(1, $1::int) AS n RETURNING text`,
    });
    const pending = settle(client.query({ ...insert, values: [100] }));
    await cut;
    expect((await pending).error).toMatchObject({ kind: 'outcome-unknown', code: '08007' });
    expect([0, 100]).toContain((await lab.notes()).length);
  });

  it('named statements are parsed again where the journal uses them first, and no sooner (D4)', async () => {
    const client = await lab.connect();
    const named = (name: string, text: string, ...values: string[]): Promise<pg.QueryResult> =>
      client.query({ name, text, values });
    await named('unused', 'SELECT $1::text', 'x');
    await named('outside', 'INSERT INTO note VALUES ($1)', 'outside');
    await client.query('BEGIN');
    await client.query('CREATE TABLE fresh (text text)');
    await named('inside', 'INSERT INTO fresh VALUES ($1)', 'a');
    await named('outside', 'INSERT INTO note VALUES ($1)', 'b');
    await named('inside', 'INSERT INTO fresh VALUES ($1)', 'c');
    const wire: string[] = [];
    for (const proxy of lab.standbyProxies) {
      proxy.onFrontendMessage = (type, body) => {
        const [first = '', second = ''] = body.toString().split('\0');
        if (type === 'P' && /^(unused|outside|inside)$/.test(first)) wire.push(`parse ${first}`);
        if (type === 'B' && /^(unused|outside|inside)$/.test(second)) wire.push(`bind ${second}`);
        if (type === 'Q' && /CREATE|COMMIT/.test(first)) wire.push(first.slice(0, 6));
        return undefined;
      };
    }
    await lab.replacePrimary();
    await named('inside', 'INSERT INTO fresh VALUES ($1)', 'd');
    await client.query('COMMIT');
    await named('unused', 'SELECT $1::text', 'x');
    expect(wire).toEqual([
      'CREATE', 'parse inside', 'bind inside', 'parse outside', 'bind outside', 'bind inside', 'bind inside', 'COMMIT',
      'parse unused', 'bind unused',
    ]); // prettier-ignore
    expect((await client.query('SELECT text FROM fresh ORDER BY text')).rows).toHaveLength(3);
    await client.query('DROP TABLE fresh');
    expect(await lab.notes()).toEqual(['b', 'outside']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('a name that is prepared in the statement which is lost is prepared once', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const lost = onMessageOfAny([lab.proxy], { from: 'client', type: 'P', text: 'late' }, 'cut-before');
    const insert = { name: 'late', text: 'INSERT INTO note VALUES ($1)' };
    const pending = client.query({ ...insert, values: ['b'] });
    await lost;
    await lab.replacePrimary();
    expect((await pending).rowCount).toBe(1);
    await client.query({ ...insert, values: ['c'] });
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
