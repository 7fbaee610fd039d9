import { FailoverEvents, type FailoverSnapshot } from '../events.ts';
import { Client } from '../pg/client.ts';
import { resolveConnection } from '../pg/connection-hosts.ts';
import { makeContext, POOL_CONTEXT } from '../pg/make-context.ts';
import { pgModule } from '../pg/pg-module.ts';
import type { ClientConfig } from '../pg/public-types.ts';
import type { SessionContext } from '../pg/session-context.ts';

const NOTHING_YET: FailoverSnapshot = Object.freeze({
  primary: null,
  timeline: null,
  sessions: 0,
  waitingSessions: 0,
  failovers: 0,
  failoversFailed: 0,
  replays: 0,
  replaysDiverged: 0,
  commitsResolved: 0,
  commitsUnknown: 0,
  journalBytes: 0,
  committedLogTransactions: 0,
  committedLogBytes: 0,
  committedLogDropped: 0,
  commitsLost: 0,
  commitsReapplied: 0,
  commitsMaybeLost: 0,
});

/** What Knex has as its `pg`: the same, with a `Client` whose sessions all report to the same events. */
export interface KnexDriver {
  readonly Client: typeof Client;
  readonly failover: FailoverEvents | null;
}

/**
 * @param connection - undefined if it is not known before a function is asked for it
 * @throws ConfigurationError for bad or contradictory settings
 */
export function makeKnexDriver(connection: string | object | undefined): KnexDriver {
  // Kept alive here: a coordinator with no session and nobody who holds it is forgotten, its counters with it.
  let latest: SessionContext | null = null;
  const events = new FailoverEvents(() => latest?.coordinator.snapshot() ?? NOTHING_YET);
  const contextFor = (settings: string | object | undefined): SessionContext | null => {
    const context = makeContext(resolveConnection(settings), events);
    latest = context ?? latest;
    return context;
  };
  const isOff = connection !== undefined && contextFor(connection) === null;
  // Read anew for each connection: a function may give other settings, and applications change Knex's in place.
  const shared = {
    Client: class extends Client {
      constructor(settings?: string | ClientConfig) {
        const context = contextFor(settings);
        super(context === null ? settings : ({ [POOL_CONTEXT]: context } as ClientConfig));
      }
    },
    failover: isOff ? null : events,
  };
  return Object.assign(Object.create(pgModule) as typeof pgModule, shared);
}
