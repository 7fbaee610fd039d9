import { createServer, connect, type Server, type Socket } from 'node:net';
import { freePort } from '../../support/free-port.ts';
import { ProtocolSplitter, type ProtocolMessage } from '../../support/protocol-splitter.ts';

/** What a pooler answers itself, in place of the server; undefined for what the server is to answer. */
export type Answer = (unit: string) => Buffer | undefined;

/**
 * Stands between the application and the server as a pooler does: it may answer a unit of the client by itself, and then
 * the server never sees it.
 */
export class AnsweringPooler {
  readonly host = '127.0.0.1';
  readonly port: number;
  answer: Answer | undefined;
  /** Texts of the units that the server was given since the last `forget`. */
  readonly passed: string[] = [];
  answered = 0;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  private constructor(target: { readonly host: string; readonly port: number }, port: number) {
    this.#target = target;
    this.port = port;
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<AnsweringPooler> {
    const pooler = new AnsweringPooler(target, await freePort());
    pooler.#server = createServer({ noDelay: true }, (client) => {
      pooler.#accept(client);
    });
    await new Promise<void>((resolve) => pooler.#server!.listen(pooler.port, pooler.host, resolve));
    return pooler;
  }

  /** Ends all connections, as a pooler does that is restarted. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  forget(): void {
    this.passed.length = 0;
    this.answered = 0;
    this.answer = undefined;
  }

  stop(): void {
    this.#server?.close();
    this.cut();
  }

  #accept(client: Socket): void {
    const server = connect({ ...this.#target, noDelay: true });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    this.#forward(client, server);
  }

  #forward(client: Socket, server: Socket): void {
    let isStarted = false;
    let isReady = false;
    /** Answers that the server still owes: what is answered here must not overtake them. */
    let owed = 0;
    let waiting: ProtocolMessage[] = [];
    const queue: ProtocolMessage[][] = [];
    const next = (): void => {
      while (queue.length > 0) {
        const unit = queue[0]!;
        const text = unit.map(({ body }) => body.toString('latin1')).join(' ');
        const answer = this.answer?.(text);
        if (answer !== undefined && owed > 0) return;
        queue.shift();
        if (answer === undefined) {
          this.passed.push(text);
          owed++;
          server.write(Buffer.concat(unit.map(({ bytes }) => bytes)));
        } else {
          this.answered++;
          client.write(answer);
        }
      }
    };
    const fromClient = new ProtocolSplitter(() => (isStarted ? 'typed' : 'untyped'));
    const fromServer = new ProtocolSplitter(() => 'typed');
    client.on('data', (chunk) => {
      for (const message of fromClient.push(chunk)) {
        if (!isReady || message.type === 'X') {
          isStarted = true;
          server.write(message.bytes);
          continue;
        }
        waiting.push(message);
        if (message.type !== 'Q' && message.type !== 'S') continue;
        queue.push(waiting);
        waiting = [];
      }
      next();
    });
    server.on('data', (chunk) => {
      for (const { type, bytes } of fromServer.push(chunk)) {
        client.write(bytes);
        if (type !== 'Z') continue;
        if (isReady) owed--;
        isReady = true;
      }
      next();
    });
  }
}

function wireMessage(type: string, body: string): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes.write(type, 'latin1');
  bytes.writeUInt32BE(4 + body.length, 1);
  bytes.write(body, 5, 'latin1');
  return bytes;
}

const IDLE = wireMessage('Z', 'I');

/** ErrorResponse and ReadyForQuery: the session goes on, outside of any transaction. */
export function refusal(code: string): Buffer {
  const fields = ['SERROR', 'VERROR', `C${code}`, 'Mthe pooler has no server for you', ''];
  return Buffer.concat([wireMessage('E', `${fields.join('\0')}\0`), IDLE]);
}

/** It says that it has begun, and has not. */
export const BEGUN_IN_VAIN = Buffer.concat([wireMessage('C', 'BEGIN\0'), IDLE]);
