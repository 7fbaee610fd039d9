import type { RequestMessage } from '../wire/request-message.ts';

/** Above what servers give, so that a number of theirs that went past is never taken for one of ours. */
const FIRST_HANDLE = 0x4000_0000;

interface Prepared {
  readonly sql: string;
  /** The sp_prepare that made it. */
  readonly message: RequestMessage;
  /** The number that the current server has given it; null if it has not seen it. */
  real: number | null;
}

/**
 * Statements prepared by sp_prepare. The application has numbers of the driver's own: a new server gives out an old
 * number again, for another statement.
 */
export class PreparedHandles {
  readonly #known = new Map<number, Prepared>();
  #next = FIRST_HANDLE;

  /** A server has prepared it; returns the number for the application. */
  prepared(sql: string, message: RequestMessage, real: number): number {
    const handle = this.#next++;
    this.#known.set(handle, { sql, message, real });
    return handle;
  }

  /** The same statement once more, on a new server. */
  preparedAgain(handle: number, real: number): void {
    const known = this.#known.get(handle);
    if (known !== undefined) known.real = real;
  }

  sqlOf(handle: number): string | null {
    return this.#known.get(handle)?.sql ?? null;
  }

  /** What to send so that the current server knows it; null if it does, or nobody ever did. */
  missing(handle: number): RequestMessage | null {
    const known = this.#known.get(handle);
    return known === undefined || known.real !== null ? null : known.message;
  }

  realOf(handle: number): number | null {
    return this.#known.get(handle)?.real ?? null;
  }

  forget(handle: number): void {
    this.#known.delete(handle);
  }

  /** Another server: it knows none of them. */
  connectionLost(): void {
    for (const known of this.#known.values()) known.real = null;
  }

  clear(): void {
    this.#known.clear();
  }
}
