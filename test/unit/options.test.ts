import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ConfigurationError } from '../../src/errors.ts';
import { resolveFailoverOptions } from '../../src/resolve-options.ts';
import type { ResolvedFailoverOptions } from '../../src/options.ts';
import { staticHosts } from '../../src/topology/static-hosts.ts';

const DEFAULTS = {
  hosts: undefined,
  provider: undefined,
  timeoutMillis: 30_000,
  dialTimeoutMillis: 5_000,
  barrierTimeoutMillis: 2_000,
  terminationProbeMillis: 250,
  onTerminated: 'error',
  onOutsideEffects: 'refuse',
  pooler: 'refuse',
  commitOutcome: 'auto',
  maxJournalBytes: 16_777_216,
  maxProcessJournalBytes: 268_435_456,
  maxJournalStatements: 100_000,
  maxKeptRowHashes: 1_000_000,
  lostCommits: 'report',
  onReapplyFailed: 'report',
  maxCommittedLogBytes: 67_108_864,
  maxCommittedLogTransactions: 100_000,
  maxCommittedLogAgeMillis: 600_000,
  positionIntervalMillis: 500,
  acknowledge: 'local',
  acknowledgeTimeoutMillis: 5_000,
  onAcknowledgeTimeout: 'error',
  maxWaitingSessions: 10_000,
  drainConcurrency: 32,
  retryMinMillis: 20,
  retryMaxMillis: 250,
  stateCheckMillis: 0,
  sessionVariables: [],
  onReconnect: undefined,
  tokenSchema: 'holdfast',
  tokenRetentionMillis: 3_600_000,
  recordGeneratedValues: false,
};

function resolve(raw: unknown): ResolvedFailoverOptions {
  const resolved = resolveFailoverOptions(raw);
  if (resolved === false) throw new Error('it is off');
  return resolved;
}

describe('the failover key', () => {
  it('recordGeneratedValues is on or off', () => {
    expect(resolve({ recordGeneratedValues: true }).recordGeneratedValues).toBe(true);
    expect(() => resolve({ recordGeneratedValues: 'yes' })).toThrow(
      'failover.recordGeneratedValues must be true or false, but is "yes"',
    );
  });

  it.each([[undefined], [true], [{}], [{ timeoutMillis: undefined, hosts: undefined }]])(
    '%o gives the defaults',
    (raw) => {
      expect(resolve(raw)).toEqual(DEFAULTS);
    },
  );

  it('false gives the plain driver', () => {
    expect(resolveFailoverOptions(false)).toBe(false);
  });

  it('keeps what is given, frozen, and no part of it can be changed from outside', () => {
    const hosts = ['a', 'b:2'];
    const sessionVariables = ['app.tenant', 'app.tenant', 'app.a.b$1'];
    const given = {
      hosts,
      sessionVariables,
      timeoutMillis: 1_000,
      onTerminated: 'replay',
      onOutsideEffects: 'replay',
      maxJournalBytes: 0,
    };
    const resolved = resolve(given);
    hosts.push('c');
    sessionVariables.pop();
    expect(resolved).toMatchObject({
      hosts: ['a', 'b:2'],
      sessionVariables: ['app.tenant', 'app.a.b$1'],
      timeoutMillis: 1_000,
      onTerminated: 'replay',
      onOutsideEffects: 'replay',
      maxJournalBytes: 0,
    });
    for (const part of [resolved, resolved.hosts, resolved.sessionVariables])
      expect(Object.isFrozen(part)).toBe(true);
  });

  it('takes any provider by its methods', () => {
    const provider = staticHosts(['a']);
    expect(resolve({ provider }).provider).toBe(provider);
  });

  it('shrinks defaults to a limit that is given, so that one small value is enough', () => {
    expect(resolve({ timeoutMillis: 10, maxProcessJournalBytes: 5 })).toMatchObject({
      dialTimeoutMillis: 10,
      barrierTimeoutMillis: 10,
      terminationProbeMillis: 10,
      retryMaxMillis: 10,
      retryMinMillis: 10,
      maxJournalBytes: 5,
    });
  });
});

