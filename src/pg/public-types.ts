import type { ClientConfig as StockClientConfig, PoolConfig as StockPoolConfig } from 'pg';
import type { FailoverOptions } from '../options.ts';
import type { TargetSessionAttrs } from '../topology/target-session-attrs.ts';

/** The keys that this package adds to pg's own. */
export interface FailoverKeys {
  /**
   * How connections survive the loss of their server; `false` gives plain pg. Default: on, with the defaults of
   * `FailoverOptions`.
   */
  readonly failover?: FailoverOptions | boolean | undefined;
  /** libpq's `target_session_attrs`: what kind of host a new session wants. */
  readonly target_session_attrs?: TargetSessionAttrs | undefined;
  /** libpq's `load_balance_hosts`: the order in which hosts are tried. Default `disable`. */
  readonly load_balance_hosts?: 'disable' | 'random' | undefined;
}

/** pg's ClientConfig with `failover`; `host` and `port` may be libpq's lists. */
export interface ClientConfig extends StockClientConfig, FailoverKeys {}

/** pg's PoolConfig with `failover`; `host` and `port` may be libpq's lists. */
export interface PoolConfig extends StockPoolConfig, FailoverKeys {}
