import {
  FailoverFailedError,
  OutcomeUnknownError,
  ReplayDivergedError,
  ResultLostError,
  TransactionNotReplayableError,
  type HoldfastError,
} from '../errors.ts';
import type { Doom } from '../session/loss-situation.ts';

/** The error for a unit whose own fate is an error. */
export function fateError(
  fate: 'unknown' | 'lost' | 'undone' | 'withdraw',
  cause: Error | null,
): HoldfastError {
  const because = cause === null ? {} : { cause };
  switch (fate) {
    case 'unknown':
      return new OutcomeUnknownError(
        'the connection was lost while this was in flight, and it is not known whether it took effect: ' +
          'look before you run it again',
        because,
      );
    case 'lost':
      return new ResultLostError(
        'this took effect and is committed, but its result was lost with the connection: do not run it again',
        because,
      );
    case 'undone':
      return new TransactionNotReplayableError(
        'the connection was lost while this was in flight: it did not take effect, and was not run again because part of its ' +
          'result had been handed over',
        because,
      );
    case 'withdraw':
      return new FailoverFailedError(
        'the application gave up on this while it was waiting: it was never sent',
        because,
      );
  }
}

/** Why the application's transaction is gone. */
export function doomError(doom: Doom | null, refusal: string | null, cause: Error | null): HoldfastError {
  const because = cause === null ? {} : { cause };
  if (doom === null) {
    return new TransactionNotReplayableError(
      `the transaction was lost with its connection: ${refusal ?? 'it can not be replayed'}`,
      because,
    );
  }
  switch (doom.kind) {
    case 'not-replayable':
      return new TransactionNotReplayableError(
        `the transaction was lost with its connection and can not be replayed: ${doom.reason}`,
        because,
      );
    case 'diverged':
      return new ReplayDivergedError(
        `the transaction was replayed on the new server, but ${doom.reason}`,
        because,
      );
    case 'withdrawn':
      return new TransactionNotReplayableError(
        'the transaction was lost with its connection and not replayed: the application had given up on one of its statements',
        because,
      );
    case 'outcome-unknown':
      return new OutcomeUnknownError(
        'the connection was lost while a statement that ends one transaction and begins another was in flight',
        because,
      );
    case 'statement-failed':
      return new TransactionNotReplayableError(
        'the connection was lost behind a failed statement that holds a COMMIT: the transaction is rolled back',
        because,
      );
  }
}

/** What PostgreSQL says to every statement of an aborted transaction, with the reason as its cause. */
export function abortedError(cause: Error): Error & { readonly code: string } {
  const error = new Error('current transaction is aborted, commands ignored until end of transaction block', {
    cause,
  });
  return Object.assign(error, { code: '25P02' });
}
