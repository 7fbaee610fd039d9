import { connect, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { freePort } from './free-port.ts';
import type { Certificate } from './self-signed-certificate.ts';

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);

interface Target {
  readonly host: string;
  readonly port: number;
}

/**
 * Takes the clients' TLS off, under a certificate of its own, and puts its own TLS to the server on: who trusts that
 * certificate notices only by channel binding. Without a certificate it only looks at how the conversation begins.
 */
export class Middleman {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** First byte of each connection: 0 of an SSLRequest or startup message, 0x16 of a TLS handshake. */
  readonly firstBytes: number[] = [];
  readonly #target: Target;
  readonly #certificate: Certificate | undefined;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  private constructor(port: number, target: Target, certificate: Certificate | undefined) {
    this.port = port;
    this.#target = target;
    this.#certificate = certificate;
  }

  static async start(target: Target, certificate?: Certificate): Promise<Middleman> {
    const middleman = new Middleman(await freePort(), target, certificate);
    middleman.#server = createServer((client) => {
      middleman.#accept(client);
    });
    await new Promise<void>((resolve) => middleman.#server!.listen(middleman.port, middleman.host, resolve));
    return middleman;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop(): void {
    this.#server?.close();
    this.cut();
  }

  #accept(client: Socket): void {
    this.#keep(client);
    client.once('data', (first) => {
      this.firstBytes.push(first[0]!);
      client.pause();
      if (this.#certificate === undefined) {
        const server = this.#keep(connect({ ...this.#target }));
        server.write(first);
        join(client, server);
      } else if (first.equals(SSL_REQUEST)) {
        this.#standBetween(client, this.#certificate);
      } else {
        client.destroy();
      }
    });
  }

  #standBetween(client: Socket, certificate: Certificate): void {
    const raw = this.#keep(connect({ ...this.#target }));
    raw.write(SSL_REQUEST);
    raw.once('data', () => {
      const server = this.#keep(connectTls({ socket: raw, rejectUnauthorized: false }));
      client.write('S');
      join(this.#keep(new TLSSocket(client, { isServer: true, ...certificate })), server);
    });
  }

  #keep<S extends Socket>(socket: S): S {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

function join(client: Socket, server: Socket): void {
  client.pipe(server);
  server.pipe(client);
  client.on('close', () => server.destroy());
  server.on('close', () => client.destroy());
}
