import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle, rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Appends a line to a file in the server's data directory: no ROLLBACK takes it back. */
const ACT = `COPY (SELECT 'done') TO PROGRAM 'cat >> acted-outside'`;
const LOCAL = `INSERT INTO note VALUES ('local')`;

describe('a transaction that has acted outside of its database is lost (A7)', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  beforeAll(async () => {
    await lab.primary.query(`DO $$ BEGIN
      EXECUTE format('GRANT pg_execute_server_program TO %I', (SELECT tableowner FROM pg_tables WHERE tablename = 'note'));
    END $$`);
  });
  beforeEach(async () => {
    await lab.primary.query(`COPY (SELECT) TO PROGRAM 'rm -f acted-outside; cat > /dev/null'`);
  });

  async function timesActed(): Promise<number> {
    const { rows } = await lab.primary.query<{ text: string | null }>(
      `SELECT pg_read_file('acted-outside', true) AS text`,
    );
    return rows[0]?.text?.trim().split('\n').length ?? 0;
  }

  async function begin(failover: FailoverOptions = {}): Promise<WatchedClient> {
    const client = await lab.connect({ failover });
    await client.query('BEGIN');
    await client.query(LOCAL);
    return client;
  }

  async function cutAndWait(): Promise<void> {
    const { accepted } = lab.proxy;
    lab.proxy.cut();
    await waitFor(() => lab.proxy.accepted > accepted);
  }

  it('is not replayed', async () => {
    const client = await begin();
    await client.query(ACT);
    await cutAndWait();
    const error = await rejectionOf(client.query(LOCAL));
    expect(error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    expect(error.message).toContain('failover.onOutsideEffects');
    await client.query('ROLLBACK');
    expect(await timesActed()).toBe(1);
    expect(await lab.notes()).toEqual([]);
  });

  it('is not replayed if the statement was in flight', async () => {
    const client = await begin();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COPY' }, 'cut-before');
    const pending = settle(client.query(ACT));
    await lost;
    expect((await pending).error).toMatchObject({ kind: 'transaction-not-replayable' });
    await client.query('ROLLBACK');
    expect(await timesActed()).toBe(1);
  });

  it('is not replayed behind a COMMIT that was lost', async () => {
    const client = await begin();
    await client.query(ACT);
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const pending = settle(client.query('COMMIT'));
    await lost;
    lab.proxy.cut();
    expect((await pending).error).toMatchObject({ kind: 'transaction-not-replayable' });
    expect(await timesActed()).toBe(1);
    expect(await lab.notes()).toEqual([]);
  });

  it('is not begun again if it began and acted in one string', async () => {
    const client = await lab.connect();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COPY' }, 'cut-before');
    const pending = settle(client.query(`BEGIN; ${ACT}`));
    await lost;
    expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    await client.query('ROLLBACK');
    expect(await timesActed()).toBe(1);
  });

  it('is replayed if the application says that it may happen twice', async () => {
    const client = await begin({ onOutsideEffects: 'replay' });
    await client.query(ACT);
    await cutAndWait();
    await client.query('COMMIT');
    expect(await timesActed()).toBe(2);
    expect(await lab.notes()).toEqual(['local']);
  });

  /** What ran is known to have acted once, and is not run again. */
  async function expectRefused(client: WatchedClient): Promise<void> {
    await cutAndWait();
    const { error } = await settle(client.query(LOCAL));
    expect(error).toMatchObject({ kind: 'transaction-not-replayable' });
    // Where the statement may have changed the session as well, that is closed.
    await settle(client.query('ROLLBACK'));
    expect(await timesActed()).toBe(1);
  }

  it.each([
    ['in a DO block', [`DO $$BEGIN ${ACT}; END$$`]],
    [
      'in SQL that a DO block puts together',
      [`DO $$BEGIN EXECUTE 'CO' || $x$${ACT.slice(2).replace('PROGRAM', 'PRO$x$ || $x$GRAM')}$x$; END$$`],
    ],
    [
      'in a function that it has just made',
      [`CREATE FUNCTION act() RETURNS void LANGUAGE plpgsql AS $$BEGIN ${ACT}; END$$`, 'SELECT act()'],
    ],
  ])('is not replayed if it did so %s', async (_where, statements) => {
    const client = await begin();
    for (const sql of statements) await client.query(sql);
    await expectRefused(client);
  });

  it.each([
    'SET LOCAL search_path = harmful',
    'SET search_path = harmful',
    `SELECT set_config('search_path', 'harmful', true)`,
  ])('is not replayed if a function did so that it found behind %s', async (way) => {
    await lab.primary.query(`
      CREATE SCHEMA harmful; GRANT ALL ON SCHEMA harmful TO PUBLIC;
      CREATE FUNCTION public.act() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM public.note';
      CREATE FUNCTION harmful.act() RETURNS void LANGUAGE plpgsql AS $$BEGIN ${ACT}; END$$`);
    try {
      const client = await begin();
      await client.query(way);
      await client.query('SELECT act()');
      await expectRefused(client);
    } finally {
      await lab.primary.query('DROP SCHEMA harmful CASCADE; DROP FUNCTION act()');
    }
  });

  it.each([
    ['in the same string', ['SET LOCAL search_path = harmful; SELECT act()']],
    ['in the same string, by a call', [`SELECT set_config('search_path', 'harmful', true); SELECT act()`]],
    ['in the same string, by a function', ['SELECT enter(); SELECT act()']],
    ['in the same function', ['SELECT enter_and_act()']],
    [
      'before a cursor ran it',
      ['DECLARE c CURSOR FOR SELECT walk()', 'SET LOCAL search_path = harmful', 'FETCH 1 FROM c'],
    ],
  ])('is not replayed if its path was changed %s', async (_where, statements) => {
    await lab.primary.query(`
      CREATE SCHEMA harmful; GRANT ALL ON SCHEMA harmful TO PUBLIC;
      CREATE FUNCTION public.act() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM public.note';
      CREATE FUNCTION harmful.act() RETURNS void LANGUAGE plpgsql AS $$BEGIN ${ACT}; END$$;
      CREATE FUNCTION public.enter() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN SET LOCAL search_path = harmful; END$$;
      CREATE FUNCTION public.walk() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM act(); RETURN 1; END$$;
      CREATE FUNCTION public.enter_and_act() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN SET LOCAL search_path = harmful; PERFORM act(); END$$`);
    try {
      const client = await begin();
      for (const sql of statements) await client.query(sql);
      await expectRefused(client);
    } finally {
      await lab.primary.query(
        'DROP SCHEMA harmful CASCADE; DROP FUNCTION act(), enter(), walk(), enter_and_act()',
      );
    }
  });

  it('is not replayed if somebody else had just made the function do so', async () => {
    const make = (body: string): string =>
      `CREATE OR REPLACE FUNCTION act() RETURNS void LANGUAGE plpgsql AS $$BEGIN ${body}; END$$`;
    await lab.primary.query(make('PERFORM count(*) FROM public.note'));
    try {
      const client = await lab.connect();
      await client.query('SELECT act()');
      await client.query('SELECT act()');
      await lab.primary.query(make(ACT));
      await client.query('BEGIN');
      await client.query('SELECT act()');
      await expectRefused(client);
    } finally {
      await lab.primary.query('DROP FUNCTION act()');
    }
  });
});
