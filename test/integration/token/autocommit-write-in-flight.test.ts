import pg from 'pg';
import { describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, loseQuestions, onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Each way in which an application sends one write by itself. */
const FORMS: readonly { readonly name: string; readonly run: (client: WatchedClient) => Promise<unknown> }[] =
  [
    { name: 'text alone', run: (client) => client.query(`INSERT INTO note VALUES ('a')`) },
    { name: 'with parameters', run: (client) => client.query('INSERT INTO note VALUES ($1)', ['a']) },
    {
      name: 'a named statement',
      run: (client) => client.query({ name: 'write', text: 'INSERT INTO note VALUES ($1)', values: ['a'] }),
    },
    { name: 'two statements', run: (client) => client.query(`INSERT INTO note VALUES ('a'); SELECT 1`) },
    {
      name: 'a transaction in one string',
      run: (client) => client.query(`BEGIN; INSERT INTO note VALUES ('a'); COMMIT`),
    },
    {
      name: 'with a result',
      run: async (client) => {
        const { rows } = await client.query(`INSERT INTO note VALUES ('a') RETURNING text`);
        expect(rows).toEqual([{ text: 'a' }]);
      },
    },
    {
      name: 'with a comment at the end',
      run: (client) => client.query(`INSERT INTO note VALUES ('a') -- b`),
    },
  ];

describe('R3: an autocommit write is in flight', () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    setUp: `
      CREATE TABLE gate ();
      CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
          RAISE NOTICE 'first %', $1;
          PERFORM FROM gate;
          RAISE NOTICE 'second %', $1;
          PERFORM pg_notify('told', $1);
          INSERT INTO note VALUES ($1);
          RETURN $1;
        END $$;`,
  });

  async function connect(): Promise<WatchedClient & { readonly verdicts: string[] }> {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    const verdicts: string[] = [];
    client.failover!.on('commitResolved', ({ outcome, reason }: CommitResolved) =>
      verdicts.push(`${outcome} ${reason}`),
    );
    return Object.assign(client, { verdicts });
  }

  for (const { name, run } of FORMS) {
    it(`${name}: runs as ever`, async () => {
      const client = await connect();
      await run(client);
      await run(client);
      expect(await lab.notes()).toEqual(['a', 'a']);
      expect(client.verdicts).toEqual([]);
      expect(client.seen.isQuiet).toBe(true);
    });

    it(`${name}: takes effect once if it never reached the server`, async () => {
      const client = await connect();
      const sent = loseQuestions(lab.proxy);
      const write = run(client);
      await sent;
      await lab.replacePrimary();
      await write;
      expect(client.verdicts).toEqual(['not-committed token-fenced']);
      expect(await lab.notes()).toEqual(['a']);
    });

    it(`${name}: takes effect once if only its result was lost`, async () => {
      const client = await connect();
      const lost = onMessage(lab.proxy, { from: 'server', type: 'Z' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const write = run(client);
      await lost;
      await lab.replacePrimary();
      await write;
      // The tag of a COMMIT of its own says so by itself.
      expect(client.verdicts).toEqual(name.startsWith('a transaction') ? [] : ['committed token-committed']);
      expect(await lab.notes()).toEqual(['a']);
    });
  }

  it('each of two in a pipeline hears of its own when their session is ended on purpose (R14)', async () => {
    const client = await lab.connect({ pipeline: true, failover: { commitOutcome: 'token' } });
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    // From the first answer on only the server's last words get through.
    const answered = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (connection) => {
      lab.proxy.onBackendMessage = (type, _body, from) =>
        from === connection && type !== 'E' ? 'drop' : undefined;
      return 'drop';
    });
    const first = settle(client.query(`INSERT INTO note VALUES ('first')`));
    const second = settle(client.query(`INSERT INTO note SELECT 'second' FROM pg_sleep(60)`));
    const third = settle(client.query('SELECT 1'));
    await answered;
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await lab.primary.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
    expect((await first).error).toMatchObject({ kind: 'result-lost', outcome: 'committed' });
    expect((await second).error).toMatchObject({ code: '57P01', severity: 'FATAL' });
    expect((await third).error).toMatchObject({ message: 'Connection terminated unexpectedly' });
    expect(await lab.notes()).toEqual(['first']);
  });

  /** Everything the application hears of one query, in its order. */
  function trace(client: pg.Client): unknown[] {
    const heard: unknown[] = [];
    client.on('notice', ({ message }) => heard.push(message));
    client.on('notification', ({ payload }) => heard.push(`notified ${payload}`));
    return heard;
  }

  const TELLS = `SELECT told('a') UNION ALL SELECT told('b')`;

  it.each([TELLS, `${TELLS} ORDER BY 1`, `${TELLS}; SELECT 1`])(
    'its notices and notifications have their places: %s',
    async (text) => {
      const run = async (client: pg.Client): Promise<unknown[]> => {
        await client.query('LISTEN told');
        const heard = trace(client);
        const query = client.query(new pg.Query(text));
        query.on('row', (row) => heard.push(row));
        await new Promise((resolve) => query.on('end', resolve));
        heard.push('end');
        await client.query('UNLISTEN told');
        return heard;
      };
      const expected = await run(await lab.stock());
      expect(expected).toContain('notified b');
      expect(await run(await connect())).toEqual(expected);
      expect(await lab.notes()).toEqual(['a', 'a', 'b', 'b']);
    },
  );

  it.each(['by itself', 'in a transaction'])(
    'one that runs again %s gives its notices once',
    async (where) => {
      const client = await connect();
      const heard = trace(client);
      await client.query('LISTEN told');
      if (where !== 'by itself') await client.query('BEGIN');
      const gate = await lab.stock();
      await gate.query('BEGIN; LOCK TABLE gate');
      const write = client.query(`SELECT told('a')`);
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query(
          `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%told%'`,
        );
        return rowCount === 1;
      });
      const before = where === 'by itself' ? [] : ['first a'];
      if (where !== 'by itself') await waitFor(() => heard.length === 1);
      expect(heard).toEqual(before);
      await lab.replacePrimary();
      await write;
      if (where !== 'by itself') await client.query('COMMIT');
      expect(heard).toEqual(['first a', 'second a', 'notified a']);
      expect(await lab.notes()).toEqual(['a']);
    },
  );
});
