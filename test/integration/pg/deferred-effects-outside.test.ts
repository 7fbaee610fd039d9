import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { settle, type Settled } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Appends a line to a file in the server's data directory: no ROLLBACK takes it back. */
const ACT = `COPY (SELECT 'done') TO PROGRAM 'cat >> acted-outside'`;
/** Held by the test, it keeps a COMMIT waiting behind what it has done outside. */
const GATE = 4711;

/**
 * A deferred constraint trigger runs at COMMIT, and finds by the search_path of that moment what it calls. The table's own
 * trigger is the same under every path; what it does is not.
 */
const SET_UP = `
  CREATE SCHEMA harmful; GRANT USAGE ON SCHEMA harmful TO PUBLIC;
  CREATE FUNCTION harmful.act() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN ${ACT}; PERFORM pg_advisory_xact_lock_shared(${GATE}); END $$;
  CREATE FUNCTION public.act() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM count(*) FROM public.note; END $$;
  CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM act(); RETURN NULL; END $$;
  CREATE FUNCTION harmful.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM harmful.act(); RETURN NULL; END $$;
  CREATE TABLE public.watched (text text);
  CREATE TABLE public.trapped (text text);
  CREATE TABLE harmful.trapped (text text);
  CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.watched DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.fire();
  CREATE CONSTRAINT TRIGGER later AFTER INSERT ON harmful.trapped DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION harmful.fire();
  GRANT ALL ON public.watched, public.trapped, harmful.trapped TO PUBLIC`;

/** What the application may define anew. */
const HARMLESS = `CREATE OR REPLACE FUNCTION own_act() RETURNS void LANGUAGE sql AS 'SELECT'`;
const OF_THE_APPLICATION = `
  ${HARMLESS};
  CREATE FUNCTION own_fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM own_act(); RETURN NULL; END $$;
  CREATE TABLE watched_by_owner (text text);
  CREATE CONSTRAINT TRIGGER later AFTER INSERT ON watched_by_owner DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION own_fire()`;

interface Way {
  readonly name: string;
  readonly statements: readonly string[];
}

/** In each of them the trigger acts outside of the database when the transaction commits, and not before. */
const WAYS: readonly Way[] = [
  {
    name: 'queued under the plain path, found under another one at COMMIT',
    statements: [`INSERT INTO watched VALUES ('a')`, 'SET LOCAL search_path = harmful, public'],
  },
  {
    name: 'queued under a third path, found under another one at COMMIT',
    statements: [
      'SET LOCAL search_path = public',
      `INSERT INTO watched VALUES ('a')`,
      `SELECT set_config('search_path', 'harmful, public', true)`,
    ],
  },
  {
    name: 'queued on a table of another path, which is taken back before COMMIT',
    statements: [
      'SET LOCAL search_path = harmful',
      `INSERT INTO trapped VALUES ('a')`,
      'SET LOCAL search_path = public',
    ],
  },
  {
    name: 'queued under the plain path, and what it calls is defined anew behind that',
    statements: [
      `INSERT INTO watched_by_owner VALUES ('a')`,
      `CREATE OR REPLACE FUNCTION own_act() RETURNS void LANGUAGE sql AS 'SELECT harmful.act()'`,
    ],
  },
  {
    name: 'queued on a table of another path in one string',
    statements: [
      `SET LOCAL search_path = harmful; INSERT INTO trapped VALUES ('a'); SET LOCAL search_path = public`,
    ],
  },
];

