import net from 'node:net';
import type { Engine, SqlMessage } from '../engine.ts';
import { Faults } from './faults.ts';
import { GatewayConnection, type GatewayTls } from './gateway-connection.ts';

export interface TdsGatewayOptions {
  readonly engine: Engine;
  readonly serverName: string;
  /** Encrypts from the login on, as SQL Server does with a certificate. Default: no encryption. */
  readonly tls?: GatewayTls;
}

/** The wire of the test server: a TCP port that speaks TDS 7.4 in front of one engine. */
export class TdsGateway {
  readonly faults = new Faults();
  readonly host = '127.0.0.1';
  readonly #options: TdsGatewayOptions;
  readonly #connections = new Set<GatewayConnection>();
  #server: net.Server | null = null;
  #port = 0;
  #refusal: SqlMessage | null = null;
  #isFrozen = false;

  constructor(options: TdsGatewayOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Listens; again on the same port, if it did before. */
  async start(): Promise<void> {
    const server = net.createServer((socket) => {
      const connection = new GatewayConnection(socket, {
        ...this.#options,
        faults: this.faults,
        refusal: () => this.#refusal,
      });
      this.#connections.add(connection);
      if (this.#isFrozen) connection.freeze();
      socket.on('close', () => this.#connections.delete(connection));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, this.host, resolve);
    });
    this.#port = (server.address() as net.AddressInfo).port;
    this.#server = server;
  }

  /** As a loss of power: whoever is connected is reset, and nobody listens. */
  kill(): void {
    for (const connection of this.#connections) connection.cut();
    this.#server?.close();
    this.#server = null;
    this.#isFrozen = false;
  }

  /** Nothing is read or written any more. */
  freeze(): void {
    this.#isFrozen = true;
    for (const connection of this.#connections) connection.freeze();
  }

  /** Every login gets this error; null lets them in again. */
  refuseLogins(message: SqlMessage | null): void {
    this.#refusal = message;
  }

  /** Cuts whoever is connected now. */
  cutAll(): void {
    for (const connection of this.#connections) connection.cut();
  }

  async stop(): Promise<void> {
    this.kill();
    await this.#options.engine.stop();
  }
}
