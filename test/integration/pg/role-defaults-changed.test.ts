import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle, type Settled } from '../../support/settle.ts';

const FIRST = 'ALTER ROLE app SET search_path = first';
const SECOND = 'ALTER ROLE app SET search_path = second';

describe('ALTER ROLE … SET has changed what a new session begins with, since this one began', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: `
      CREATE SCHEMA first; CREATE SCHEMA second;
      CREATE TABLE first.item (text text); CREATE TABLE second.item (text text);
      CREATE FUNCTION first.act() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM public.note';
      CREATE FUNCTION second.act() RETURNS void LANGUAGE sql AS $$INSERT INTO public.note VALUES ('x')$$`,
  });
  beforeEach(async () => {
    await lab.primary.query(`TRUNCATE first.item, second.item; ALTER ROLE app RESET ALL; ${FIRST}`);
  });

  async function items(): Promise<unknown[]> {
    const { rows } = await lab.primary.query(
      `SELECT 'first' AS path, text FROM first.item UNION ALL SELECT 'second', text FROM second.item`,
    );
    return rows;
  }

  async function expectRefused(client: WatchedClient, pending: Promise<Settled<unknown>>): Promise<void> {
    expect((await pending).error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    await settle(client.query('ROLLBACK')); // The session may be closed as well.
    expect(await items()).toEqual([]);
  }

  it('doubles no write that the old names took for a read', async () => {
    const client = await lab.connect();
    await client.query(`SET application_name = 'x'`);
    for (let count = 0; count < 3; count++) await client.query('SELECT act()');
    await lab.primary.query(SECOND);
    lab.proxy.cut();
    await client.query('SELECT 1');
    await client.query('SELECT 1');
    const wrote = onMessage(lab.proxy, { from: 'server', type: 'T', text: 'act' }, 'cut-before');
    const pending = settle(client.query('SELECT act()'));
    await wrote;
    await pending;
    expect((await lab.notes()).length).toBeLessThan(2);
  });

  it('replays what a session began that has set its own', async () => {
    const client = await lab.connect();
    for (const sql of ['SET search_path = first', 'BEGIN', `INSERT INTO item VALUES ('mine')`])
      await client.query(sql);
    await lab.primary.query(SECOND);
    lab.proxy.cut();
    await client.query('COMMIT');
    expect(await items()).toEqual([{ path: 'first', text: 'mine' }]);
  });

  const SESSIONS: [which: string, before: string[]][] = [
    ['a session that has sent nothing yet', []],
    ['a session that was read back', [`SET application_name = 'x'`, 'SELECT 1']],
  ];

  describe.each(SESSIONS)('%s', (_which, before) => {
    it('has its open transaction refused under another search_path', async () => {
      const client = await lab.connect();
      for (const sql of [...before, 'BEGIN', `INSERT INTO item VALUES ('mine')`]) await client.query(sql);
      await lab.primary.query(SECOND);
      lab.proxy.cut();
      await expectRefused(client, settle(client.query('SELECT 1')));
    });

    it('has its COMMIT refused under another search_path', async () => {
      const client = await lab.connect();
      for (const sql of [...before, 'BEGIN', `INSERT INTO item VALUES ('mine')`]) await client.query(sql);
      await lab.primary.query(SECOND);
      lab.proxy.cut();
      await expectRefused(client, settle(client.query('COMMIT')));
    });

    it('has its open transaction refused under another isolation', async () => {
      await lab.primary.query('ALTER ROLE app SET default_transaction_isolation = serializable');
      const client = await lab.connect();
      for (const sql of [...before, 'BEGIN', `INSERT INTO item VALUES ('mine')`]) await client.query(sql);
      await lab.primary.query('ALTER ROLE app RESET default_transaction_isolation');
      lab.proxy.cut();
      await expectRefused(client, settle(client.query('SELECT 1')));
    });

    it('goes on if it was idle', async () => {
      await lab.primary.query('ALTER ROLE app SET default_transaction_isolation = serializable');
      const client = await lab.connect();
      for (const sql of before) await client.query(sql);
      await lab.primary.query(`${SECOND}; ALTER ROLE app RESET default_transaction_isolation`);
      lab.proxy.cut();
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(client.seen.isQuiet).toBe(true);
    });
  });
});