describe('what can not be meant is refused, with the values', () => {
  it.each<[name: string, raw: unknown, quoted: string[]]>([
    ['null', null, ['null']],
    ['a text', 'on', ['"on"']],
    ['an array', ['a'], ['["a"]']],
    ['a misspelt key', { timeoutMilis: 5 }, ['"timeoutMilis"', '"timeoutMillis"']],
    ['a key in libpq spelling', { on_terminated: 'error' }, ['"on_terminated"', '"onTerminated"']],
    ['a time as text', { timeoutMillis: '5' }, ['failover.timeoutMillis', '"5"']],
    ['a time of 0', { dialTimeoutMillis: 0 }, ['0', '1']],
    ['a time that makes Node fire at once', { timeoutMillis: 2_147_483_648 }, ['2147483648', '2147483647']],
    ['an endless time', { timeoutMillis: Infinity }, ['Infinity']],
    ['a fraction', { drainConcurrency: 1.5 }, ['1.5']],
    ['a cap below nothing', { maxJournalBytes: -1 }, ['-1']],
    ['nobody may be let go', { drainConcurrency: 0 }, ['drainConcurrency', '0']],
    [
      'one dial longer than the whole',
      { timeoutMillis: 10, dialTimeoutMillis: 11 },
      ['10', '11', 'dialTimeoutMillis', 'timeoutMillis'],
    ],
    [
      'one dial longer than the default for the whole',
      { dialTimeoutMillis: 30_001 },
      ['30001', '30000', 'default'],
    ],
    ['the barrier longer than the whole', { timeoutMillis: 10, barrierTimeoutMillis: 20 }, ['10', '20']],
    ['the first pause longer than the longest', { retryMinMillis: 9, retryMaxMillis: 8 }, ['9', '8']],
    [
      'a session may have more than the process',
      { maxJournalBytes: 9, maxProcessJournalBytes: 8 },
      ['9', '8'],
    ],
    ['an unknown onOutsideEffects', { onOutsideEffects: true }, ['true', "'replay'"]],
    ['a hook that is none', { onReconnect: 'rebuild' }, ['failover.onReconnect', 'function', '"rebuild"']],
    ['an unknown onTerminated', { onTerminated: 'ignore' }, ['"ignore"', "'replay'"]],
    ['a pooler of another kind', { pooler: 'transaction' }, ['"transaction"', "'session'"]],
    ['hosts as text', { hosts: 'a,b' }, ['"a,b"']],
    ['no hosts', { hosts: [] }, ['failover.hosts']],
    [
      'hosts beside a provider',
      { hosts: ['a'], provider: staticHosts(['b']) },
      ['["a"]', 'failover.provider'],
    ],
    ['a provider without discover', { provider: {} }, ['discover']],
    ['a provider whose watch is no function', { provider: { discover: () => 1, watch: 1 } }, ['watch']],
    ['session variables as text', { sessionVariables: 'app.tenant' }, ['"app.tenant"']],
    ['a setting that is not a custom one', { sessionVariables: ['work_mem'] }, ['"work_mem"']],
    ['a setting that would end the statement', { sessionVariables: ["a.b'; drop table x"] }, ['drop table']],
  ])('%s', (_name, raw, quoted) => {
    const attempt = (): unknown => resolveFailoverOptions(raw);
    expect(attempt).toThrow(ConfigurationError);
    for (const part of quoted) expect(attempt).toThrow(part);
  });
});

it('whatever is given, it resolves to consistent limits or says why not', () => {
  const number = fc.option(fc.oneof(fc.integer({ min: -1, max: 40_000 }), fc.double()), { nil: undefined });
  const names = Object.entries(DEFAULTS).flatMap(([name, value]) =>
    typeof value === 'number' ? [name] : [],
  );
  fc.assert(
    fc.property(fc.record(Object.fromEntries(names.map((name) => [name, number]))), (raw) => {
      let resolved: ResolvedFailoverOptions;
      try {
        resolved = resolve(raw);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigurationError);
        return;
      }
      expect(resolved.dialTimeoutMillis).toBeLessThanOrEqual(resolved.timeoutMillis);
      expect(resolved.barrierTimeoutMillis).toBeLessThanOrEqual(resolved.timeoutMillis);
      expect(resolved.terminationProbeMillis).toBeLessThanOrEqual(resolved.timeoutMillis);
      expect(resolved.retryMaxMillis).toBeLessThanOrEqual(resolved.timeoutMillis);
      expect(resolved.retryMinMillis).toBeLessThanOrEqual(resolved.retryMaxMillis);
      expect(resolved.maxJournalBytes).toBeLessThanOrEqual(resolved.maxProcessJournalBytes);
      for (const [name, value] of Object.entries(raw)) {
        if (value !== undefined) expect(resolved).toHaveProperty(name, value);
      }
    }),
  );
});
