import { HoldfastError } from '../errors.ts';
import type { SyntheticError } from './local-answers.ts';

/** What pg's parser makes of an ErrorResponse, as far as needed here. */
interface ParsedError extends Error {
  routine?: string | undefined;
}

const PREFIX = 'holdfast:';

/**
 * Carries the driver's own errors through pg's protocol parser: the ErrorResponse holds a token in the field for the
 * source routine, and the parsed error is turned into the driver's before any query sees it. So every kind of query
 * (promises, callbacks, cursors, streams) gets it on its own way.
 */
export class ErrorPassage {
  readonly #errors = new Map<string, Error>();
  #next = 0;

  /** Registers an error for its way through the parser. */
  send(error: Error & { readonly code: string }): SyntheticError {
    const token = `${PREFIX}${++this.#next}`;
    this.#errors.set(token, error);
    return { code: error.code, message: error.message, token };
  }

  /** Listener for the connection's 'errorMessage', in front of pg's own. */
  readonly receive = (parsed: ParsedError): void => {
    const token = parsed.routine;
    if (token?.startsWith(PREFIX) !== true) return;
    const error = this.#errors.get(token);
    if (error === undefined) return;
    this.#errors.delete(token);
    parsed.routine = undefined;
    if (error instanceof HoldfastError) {
      // The object itself is on its way to the query, so it must become the error.
      Object.setPrototypeOf(parsed, Object.getPrototypeOf(error) as object);
      Object.assign(parsed, {
        name: error.name,
        kind: error.kind,
        outcome: error.outcome,
        severity: error.severity,
      });
    }
    if (error.cause !== undefined) {
      Object.defineProperty(parsed, 'cause', { value: error.cause, configurable: true, writable: true });
    }
  };
}
