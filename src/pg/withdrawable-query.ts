import type { LogicalSession } from './logical-session.ts';
import { pg } from './stock-pg.ts';

type Callback = (error: Error | null | undefined, result?: unknown) => void;

interface StockQuery {
  callback?: Callback | undefined;
  query_timeout?: unknown;
  submit(connection: unknown): unknown;
}

/**
 * Passes a query on to pg, and tells the session if the application gives up on it while it is on the wire (R15).
 *
 * pg settles a query whose `query_timeout` has passed and forgets about it; the unit stays with the server. While the
 * session recovers it must then never be sent. Only queries with such a limit take this way: pg's Query is made here,
 * as pg makes it, because its callback is the only place where giving up can be seen.
 *
 * @param plain - gives a query to pg
 * @param isActive - whether this is the one that pg waits for
 */
export function withdrawable(
  session: LogicalSession,
  limit: unknown,
  plain: (query: unknown) => unknown,
  isActive: (query: unknown) => boolean,
  config: unknown,
  values: unknown,
  callback: unknown,
): unknown {
  if (config === null || config === undefined) return plain(config);
  // An answer comes while the session hands bytes on; anything else is pg giving up by itself.
  const isGivenUp = (error: Error | null | undefined): boolean =>
    error !== null && error !== undefined && !session.isDelivering;
  // A query of the application's own, or a cursor or stream. As there is a limit, pg gives it a callback in any case.
  if (typeof (config as { submit?: unknown }).submit === 'function') {
    const submittable = config as StockQuery;
    const given = submittable.callback ?? (typeof values === 'function' ? values : callback);
    const next = typeof given === 'function' ? (given as Callback).bind(submittable) : () => undefined;
    submittable.callback = (error, result) => {
      // Not all of them say when they are done, and their limit passes then as well.
      if (isGivenUp(error) && isActive(submittable)) session.withdraw();
      next(error, result);
    };
    return plain(submittable);
  }

  const query = new (pg.Query as unknown as new (...values: unknown[]) => StockQuery)(
    config,
    values,
    callback,
  );
  query.query_timeout = limit;
  const given = query.callback;
  if (given !== undefined && typeof given !== 'function') throw new TypeError('callback is not a function');
  let isOnTheWire = false;
  const submit = query.submit.bind(query);
  query.submit = (connection) => {
    const refusal = submit(connection);
    isOnTheWire = refusal === null;
    return refusal;
  };
  const settle = (next: Callback): Callback => {
    return (error, result) => {
      if (isOnTheWire && isGivenUp(error)) session.withdraw();
      next(error, result);
    };
  };
  if (given !== undefined) {
    query.callback = settle(given);
    plain(query);
    return undefined;
  }
  const promise = new Promise((resolve, reject) => {
    query.callback = settle((error, result) => {
      if (error !== null && error !== undefined) reject(error);
      else resolve(result);
    });
  }).catch((error: unknown) => {
    // As pg does: a stack trace that leads back to the application.
    if (error instanceof Error) Error.captureStackTrace(error);
    throw error;
  });
  plain(query);
  return promise;
}
