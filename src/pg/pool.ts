import type { FailoverEvents } from '../events.ts';
import { Client } from './client.ts';
import { resolveConnection } from './connection-hosts.ts';
import { knowCopies } from './known-copies.ts';
import { makeContext, POOL_CONTEXT } from './make-context.ts';
import type { PoolConfig } from './public-types.ts';
import { StockPool } from './stock-pg.ts';

/** pg's own Pool, which makes clients with failover. With `failover: false` it is nothing but pg's Pool. */
export class Pool extends StockPool {
  /** Events and counters of the cluster. Null with `failover: false`. */
  declare readonly failover: FailoverEvents | null;

  /** @throws ConfigurationError for bad or contradictory settings, at once and not at the first connect */
  constructor(config?: PoolConfig) {
    super(config);
    const context = makeContext(resolveConnection(config));
    Object.defineProperty(this, 'failover', { value: context?.events ?? null, enumerable: false });
    // The application's own class, if it gave one, is built on ours or does without failover.
    if ((config as { Client?: unknown } | undefined)?.Client === undefined) Object.assign(this, { Client });
    if (context === null) return;
    Object.defineProperty(this.options, POOL_CONTEXT, { value: context, enumerable: false });
  }
}
knowCopies(Pool, 'pg.pool');
// Some libraries know a pool by the name of its class, which a minifier would change.
Object.defineProperty(Pool, 'name', { value: StockPool.name, configurable: true });
