import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf } from '../support/drivers.ts';

const SECRET = 'app';
const lab = ConformanceLab.forThisFile();

/** Everything that a careless log line might contain. */
function printed(value: unknown): string {
  const deep = { depth: 12, maxArrayLength: 1_000, getters: true } as const;
  return `${inspect(value)}\n${inspect(value, deep)}\n${inspect({ nested: [value] }, deep)}\n${stringified(value)}`;
}

function stringified(value: unknown): string {
  const seen = new Set<unknown>();
  return JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === 'bigint') return String(one);
    if (typeof one !== 'object' || one === null) return one;
    if (seen.has(one)) return undefined;
    seen.add(one);
    return one;
  });
}

describe.each(DRIVERS)('the password of $name', (driver) => {
  const password = 'pa55-word-in-no-log';

  it('is not in what is printed of a client or a pool', () => {
    const client = new driver.pg.Client(lab.config(driver, { password }));
    const pool = new driver.pg.Pool(lab.config(driver, { password }));
    for (const value of [client, pool, (pool as any).options, (client as any).connectionParameters]) {
      expect(printed(value)).not.toContain(password);
    }
  });

  it('is not in what is printed if it came in a URL', () => {
    const connectionString = `postgres://app:${password}@127.0.0.1:5999/app`;
    // A pool's options hold the connection string itself: that is so with stock pg, and it is the application's.
    const client = new driver.pg.Client({ ...driver.extra, connectionString });
    expect(printed(client)).not.toContain(password);
  });

  it('is not in what is printed of a connected client, its connection or its errors', async () => {
    await lab.node.query(`ALTER ROLE app PASSWORD '${password}'`);
    try {
      const client: any = await lab.connect(driver, { password });
      await client.query('BEGIN');
      await client.query('SELECT 1');
      for (const value of [client, client.connection, client.connection.stream]) {
        expect(inspect(value, { depth: 12, getters: true })).not.toContain(password);
      }
      const error = await errorOf(client.query('SELECT nothing'));
      expect(printed(error)).not.toContain(password);
      await client.end();
      const wrong = await errorOf(lab.client(driver, { password: `${password}-not` }).connect());
      expect(printed(wrong)).not.toContain(password);
    } finally {
      await lab.node.query(`ALTER ROLE app PASSWORD '${SECRET}'`);
    }
  });

  it('and the private key of TLS are not in what is printed', () => {
    const ssl = { key: 'private-key-text', cert: 'certificate-text', rejectUnauthorized: false };
    const client = new driver.pg.Client(lab.config(driver, { password, ssl: { ...ssl } }));
    const pool = new driver.pg.Pool(lab.config(driver, { password, ssl: { ...ssl } }));
    for (const value of [client, pool]) expect(printed(value)).not.toContain('private-key-text');
  });

  it('is still there for a copy of the configuration', () => {
    const pool: any = new driver.pg.Pool(lab.config(driver, { password }));
    expect(new driver.pg.Client(pool.options).password).toBe(password);
  });
});
