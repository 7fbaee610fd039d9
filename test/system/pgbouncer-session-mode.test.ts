import { describe, expect, it } from 'vitest';
import { Client, Pool } from '../../src/pg.ts';
import { loseAnswers, onMessage } from '../support/on-message.ts';
import { rejectionOf, settle } from '../support/settle.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';
import { PoolerLab } from './pooler-lab.ts';

describe.each([
  ['without commit tokens', false],
  ['with commit tokens', true],
])('PgBouncer in session mode, %s', (_name, tokens) => {
  const lab = PoolerLab.forThisSuite({ poolMode: 'session', tokens });

  it('is refused unless the application has said that it is in that mode', async () => {
    const bouncer = await lab.bouncer();
    for (const pooler of [undefined, 'refuse'] as const) {
      const error = await rejectionOf(lab.connect([bouncer], { pooler }));
      expect(error).toMatchObject({ code: 'F0000', kind: 'configuration', outcome: 'not-executed' });
      expect(error.message).toContain(`failover.pooler: 'session'`);
    }
    const pool = new Pool(lab.config([bouncer], {}));
    expect(await rejectionOf(pool.query('SELECT 1'))).toMatchObject({ kind: 'configuration' });
    await pool.end();
    const plain = await lab.connect([bouncer], false);
    expect((await plain.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('carries what an ordinary session does', async () => {
    const bouncer = await lab.bouncer();
    const client = await lab.connect([bouncer]);
    await client.query('BEGIN');
    await client.query({ name: 'note', text: 'INSERT INTO note VALUES ($1)', values: ['a'] });
    await client.query('SAVEPOINT one');
    expect(await rejectionOf(client.query('SELECT 1/0'))).toMatchObject({ code: '22012' });
    await client.query('ROLLBACK TO one');
    await client.query({ name: 'note', text: 'INSERT INTO note VALUES ($1)', values: ['b'] });
    await client.query('COMMIT');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('undone')`);
    await client.query('ROLLBACK');
    expect(await lab.notes()).toEqual(['a', 'b']);

    await client.query(`SET app.tenant = 'mine'; CREATE TEMP TABLE scratch AS SELECT 1 AS one`);
    expect(
      (await client.query(`SELECT one, current_setting('app.tenant') AS tenant FROM scratch`)).rows,
    ).toEqual([{ one: 1, tenant: 'mine' }]);

    const heard: (string | undefined)[] = [];
    client.on('notification', ({ payload }) => heard.push(payload));
    await client.query('LISTEN news');
    await (await lab.stock(bouncer)).query(`NOTIFY news, 'hello'`);
    await waitFor(() => heard.length === 1);
    expect(heard).toEqual(['hello']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('cancels the statement of the right session', async () => {
    const bouncer = await lab.bouncer();
    const client = await lab.connect([bouncer]);
    const other = await lab.stock(bouncer);
    const theirs = settle(other.query('SELECT pg_sleep(1)'));
    const mine = settle(client.query('SELECT pg_sleep(60)'));
    await waitFor(async () => {
      const { rowCount } = await lab.cluster.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 2;
    });
    const canceller = new Client(lab.config([bouncer]));
    canceller.on('error', () => undefined);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const { connection } = canceller as unknown as {
      connection: {
        connect(port: number, host: string): void;
        cancel(id: number, key: number): void;
      } & NodeJS.EventEmitter;
    };
    connection.on('connect', () => {
      connection.cancel(processID, secretKey);
    });
    connection.on('error', () => undefined);
    connection.connect(bouncer.port, bouncer.host);
    expect((await mine).error).toMatchObject({ code: '57014' });
    expect((await theirs).error).toBeUndefined();
  });

  it.each([
    ['reset between sessions', {}],
    ['not even reset between sessions', { server_reset_query: '' }],
  ])(
    'gives a server connection to one session after the other: none stumbles over our statements, %s',
    async (_how, settings) => {
      const bouncer = await lab.bouncer({ default_pool_size: 1, ...settings });
      const backends = new Set<number>();
      for (const text of ['a', 'b', 'c']) {
        const client = await lab.connect([bouncer]);
        backends.add(await lab.backendOf(client));
        for (const part of ['1', '2']) {
          await client.query('BEGIN');
          await client.query('INSERT INTO note VALUES ($1)', [text + part]);
          await client.query('COMMIT');
        }
        expect(client.seen.isQuiet).toBe(true);
        await client.end();
      }
      expect(backends.size).toBe(1);
      const stranger = await lab.stock(bouncer);
      const { rows } = await stranger.query('SELECT name FROM pg_prepared_statements');
      if (!('server_reset_query' in settings)) expect(rows).toEqual([]);
      expect(await lab.notes()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2']);
    },
  );

  describe('when something dies', () => {
    it('the server in an open transaction: it goes on behind the PgBouncer of the promoted standby', async () => {
      const bouncers = await lab.bouncers();
      const client = await lab.connect(bouncers);
      await client.query(`SET app.tenant = 'mine'`);
      await client.query('BEGIN');
      await client.query({ name: 'note', text: 'INSERT INTO note VALUES ($1)', values: ['a'] });
      await client.query('DECLARE one CURSOR FOR SELECT generate_series(1, 9) AS n');
      await client.query('FETCH 3 FROM one');
      await lab.cluster.replacePrimary();
      expect((await client.query('FETCH 1 FROM one')).rows).toEqual([{ n: 4 }]);
      await client.query({ name: 'note', text: 'INSERT INTO note VALUES ($1)', values: ['b'] });
      expect(await lab.notes()).toEqual([]);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      expect((await client.query(`SELECT current_setting('app.tenant') AS tenant`)).rows).toEqual([
        { tenant: 'mine' },
      ]);
      expect(client.seen.isQuiet).toBe(true);
      // And new sessions do not stumble over the one whose server is dead.
      const next = await lab.connect(bouncers, { pooler: 'session', dialTimeoutMillis: 1_000 });
      await next.query(`INSERT INTO note VALUES ('c')`);
      expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    });

    it.each([
      ['before it came to the server', 'client', 'Q'],
      ['behind it, so that only its answer is lost', 'server', 'C'],
    ] as const)(
      'its connection to the server under a COMMIT, %s: it takes effect once',
      async (_when, from, type) => {
        const bouncer = await lab.bouncer();
        const client = await lab.connect([bouncer]);
        const outcomes: unknown[] = [];
        client.failover!.on('commitResolved', ({ outcome }) => outcomes.push(outcome));
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        const lost = onMessage(lab.cluster.proxy, { from, type, text: 'COMMIT' }, 'cut-before');
        const pending = client.query('COMMIT');
        await lost;
        await pending;
        expect(outcomes).toEqual([from === 'client' ? 'not-committed' : 'committed']);
        expect(await lab.notes()).toEqual(['a']);
        expect(client.seen.isQuiet).toBe(true);
      },
    );

    it('the server under a COMMIT, whose answer is lost: the promoted standby knows', async () => {
      const bouncers = await lab.bouncers();
      const client = await lab.connect(bouncers);
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const { proxy } = lab.cluster;
      const answered = onMessage(proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'drop');
      const pending = client.query('COMMIT');
      await answered;
      await lab.cluster.replacePrimary();
      await pending;
      expect(await lab.notes()).toEqual(['a']);
      expect(client.seen.isQuiet).toBe(true);
    });

    if (tokens) {
      it('the server under an autocommit write, whose answer is lost: it is there once', async () => {
        const bouncers = await lab.bouncers();
        const client = await lab.connect(bouncers);
        const reasons: unknown[] = [];
        client.failover!.on('commitResolved', ({ reason }) => reasons.push(reason));
        const { proxy } = lab.cluster;
        const answered = onMessage(proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
          loseAnswers(proxy, from),
        );
        const pending = settle(client.query('INSERT INTO note VALUES ($1)', ['a']));
        await answered;
        await lab.cluster.replacePrimary();
        // Its tag was lost: what is told is that it took effect, not how many rows it was.
        expect((await pending).error).toMatchObject({ kind: 'result-lost', outcome: 'committed' });
        expect(reasons).toEqual(['token-committed']);
        expect(await lab.notes()).toEqual(['a']);
      });
    }

    it('PgBouncer itself, and comes back: a transaction, an idle session and a listening one go on', async () => {
      const bouncer = await lab.bouncer();
      const [working, idle, listening] = await Promise.all(
        [0, 1, 2].map(async () => await lab.connect([bouncer])),
      );
      await working!.query('BEGIN');
      await working!.query(`INSERT INTO note VALUES ('a')`);
      await idle!.query(`SET app.tenant = 'mine'`);
      await idle!.query('SELECT 1');
      const heard: (string | undefined)[] = [];
      const gaps: unknown[] = [];
      listening!.on('notification', ({ payload }) => heard.push(payload));
      listening!.failover!.on('notificationGap', (event) => gaps.push(event.channels));
      await listening!.query('LISTEN news');
      await listening!.query('SELECT 1');
      await bouncer.kill();
      const pending = working!.query(`INSERT INTO note VALUES ('b')`);
      await bouncer.start();
      await pending;
      await working!.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      expect((await idle!.query(`SELECT current_setting('app.tenant') AS tenant`)).rows).toEqual([
        { tenant: 'mine' },
      ]);
      await waitFor(() => gaps.length > 0);
      await (await lab.cluster.stock()).query(`NOTIFY news, 'again'`);
      await waitFor(() => heard.length === 1);
      for (const client of [working, idle, listening]) expect(client!.seen.isQuiet).toBe(true);
    });

    it('the server, and PgBouncer is pointed to the promoted standby', async () => {
      const bouncer = await lab.bouncer();
      const client = await lab.connect([bouncer]);
      await client.query(`SET app.tenant = 'mine'`);
      await client.query('SELECT 1');
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await lab.cluster.replacePrimary();
      await bouncer.pointTo(lab.cluster.proxy);
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      expect((await client.query(`SELECT current_setting('app.tenant') AS tenant`)).rows).toEqual([
        { tenant: 'mine' },
      ]);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('nothing: it is pointed elsewhere and ends all sessions (KILL, RESUME) while the old server lives on', async () => {
      const bouncer = await lab.bouncer();
      const client = await lab.connect([bouncer]);
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await lab.cluster.shipAll();
      await bouncer.admin('KILL app');
      const pending = client.query(`INSERT INTO note VALUES ('b')`);
      await lab.cluster.cluster.failover();
      await bouncer.pointTo(lab.cluster.proxy);
      await bouncer.admin('RESUME app');
      await pending;
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      expect(client.seen.isQuiet).toBe(true);
    });
  });

  it('hands on that a session was ended on purpose (R14)', async () => {
    const bouncer = await lab.bouncer();
    const client = await lab.connect([bouncer]);
    const pid = await lab.backendOf(client);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = settle(client.query('SELECT pg_sleep(60)'));
    await waitFor(async () => {
      const { rowCount } = await lab.cluster.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await lab.cluster.primary.query('SELECT pg_terminate_backend($1)', [pid]);
    expect((await pending).error).toMatchObject({ code: '57P01' });
    expect(await lab.notes()).toEqual([]);
  });

  it("has given the lost session's backend to somebody else, who is left alone", async () => {
    const bouncer = await lab.bouncer({ default_pool_size: 2 });
    const front = await TcpProxy.start(bouncer);
    try {
      const client = await lab.connect([front]);
      const pid = await lab.backendOf(client);
      const lost = onMessage(front, { from: 'server', type: 'D', text: 'forty-two' }, 'cut-before');
      const pending = settle(client.query(`SELECT 'forty-two' AS answer`));
      await lost;
      // The driver can't come back before somebody else has its backend.
      await front.refuse();
      const other = await waitFor(async () => {
        const stranger = await lab.stock(bouncer);
        if ((await lab.backendOf(stranger)) === pid) return stranger;
        await stranger.end();
        return undefined;
      });
      const theirs = settle(other.query('SELECT pg_sleep(1), 1 AS one'));
      await front.pass();
      expect((await pending).value?.rows).toEqual([{ answer: 'forty-two' }]);
      expect((await theirs).value?.rows).toMatchObject([{ one: 1 }]);
      expect(await lab.backendOf(other)).toBe(pid);
      expect(other.seen.isQuiet).toBe(true);
    } finally {
      await front.stop();
    }
  });

  it('waits for the end of a transaction that PgBouncer is still ending', async () => {
    const bouncer = await lab.bouncer();
    const front = await TcpProxy.start(bouncer);
    try {
      const client = await lab.connect([front]);
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const pending = client.query(`UPDATE note SET text = 'b' FROM pg_sleep(1) AS s`);
      await waitFor(async () => {
        const { rowCount } = await lab.cluster.primary.query(
          `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
        );
        return rowCount === 1;
      });
      front.cut();
      await pending;
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['b']);
      expect(client.seen.isQuiet).toBe(true);
    } finally {
      await front.stop();
    }
  });

  describe('says no', () => {
    it('to a wrong password and to unknown settings: the application is told at once', async () => {
      const bouncer = await lab.bouncer();
      const wrong = lab.config([bouncer]).connectionString!.replace('app:app@', 'app:wrong@');
      expect(
        await rejectionOf(lab.connect([], { pooler: 'session' }, { connectionString: wrong })),
      ).toMatchObject({
        code: '08P01',
      });
      expect(
        await rejectionOf(lab.connect([bouncer], { pooler: 'session' }, { options: '-c geqo=off' })),
      ).toMatchObject({ code: '08P01', message: 'unsupported startup parameter: options' });
    });

    it('as it has no connection to spare: only who comes too much is told', async () => {
      const bouncer = await lab.bouncer({ default_pool_size: 1 });
      const first = await lab.connect([bouncer]);
      await first.query('BEGIN');
      await first.query(`INSERT INTO note VALUES ('a')`);
      const error = await rejectionOf(
        lab.connect([bouncer], { pooler: 'session', timeoutMillis: 1_000, dialTimeoutMillis: 500 }),
      );
      expect(error.message).toMatch(/timeout|no server was found/);
      await first.query('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
      expect(first.seen.isQuiet).toBe(true);
    });
  });
});
