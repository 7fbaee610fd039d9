import { describe, expect, it } from 'vitest';
import { PooledBackends, refusePooler, saysNoServer } from '../../../src/pg/pooler.ts';
import { PROBE_SQL, runProbe } from '../../../src/pg/probe.ts';
import { failureOf } from '../../../src/pg/scouts.ts';
import { refusal, ScriptedRunner } from './scripted-runner.ts';

const address = { host: 'pooler', port: 6432 };
const BARE = ['false', 'off', '170010', 'public', 'read committed', 'app', 'app', 'app'];

describe('a pooler in front of a server', () => {
  it('is known by a process id that is not that of the backend, also where the server says little else', async () => {
    const runner = new ScriptedRunner((sql) =>
      sql === PROBE_SQL || sql.includes('pg_stat_get_activity') ? refusal('42501') : [[...BARE, '4711']],
    );
    expect(await runProbe(runner, 4711)).toMatchObject({
      isPooled: false,
      backendPid: '4711',
      backend: null,
    });
    expect(await runProbe(runner, -783_088_938)).toMatchObject({ isPooled: true });
    // No BackendKeyData came at all.
    expect(await runProbe(runner, 0)).toMatchObject({ isPooled: true });
  });

  it('is refused unless the application has said what it is', () => {
    expect(() => {
      refusePooler('refuse', address);
    }).toThrow(/pooler:6432 is a pooler.*failover\.pooler: 'session'.*failover: false/);
    refusePooler('session', address);
  });

  it('is refused if two of its sessions have the same backend', async () => {
    const backends = new PooledBackends();
    const probe = {
      ...(await runProbe(new ScriptedRunner(() => [[...BARE, '4711', '1.5']]), 5)),
      incarnation: 'one',
    };
    const first = { isOver: false };
    const add = (connection: { isOver: boolean }, found = probe): void => {
      backends.add(connection, found, address);
    };
    add(first);
    add(first);
    expect(() => {
      add({ isOver: false });
    }).toThrow(/shares server connections/);
    add({ isOver: false }, { ...probe, incarnation: 'two' });
    first.isOver = true;
    add({ isOver: false });
  });
});

describe('what a pooler says at connecting', () => {
  const said = (message: string, code = '08P01'): Error => Object.assign(new Error(message), { code });

  it.each([
    'server conn crashed?',
    'server login has been failing, try again later (server_login_retry)',
    'pgbouncer cannot connect to server',
    'query_wait_timeout',
    'client_login_timeout (server down)',
    'the database system is starting up',
    'pgbouncer is shutting down',
    'database removed',
  ])('means that it has no server just now: %s', (message) => {
    expect(saysNoServer(said(message))).toBe(true);
    expect(failureOf(address, said(message))).toMatchObject({ kind: 'unreachable' });
  });

  it.each(['unsupported startup parameter: options', 'SASL authentication failed', 'no such user: x'])(
    'means that it does not want us: %s',
    (message) => {
      expect(failureOf(address, said(message))).toMatchObject({ kind: 'rejected', code: '08P01' });
    },
  );

  it('means nothing of the kind under another code', () => {
    expect(saysNoServer(said('query_wait_timeout', '57014'))).toBe(false);
    expect(saysNoServer(null)).toBe(false);
  });
});
