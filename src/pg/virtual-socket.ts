import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Transport } from './transport.ts';

/** Who stands behind a virtual socket. */
export interface SocketBackend {
  /** pg asks to connect; the backend answers with `socket.opened()`. */
  open(): void;
  /** Bytes from the application, in order, always to be copied. */
  accept(chunk: Uint8Array): void;
  /** False: the application should wait for 'drain'. */
  readonly isWritable: boolean;
  /** The application has written what belongs together: send it. */
  flush(): void;
  /** The application reads again. */
  resume(): void;
  /** The application closes its side, or destroys the socket: never a failover (trap T2). */
  close(): void;
  setKeepAlive(enable: boolean, initialDelayMillis: number): void;
  /** The real socket of the moment. */
  readonly transport: Transport | null;
  setReferenced(referenced: boolean): void;
}

/**
 * The socket that a stock `pg.Client` gets through `config.stream`. Server connections come and go behind it; the
 * client sees one connection that never breaks (design.md section 2).
 *
 * Only reading uses Node's stream machinery (pg-copy-streams pauses and reads by hand); writing goes straight to the
 * backend, where the bytes are copied once into the journal's arena, which is at the same time the write buffer.
 */
export class VirtualSocket extends Duplex {
  readonly #backend: SocketBackend;
  #corked = 0;
  #closing = false;

  constructor(makeBackend: (socket: VirtualSocket) => SocketBackend) {
    super({ allowHalfOpen: true, autoDestroy: false, emitClose: true });
    this.#backend = makeBackend(this);
  }

  /** Same call as net.Socket's; the address is the driver's business. */
  connect(): this {
    // Destroyed before it was used (pg-pool's timeout does that while an overridden `connect` still waits): say so.
    if (this.destroyed) process.nextTick(() => this.emit('close'));
    else this.#backend.open();
    return this;
  }

  /** @internal The backend is ready to take a startup message. */
  opened(): void {
    if (!this.destroyed) this.emit('connect');
  }

  /** @internal Whole messages from the server side. False: wait for `resume`. */
  deliver(bytes: Buffer): boolean {
    if (this.destroyed) return true;
    // What `push` would come to, without its cost: somebody listens, and nothing waits in front.
    const isDirect =
      this.readableFlowing === true &&
      this.readableLength === 0 &&
      this.readableEncoding === null &&
      this.listenerCount('data') > 0;
    if (isDirect) {
      this.emit('data', bytes);
      return true;
    }
    return this.push(bytes);
  }

  override write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const done = typeof encoding === 'function' ? encoding : callback;
    if (this.destroyed || this.#closing) {
      const error = Object.assign(new Error('This socket has been ended by the other party'), {
        code: 'EPIPE',
      });
      if (typeof done === 'function') process.nextTick(done, error);
      return false;
    }
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : (chunk as Uint8Array);
    this.#backend.accept(bytes);
    if (this.#corked === 0) this.#backend.flush();
    if (typeof done === 'function') process.nextTick(done);
    return this.#backend.isWritable;
  }

  override cork(): void {
    this.#corked++;
  }

  override uncork(): void {
    if (this.#corked === 0) return;
    this.#corked--;
    if (this.#corked === 0) this.#backend.flush();
  }

  override end(...rest: unknown[]): this {
    const done = rest.find((one) => typeof one === 'function') as (() => void) | undefined;
    if (done !== undefined) this.once('close', done);
    if (this.#closing) return this;
    const [chunk] = rest;
    if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') this.write(chunk);
    this.#closing = true;
    // As with a real socket, 'close' comes later and not from inside the call.
    process.nextTick(() => {
      // As with a real socket when the server hangs up: 'end' for who reads, in front of 'close'.
      if (!this.destroyed) this.push(null);
      this.destroy();
    });
    return this;
  }

  override _read(): void {
    this.#backend.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#closing = true;
    this.#backend.close();
    callback(error);
  }

  setNoDelay(): this {
    return this; // pg sets it on each server connection itself.
  }

  setKeepAlive(enable = false, initialDelayMillis = 0): this {
    this.#backend.setKeepAlive(enable, initialDelayMillis);
    return this;
  }

  setTimeout(): this {
    return this;
  }

  // What applications ask of a socket: the real one of the moment answers.

  get encrypted(): boolean | undefined {
    return this.#tls?.encrypted;
  }

  get authorized(): boolean | undefined {
    return this.#tls?.authorized;
  }

  get alpnProtocol(): string | false | null | undefined {
    return this.#tls?.alpnProtocol;
  }

  getPeerCertificate(detailed = false): unknown {
    return this.#tls?.getPeerCertificate(detailed);
  }

  getCipher(): unknown {
    return this.#tls?.getCipher();
  }

  getProtocol(): string | null | undefined {
    return this.#tls?.getProtocol();
  }

  get remoteAddress(): string | undefined {
    return this.#backend.transport?.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#backend.transport?.remotePort;
  }

  get localAddress(): string | undefined {
    return this.#backend.transport?.localAddress;
  }

  get localPort(): number | undefined {
    return this.#backend.transport?.localPort;
  }

  get #tls(): TLSSocket | undefined {
    const { transport } = this.#backend;
    return transport instanceof TLSSocket ? transport : undefined;
  }

  ref(): this {
    this.#backend.setReferenced(true);
    return this;
  }

  unref(): this {
    this.#backend.setReferenced(false);
    return this;
  }
}
