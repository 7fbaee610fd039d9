import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { PostgresNode } from '../../support/postgres-node.ts';
import { APPLICATION } from '../../support/postgres-template.ts';
import { settle } from '../../support/settle.ts';

describe('a primary and its standby, named in all ways there are, the standby first', () => {
  let lab: FailoverLab;
  beforeAll(async () => {
    lab = await FailoverLab.start({ standbys: 1 });
  });
  afterAll(async () => {
    await lab.stop();
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await lab.hangUp();
  });

  const standby = () => lab.cluster.standbys[0]!;
  const hosts = () => [standby(), lab.primary].map((node) => lab.proxyOf(node));
  const list = (part: 'host' | 'port'): string =>
    hosts()
      .map((one) => String(one[part]))
      .join();
  const url = (attrs: string): string =>
    `postgres://app:app@${hosts()
      .map(({ host, port }) => `${host}:${port}`)
      .join()}/app${attrs === '' ? '' : `?target_session_attrs=${attrs}`}`;
  const isStandby = async (config: ClientConfig): Promise<boolean> => {
    const client = await lab.connect({ connectionString: undefined, ...config });
    const { rows } = await client.query<{ is: boolean }>('SELECT pg_is_in_recovery() AS is');
    return rows[0]!.is;
  };

  const WAYS: readonly (readonly [name: string, config: () => ClientConfig])[] = [
    ['a URL', () => ({ connectionString: url('read-write') })],
    ['lists in host and port', () => ({ ...APPLICATION, host: list('host'), port: list('port') as never })],
    [
      'PGHOST and PGPORT',
      () => {
        vi.stubEnv('PGHOST', list('host'));
        vi.stubEnv('PGPORT', list('port'));
        return { ...APPLICATION };
      },
    ],
    [
      'failover.hosts',
      () => ({ ...APPLICATION, failover: { hosts: hosts().map(({ host, port }) => `${host}:${port}`) } }),
    ],
  ];

  it.each(WAYS)('finds the primary by %s, and goes on when the connection is cut', async (_name, config) => {
    const given = config();
    expect(await isStandby(given)).toBe(false);
    const client = await lab.connect({ connectionString: undefined, ...given });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    lab.proxy.cut();
    await client.query('ROLLBACK');
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each([
    ['read-write', false],
    ['primary', false],
    ['standby', true],
    ['read-only', true],
    ['prefer-standby', true],
    ['any', true],
  ])('takes for target_session_attrs=%s the one that is meant', async (attrs, expected) => {
    expect(await isStandby({ connectionString: url(attrs) })).toBe(expected);
  });
});

describe('a host of another cluster in the list', () => {
  let lab: FailoverLab;
  let stranger: PostgresNode;
  beforeAll(async () => {
    lab = await FailoverLab.start({ standbys: 0 });
    stranger = await PostgresNode.create({ name: 'stranger' });
    await stranger.start();
    await stranger.query('CREATE TABLE note (text text); GRANT ALL ON note TO app');
  });
  afterAll(async () => {
    await lab.stop();
    await stranger.destroy();
  });

  it('never gets what was begun on this one, though it would take it', async () => {
    const hosts = [lab.proxy, stranger].map(({ host, port }) => ({ host, port }));
    const client = await lab.connect({
      connectionString: lab.cluster.connectionString({ hosts }),
      failover: { timeoutMillis: 800 },
    });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.primary.kill();
    const { error } = await settle(client.query('COMMIT'));
    expect(error).toBeDefined();
    expect((await stranger.query('SELECT FROM note')).rowCount).toBe(0);
    await lab.primary.start();
    expect(await lab.notes()).toEqual([]);
  });
});
