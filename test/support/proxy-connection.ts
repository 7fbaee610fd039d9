import type { Socket } from 'node:net';
import type { Framing, ProtocolMessage } from './protocol-splitter.ts';
import type { Ending, Verdict } from './proxy-pipe.ts';
import { ProxyPipe } from './proxy-pipe.ts';

const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;

export type Side = 'client' | 'server';

export interface ProxyConnectionOptions {
  readonly id: number;
  readonly client: Socket;
  readonly server: Socket;
  /** Asked about every message after the start of the session. */
  readonly judge: (sender: Side, message: ProtocolMessage, connection: ProxyConnection) => Verdict;
  readonly allowance: (sender: Side, bytes: Buffer, connection: ProxyConnection) => number | undefined;
  readonly latencyMillis: () => number;
  readonly closed: (connection: ProxyConnection) => void;
}

/** One client's connection through the proxy. */
export class ProxyConnection {
  /** Counts up from 1. */
  readonly id: number;
  readonly #options: ProxyConnectionOptions;
  readonly #toServer: ProxyPipe;
  readonly #toClient: ProxyPipe;
  #clientFraming: Framing = 'untyped';
  #serverFraming: Framing = 'typed';
  #isReady = false;
  #backendPid: number | undefined;
  #closed = false;
  #halfOpen = false;

  constructor(options: ProxyConnectionOptions) {
    const { client, server } = options;
    this.id = options.id;
    this.#options = options;
    const common = {
      latencyMillis: options.latencyMillis,
      cut: (by: Ending) => {
        if (by === 'fin') this.fin();
        else this.cut();
      },
    };
    this.#toServer = new ProxyPipe({
      ...common,
      from: client,
      to: server,
      framing: () => this.#clientFraming,
      judge: (message) => this.#judgeClient(message),
      allowance: (bytes) => options.allowance('client', bytes, this),
    });
    this.#toClient = new ProxyPipe({
      ...common,
      from: server,
      to: client,
      framing: () => this.#serverFraming,
      judge: (message) => this.#judgeServer(message),
      allowance: (bytes) => options.allowance('server', bytes, this),
    });
    this.#closeTogether(client, server);
    this.#closeTogether(server, client);
  }

  /** True after the first ReadyForQuery. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  /** Process id of the backend, from its BackendKeyData. */
  get backendPid(): number | undefined {
    return this.#backendPid;
  }

  /** Both sides see a reset. What was not forwarded yet is lost. */
  cut(): void {
    this.#stop();
    this.#options.client.resetAndDestroy();
    this.#options.server.resetAndDestroy();
  }

  /** Both sides see an orderly end. */
  fin(): void {
    this.#stop();
    this.#options.client.destroySoon();
    this.#options.server.destroySoon();
  }

  /** The client sees a reset; the backend does not notice that its client is gone, whatever it sends. */
  cutClientSideOnly(): void {
    this.#halfOpen = true;
    this.#toServer.close();
    this.#toClient.swallow();
    this.#options.client.resetAndDestroy();
  }

  /** The backend sees a reset; the client does not notice, and waits. */
  cutServerSideOnly(): void {
    this.#halfOpen = true;
    this.#toClient.close();
    this.#toServer.swallow();
    this.#options.server.resetAndDestroy();
  }

  /** Lets go what a hook has held. */
  release(): void {
    this.#toServer.release();
    this.#toClient.release();
  }

  /** @internal */
  setBlackhole(toServer: boolean, toClient: boolean): void {
    if (this.#closed || this.#halfOpen) return;
    this.#toServer.blackhole = toServer;
    this.#toClient.blackhole = toClient;
  }

  #stop(): void {
    this.#toServer.close();
    this.#toClient.close();
  }

  /** An orderly end goes through the pipe; a reset, or the end of both ways, closes the other side as well. */
  #closeTogether(one: Socket, other: Socket): void {
    one.on('error', () => {
      if (!this.#halfOpen) this.cut();
    });
    one.on('end', () => {
      if (this.#halfOpen) one.destroySoon();
    });
    one.on('close', () => {
      if (this.#halfOpen && !other.destroyed) return;
      if (!other.destroyed) other.destroySoon();
      else if (!this.#closed) {
        this.#closed = true;
        this.#stop();
        this.#options.closed(this);
      }
    });
  }

  #judgeClient(message: ProtocolMessage): Verdict {
    if (this.#clientFraming === 'untyped') this.#readStart(message.body);
    else if (this.#isReady) return this.#options.judge('client', message, this);
    return 'pass';
  }

  #readStart(body: Buffer): void {
    const code = body.length >= 8 ? body.readUInt32BE(4) : 0;
    if (code === SSL_REQUEST || code === GSS_REQUEST) this.#serverFraming = 'one-byte';
    else if (code >>> 16 === 3) this.#clientFraming = 'typed';
    // A cancel request, or TLS from the first byte on.
    if (code === CANCEL_REQUEST || body[0] === 0x16) this.#clientFraming = this.#serverFraming = 'raw';
  }

  #judgeServer(message: ProtocolMessage): Verdict {
    if (this.#serverFraming === 'one-byte') {
      const refused = message.body[0] === 'N'.charCodeAt(0);
      this.#serverFraming = refused ? 'typed' : 'raw';
      if (!refused) this.#clientFraming = 'raw';
    } else if (this.#isReady) {
      return this.#options.judge('server', message, this);
    } else if (message.type === 'K') {
      this.#backendPid = message.body.readInt32BE(0);
    } else if (message.type === 'Z') {
      this.#isReady = true;
    }
    return 'pass';
  }
}
