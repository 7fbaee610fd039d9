import knex, { type Knex } from 'knex';
import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConfigurationError, staticHosts } from '../../../src/index.ts';
import { HoldfastPostgres } from '../../../src/knex.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION } from '../../support/postgres-template.ts';
import { openKnex } from '../../support/open-knex.ts';
import { rejectionOf } from '../../support/settle.ts';

const make = (config: Knex.Config): Knex => knex({ client: HoldfastPostgres, ...config });

describe('what is given to Knex', () => {
  const lab = FailoverLab.forThisSuite();
  const hostList = (): string => lab.proxies.map(({ host, port }) => `${host}:${port}`).join(',');
  afterEach(async () => {
    await lab.primary.query(`ALTER ROLE ${APPLICATION.user} PASSWORD '${APPLICATION.password}'`);
  });

  const ways: Record<string, () => NonNullable<Knex.Config['connection']>> = {
    'a connection string': () => lab.connectionString(),
    connectionString: () => ({ connectionString: lab.connectionString() }),
    'failover.hosts': () => ({ ...APPLICATION, failover: { hosts: hostList().split(',') } }),
    'a provider': () => ({ ...APPLICATION, failover: { provider: staticHosts(hostList().split(',')) } }),
    'a function': () => () => ({ connectionString: lab.connectionString() }),
    'an asynchronous function': () => async () => {
      await Promise.resolve();
      return { connectionString: lab.connectionString() };
    },
  };
  it.each(Object.keys(ways))('names the hosts by %s', async (way) => {
    const db = openKnex({ connection: ways[way]!(), pool: { min: 0, max: 1 } });
    expect(await db('note').select()).toEqual([]);
    const { host, port } = lab.proxy;
    expect(db.failover.snapshot()).toMatchObject({ primary: `${host}:${port}`, sessions: 1 });
    await lab.replacePrimary();
    await db('note').insert({ text: way });
    expect(await lab.notes()).toEqual([way]);
    expect(db.failover.snapshot().primary).toBe(`${lab.proxy.host}:${lab.proxy.port}`);
    expect(db.logged).toEqual([]);
  });

  it('has the words of a connection string that Knex reads itself', async () => {
    const db = openKnex({
      connection: `${lab.primary.connectionString()}?target_session_attrs=standby`,
      acquireConnectionTimeout: 30_000,
      pool: { min: 0, max: 1 },
    });
    await expect(Promise.resolve(db('note').select())).rejects.toThrow(/standby/);
  });

  it('is refused at once, with a hint, where Knex hides whose port it is', () => {
    expect(() => make({ connection: 'postgres://app:hidden@db1,db2:5433/app' })).toThrow(ConfigurationError);
    try {
      make({ connection: 'postgres://app:hidden@db1,db2:5433/app' });
    } catch (error) {
      expect(String(error)).toContain('connectionString');
      expect(String(error)).not.toContain('hidden');
    }
    const clear = [
      'postgres://db1,db2/app',
      'postgres://db1:5433,db2/app',
      'postgres://[::1]:5433,db2/app',
      { host: 'db1,db2', port: 5433 },
      { connectionString: 'postgres://db1,db2:5433/app' },
    ];
    for (const connection of clear) expect(() => make({ connection })).not.toThrow();
  });

  it('is refused at once where it is wrong, not at the first query', () => {
    const wrong = [
      { connection: { failover: { timeoutMilis: 1 } } },
      { connection: { failover: { hosts: [] } } },
      { connection: 'postgres://a:1,b:x/db' },
      { connection: { host: 'a', target_session_attrs: 'master' } },
    ] as unknown as Knex.Config[];
    for (const config of wrong)
      expect(() => make(config), JSON.stringify(config)).toThrow(ConfigurationError);
  });

  it('has no connectionPool', async () => {
    const pool = new pg.Pool();
    const config = { connectionPool: pool } as Knex.Config;
    expect(() => make(config)).toThrow(ConfigurationError);
    expect(() => make(config)).toThrow(/give 'connection'/);
    const db = make({});
    expect(() => {
      db.initialize(config);
    }).toThrow(ConfigurationError);
    await pool.end();
  });

  it('may be nothing, for who only wants SQL', () => {
    const db = make({});
    expect(db('note').where({ text: 'a' }).toQuery()).toBe(`select * from "note" where "text" = 'a'`);
    expect((db.client as HoldfastPostgres).failover).toBeNull();
  });

  it('may switch failover off', async () => {
    const db = openKnex({ connection: { ...lab.primary.connectionConfig(), failover: false } as object });
    expect(db.failover).toBeNull();
    expect(await db('note').select()).toEqual([]);
    await rejectionOf(
      db.transaction(async (trx) => {
        await trx('note').insert({ text: 'lost' });
        await lab.primary.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${APPLICATION.user}'`,
        );
        await trx('note').insert({ text: 'as with pg' });
      }),
    );
    expect(await lab.notes()).toEqual([]);
  });

  it('gives one set of events for all connections, in a transaction and with user parameters too', async () => {
    const db = openKnex({ connection: lab.connectionString(), pool: { min: 0, max: 4 } });
    const started = vi.fn();
    const succeeded = vi.fn();
    db.failover.on('failoverStarted', started).on('failoverSucceeded', succeeded);
    const eventsOf = ({ client }: Knex): unknown => (client as HoldfastPostgres).failover;
    expect(eventsOf(db.withUserParams({ tenant: 1 }))).toBe(db.failover);
    const open = await Promise.all(['a', 'b', 'c'].map(async () => await db.transaction()));
    expect(open.map(eventsOf)).toEqual([db.failover, db.failover, db.failover]);
    await Promise.all(open.map(async (trx, i) => await trx('note').insert({ text: String(i) })));
    const { sessions, failovers } = db.failover.snapshot();
    expect(sessions).toBe(3);
    await lab.replacePrimary();
    await Promise.all(open.map(async (trx) => await trx.commit()));
    expect(await lab.notes()).toEqual(['0', '1', '2']);
    expect(db.failover.snapshot().failovers).toBe(failovers + 1);
    expect(started).toHaveBeenCalledTimes(1);
    expect(succeeded).toHaveBeenCalledTimes(1);
    expect(succeeded.mock.calls[0]![0]).toMatchObject({ sessions: 3 });
  });

  it('has the settings of the moment, though the application changes them in place', async () => {
    const db = openKnex({ connection: { connectionString: lab.connectionString() }, pool: { min: 0 } });
    Object.assign((db.client as Knex.Client).connectionSettings, { application_name: 'renamed' });
    const { rows } = await db.raw<{ rows: unknown[] }>(`SELECT current_setting('application_name') AS name`);
    expect(rows).toEqual([{ name: 'renamed' }]);
  });

  it("gives Knex's driver everything that pg has", () => {
    const { driver } = make({ connection: { host: 'db1' } }).client as { driver: typeof pg };
    expect(driver.types).toBe(pg.types);
    expect(driver.Client.prototype).toBeInstanceOf(pg.Client);
    expect(driver.Client.name).toBe('Client');
  });

  it('may be a password for a time: a failover asks for the one that holds then', async () => {
    let password: string = APPLICATION.password;
    let isExpired = false;
    const provider = vi.fn(() => ({
      host: lab.proxies.map(({ host }) => host).join(','),
      port: lab.proxies.map(({ port }) => port).join(','),
      user: APPLICATION.user,
      database: APPLICATION.database,
      password,
      expirationChecker: () => isExpired,
    }));
    const db = openKnex({ connection: provider, pool: { min: 0, max: 3 } });
    // One by one: for connections made at the same time Knex asks each time.
    const open = [await db.transaction(), await db.transaction(), await db.transaction()];
    await Promise.all(open.map(async (trx, i) => await trx('note').insert({ text: String(i) })));
    expect(provider).toHaveBeenCalledTimes(1);
    password = 'changed';
    await lab.primary.query(`ALTER ROLE ${APPLICATION.user} PASSWORD 'changed'`);
    isExpired = true;
    provider.mockImplementationOnce(() => {
      isExpired = false;
      return { password } as never;
    });
    await lab.replacePrimary();
    await Promise.all(open.map(async (trx) => await trx.commit()));
    expect(await lab.notes()).toEqual(['0', '1', '2']);
    expect(provider).toHaveBeenCalledTimes(2);
    expect(db.logged).toEqual([]);
  });
});