describe('a deferred trigger acts outside of the database, under another search_path than it was queued (A7)', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, setUp: OF_THE_APPLICATION });
  beforeAll(async () => {
    await lab.primary.query(SET_UP);
  });
  beforeEach(async () => {
    await lab.primary.query(`
      TRUNCATE watched, watched_by_owner, trapped, harmful.trapped;
      ${HARMLESS};
      COPY (SELECT) TO PROGRAM 'rm -f acted-outside; cat > /dev/null'`);
  });

  async function timesActed(): Promise<number> {
    const { rows } = await lab.primary.query<{ text: string | null }>(
      `SELECT pg_read_file('acted-outside', true) AS text`,
    );
    return rows[0]?.text?.trim().split('\n').length ?? 0;
  }

  async function rowsWritten(): Promise<number> {
    const { rows } = await lab.primary.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM
         (SELECT FROM watched UNION ALL SELECT FROM watched_by_owner UNION ALL SELECT FROM trapped UNION ALL SELECT FROM harmful.trapped) AS written`,
    );
    return rows[0]!.count;
  }

  /** The same texts under the plain path are judged before, and are harmless there. */
  async function begin({ statements }: Way): Promise<WatchedClient> {
    const client = await lab.connect();
    for (const table of ['watched', 'watched_by_owner', 'trapped']) {
      for (const end of ['ROLLBACK', 'COMMIT']) {
        await client.query('BEGIN');
        await client.query(`INSERT INTO ${table} VALUES ('a')`);
        await client.query(end);
      }
    }
    await lab.primary.query('TRUNCATE watched, watched_by_owner, trapped');
    await client.query('BEGIN');
    for (const sql of statements) await client.query(sql);
    expect(await timesActed()).toBe(0);
    return client;
  }

  /** It has acted once at most, and what the application is told of its rows is true. */
  async function expectTruth({ error, value }: Settled<{ readonly command: string }>): Promise<void> {
    const acted = await timesActed();
    const written = await rowsWritten();
    expect(acted).toBeLessThanOrEqual(1);
    if (error === undefined) {
      expect(value?.command).toBe('COMMIT');
      expect({ acted, written }).toEqual({ acted: 1, written: 1 });
    } else if (error.outcome === 'rolled-back') {
      expect(written).toBe(0);
    } else {
      expect(error).toMatchObject({ code: '08007', outcome: 'unknown' });
    }
  }

  describe.each(WAYS)('$name', (way) => {
    it('acts at all, when nothing is lost', async () => {
      const client = await begin(way);
      await client.query('COMMIT');
      expect(await timesActed()).toBe(1);
    });

    it('acts once if the answer to COMMIT is lost', async () => {
      const client = await begin(way);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const pending = settle(client.query('COMMIT'));
      await lost;
      await lab.proxy.reset();
      lab.proxy.cut();
      await expectTruth(await pending);
      expect(await timesActed()).toBe(1);
    });

    it('acts at most once if COMMIT never arrived', async () => {
      const client = await begin(way);
      const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
      const pending = settle(client.query('COMMIT'));
      await lost;
      lab.proxy.cut();
      await expectTruth(await pending);
    });

    it('does not act again if COMMIT was at work, had acted, and was ended with its connection', async () => {
      const client = await begin(way);
      const gate = await lab.stock();
      await gate.query(`BEGIN; SELECT pg_advisory_xact_lock(${GATE})`);
      const pending = settle(client.query('COMMIT'));
      await waitFor(async () => (await timesActed()) === 1);
      const { processID } = client as unknown as { processID: number };
      lab.proxy.cut();
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_stat_activity WHERE pid = $1', [
          processID,
        ]);
        return rowCount === 0;
      });
      await gate.query('COMMIT');
      const settled = await pending;
      expect(await timesActed()).toBe(1);
      expect(await rowsWritten()).toBe(0);
      expect(settled.error).toBeDefined();
      expect(['rolled-back', 'unknown']).toContain(settled.error?.outcome);
    });

    it('does not act again if SET CONSTRAINTS had let it act before the loss', async () => {
      const client = await begin(way);
      await client.query('SET CONSTRAINTS ALL IMMEDIATE');
      expect(await timesActed()).toBe(1);
      const { accepted } = lab.proxy;
      lab.proxy.cut();
      await waitFor(() => lab.proxy.accepted > accepted);
      const { error } = await settle(client.query('SELECT 1'));
      expect(error).toMatchObject({ code: '40001', kind: 'transaction-not-replayable' });
      // Where the triggers may have changed the session as well, that is closed.
      await settle(client.query('ROLLBACK'));
      expect(await timesActed()).toBe(1);
      expect(await rowsWritten()).toBe(0);
    });
  });
});
