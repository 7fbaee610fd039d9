import { Duplex } from 'node:stream';

/** What is written, and what is asked for, by the application's connection. */
export interface EndpointStreamOwner {
  written(bytes: Buffer): void;
  /** It takes more than it had room for before. */
  drained(): void;
  /** It is not coming back. */
  ended(): void;
}

const READ_AHEAD_BYTES = 65_536;

/** The application's connection takes it for its socket. */
export class EndpointStream extends Duplex {
  readonly #owner: EndpointStreamOwner;

  constructor(owner: EndpointStreamOwner) {
    super({ readableHighWaterMark: READ_AHEAD_BYTES, allowHalfOpen: false });
    this.#owner = owner;
  }

  /** Nothing to keep alive: the server's socket has its own. */
  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  override _read(): void {
    this.#owner.drained();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    try {
      this.#owner.written(chunk);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  override _final(done: () => void): void {
    this.#owner.ended();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#owner.ended();
    done(error);
  }
}
