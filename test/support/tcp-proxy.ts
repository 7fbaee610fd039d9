import type { Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { freePort } from './free-port.ts';
import type { ProtocolMessage } from './protocol-splitter.ts';
import type { Side } from './proxy-connection.ts';
import { ProxyConnection } from './proxy-connection.ts';
import type { Verdict } from './proxy-pipe.ts';

export type { ProxyConnection } from './proxy-connection.ts';
export type { Ending, Verdict } from './proxy-pipe.ts';

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * Is asked about each message after the start of the session (the first ReadyForQuery belongs to the start).
 * `type` is the letter of the protocol: Q P B E S from the client, T D C Z E … from the server.
 */
export type MessageHook = (type: string, body: Buffer, connection: ProxyConnection) => Verdict | undefined;

/**
 * Where in a stream to cut: after that many bytes of a connection, counted from the call on; right behind the first
 * occurrence of a text; or what a function says: the number of bytes of this chunk that still go out.
 */
export type CutPoint = number | string | ((chunk: Buffer, connection: ProxyConnection) => number | undefined);

export type BlackholeDirection = 'both' | 'to-server' | 'to-client';

/** Stands between a client and one server, and does to their connections what networks do. */
export class TcpProxy {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** Where new connections go. */
  target: ProxyTarget;
  onFrontendMessage: MessageHook | undefined;
  onBackendMessage: MessageHook | undefined;
  readonly #connections = new Set<ProxyConnection>();
  readonly #cutPoints: Record<
    Side,
    ((chunk: Buffer, connection: ProxyConnection) => number | undefined) | undefined
  > = {
    client: undefined,
    server: undefined,
  };
  #server: Server | undefined;
  #latencyMillis = 0;
  #blackhole: BlackholeDirection | undefined;
  #undialled: Socket[] = [];
  #accepted = 0;

  private constructor(target: ProxyTarget, port: number) {
    this.target = target;
    this.port = port;
  }

  static async start(target: ProxyTarget): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, await freePort());
    await proxy.#listen();
    return proxy;
  }

  /** The open ones, oldest first. */
  get connections(): readonly ProxyConnection[] {
    return [...this.#connections];
  }

  /** How many connections there have been. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Ends latency, blackhole and refusal; hooks and cut points stay. */
  async pass(): Promise<void> {
    this.#latencyMillis = 0;
    this.#setBlackhole(undefined);
    await this.#listen();
  }

  /** As `pass`, and removes the hooks and cut points and lets go what they hold. */
  async reset(): Promise<void> {
    this.onFrontendMessage = undefined;
    this.onBackendMessage = undefined;
    this.#cutPoints.client = undefined;
    this.#cutPoints.server = undefined;
    this.release();
    await this.pass();
  }

  /** Everything takes that much longer, each way. */
  latency(millis: number): void {
    this.#latencyMillis = millis;
  }

  /** Silence: nothing is forwarded, nobody is told. After `pass` it all arrives, as TCP would see to. */
  blackhole(direction: BlackholeDirection = 'both'): void {
    this.#setBlackhole(direction);
  }

  /** New connections are refused (ECONNREFUSED); the open ones go on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    // close() waits for the open connections as well, but the port is closed at once.
    server.close();
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Resets all connections. */
  cut(): void {
    this.#closeUndialled();
    for (const connection of this.#connections) connection.cut();
  }

  /** Ends all connections in order. */
  fin(): void {
    this.#closeUndialled();
    for (const connection of this.#connections) connection.fin();
  }

  /** Resets the clients' side; the backends do not notice. */
  cutClientSideOnly(): void {
    this.#closeUndialled();
    for (const connection of this.#connections) connection.cutClientSideOnly();
  }

  /** Resets the backends' side; the clients do not notice. */
  cutServerSideOnly(): void {
    for (const connection of this.#connections) connection.cutServerSideOnly();
  }

  /** Lets go what hooks have held, on all connections. */
  release(): void {
    for (const connection of this.#connections) connection.release();
  }

  /** Resets a connection, once, when its client has sent this. */
  cutAfterClientBytes(point: CutPoint): void {
    this.#cutPoints.client = locate(point);
  }

  /** Resets a connection, once, when its client has been sent this. */
  cutAfterServerBytes(point: CutPoint): void {
    this.#cutPoints.server = locate(point);
  }

  async stop(): Promise<void> {
    await this.refuse();
    this.cut();
  }

  async #listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server = server;
    server.on('connection', (client) => {
      this.#accept(client);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, this.host, resolve);
    });
  }

  #accept(client: Socket): void {
    client.on('error', () => undefined);
    if (this.#blackhole === undefined) this.#dial(client);
    else this.#undialled.push(client);
  }

  #dial(client: Socket): void {
    if (client.destroyed) return;
    const server = connect({ ...this.target, allowHalfOpen: true, noDelay: true });
    this.#accepted += 1;
    const connection = new ProxyConnection({
      id: this.#accepted,
      client,
      server,
      judge: (sender, message, from) => this.#judge(sender, message, from),
      allowance: (sender, bytes, from) => this.#allowance(sender, bytes, from),
      latencyMillis: () => this.#latencyMillis,
      closed: (closed) => this.#connections.delete(closed),
    });
    this.#connections.add(connection);
    connection.setBlackhole(this.#stops('to-server'), this.#stops('to-client'));
  }

  #judge(sender: Side, message: ProtocolMessage, connection: ProxyConnection): Verdict {
    const hook = sender === 'client' ? this.onFrontendMessage : this.onBackendMessage;
    return hook?.(message.type, message.body, connection) ?? 'pass';
  }

  #allowance(sender: Side, bytes: Buffer, connection: ProxyConnection): number | undefined {
    const allowed = this.#cutPoints[sender]?.(bytes, connection);
    if (allowed !== undefined) this.#cutPoints[sender] = undefined;
    return allowed;
  }

  #stops(direction: BlackholeDirection): boolean {
    return this.#blackhole === 'both' || this.#blackhole === direction;
  }

  #setBlackhole(direction: BlackholeDirection | undefined): void {
    this.#blackhole = direction;
    for (const connection of this.#connections) {
      connection.setBlackhole(this.#stops('to-server'), this.#stops('to-client'));
    }
    if (direction !== undefined) return;
    const undialled = this.#undialled;
    this.#undialled = [];
    for (const client of undialled) this.#dial(client);
  }

  #closeUndialled(): void {
    for (const client of this.#undialled) client.resetAndDestroy();
    this.#undialled = [];
  }
}

function locate(point: CutPoint): (chunk: Buffer, connection: ProxyConnection) => number | undefined {
  if (typeof point === 'function') return point;
  if (typeof point === 'string') {
    return (chunk) => {
      const start = chunk.indexOf(point);
      return start < 0 ? undefined : start + Buffer.byteLength(point);
    };
  }
  const counts = new WeakMap<ProxyConnection, number>();
  return (chunk, connection) => {
    const before = counts.get(connection) ?? 0;
    counts.set(connection, before + chunk.length);
    return before + chunk.length < point ? undefined : point - before;
  };
}
