import { assertType, describe, expectTypeOf, it } from 'vitest';
import type {
  CommitResolved,
  FailoverEvents,
  FailoverOptions,
  HostAddress,
  TopologyProvider,
} from 'holdfast';
import type { ClientConfig, PoolConfig } from 'holdfast/pg';

describe('the types of what holdfast adds', () => {
  it('know the options', () => {
    assertType<PoolConfig>({ max: 1, failover: { timeoutMillis: 1, onTerminated: 'replay' } });
    assertType<ClientConfig>({ failover: false, target_session_attrs: 'primary' });
    // @ts-expect-error a misspelt option
    assertType<FailoverOptions>({ timeoutMilis: 1 });
    // @ts-expect-error no such word
    assertType<FailoverOptions>({ onTerminated: 'retry' });
    // @ts-expect-error no such word
    assertType<ClientConfig>({ target_session_attrs: 'writer' });
  });

  it('know the events', () => {
    const failover = null as FailoverEvents | null;
    failover?.on('commitResolved', (event) => {
      expectTypeOf(event).toEqualTypeOf<CommitResolved>();
    });
    // @ts-expect-error no such event
    failover?.on('commitResolve', () => undefined);
  });

  it('take any object with discover for a provider', () => {
    assertType<TopologyProvider>({ discover: async () => await Promise.resolve({ hosts: [] }) });
    // @ts-expect-error an address has a port
    assertType<HostAddress>({ host: 'db1' });
  });
});
