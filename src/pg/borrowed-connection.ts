import { IDLE } from '../session/journal.ts';
import { authenticationOk, backendKeyData, parameterStatus, readyForQuery } from './backend-messages.ts';
import { lossError, type ConnectionLoss } from './connection-loss.ts';
import { closeStatements, FrontendType, readParse, readQuery } from './frontend-messages.ts';
import type { Responder } from './responder.ts';
import type { ConnectionOwner, ServerConnection } from './server-connection.ts';
import type { Transport } from './transport.ts';
import { VirtualSocket, type SocketBackend } from './virtual-socket.ts';

const HEADER_BYTES = 5;

/**
 * Lends a server connection to a stock client for a while: the client finds a server on its socket that takes it without
 * any question, and what it asks is asked over the connection. Nothing is journalled.
 */
export class BorrowedConnection implements SocketBackend, ConnectionOwner, Responder {
  readonly socket: VirtualSocket;
  readonly #connection: ServerConnection;
  #hasBegun = false;
  #rest: Buffer = Buffer.alloc(0);
  #status = IDLE;
  /** What was asked and not answered. */
  #awaited = 0;
  /** Nobody reads any more: what is still to come is read in any case. */
  #isOver = false;
  readonly #prepared = new Set<string>();
  readonly #texts: string[] = [];
  #onQuiet: (() => void) | null = null;

  constructor(connection: ServerConnection) {
    this.#connection = connection;
    this.socket = new VirtualSocket(() => this);
    connection.attach(this);
  }

  /** A transaction is open, as far as what was asked is answered. */
  get isInTransaction(): boolean {
    return this.#status !== IDLE;
  }

  /** All SQL that the client has sent. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  /** Resolves when nothing that the client has asked for is unanswered, or the connection is lost. */
  async quiet(): Promise<void> {
    // A stream that is left unread has paused the connection.
    this.#isOver = true;
    this.#connection.resume();
    for (;;) {
      // An answer makes the client send what it has put off.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#awaited === 0 || this.#connection.isLost) return;
      await new Promise<void>((resolve) => {
        this.#onQuiet = resolve;
      });
    }
  }

  /** Leaves no statement of the wire protocol behind, whose name the application may use as well. */
  async closeStatements(): Promise<void> {
    if (this.#prepared.size === 0) return;
    await new Promise<void>((resolve, reject) => {
      const responder: Responder = {
        message: () => false,
        ready: () => {
          resolve();
          return false;
        },
        abandoned: reject,
      };
      this.#connection.ask(closeStatements(this.#prepared), responder);
    });
  }

  /** What the client still wants comes to nothing. What it has asked for is answered on the connection all the same. */
  giveBack(): void {
    this.#connection.detach();
    // Who did not read to the end has paused it.
    this.#connection.resume();
    this.socket.destroy();
  }

  // ---- the client's side -------------------------------------------------------------------------------------

  open(): void {
    process.nextTick(() => {
      this.socket.opened();
    });
  }

  accept(chunk: Uint8Array): void {
    const bytes = Buffer.concat([this.#rest, chunk]);
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#welcome();
      return;
    }
    let at = 0;
    while (at + HEADER_BYTES <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#pass(bytes[at]!, bytes.subarray(at, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }

  #welcome(): void {
    const { parameters, processId, secretKey } = this.#connection;
    const messages = [authenticationOk()];
    for (const [name, value] of parameters) messages.push(parameterStatus(name, value));
    messages.push(backendKeyData(processId, secretKey), readyForQuery(IDLE));
    this.socket.deliver(Buffer.concat(messages));
  }

  #pass(type: number, message: Buffer): void {
    if (type === FrontendType.Terminate) return; // The connection is only lent.
    const isAnswered =
      type === FrontendType.Query || type === FrontendType.Sync || type === FrontendType.FunctionCall;
    if (isAnswered) {
      this.#connection.expect(this);
      this.#awaited++;
    }
    if (type === FrontendType.Query) this.#texts.push(readQuery(message, HEADER_BYTES, message.length));
    if (type === FrontendType.Parse) {
      const { name, text } = readParse(message, HEADER_BYTES);
      this.#texts.push(text);
      if (name !== '') this.#prepared.add(name);
    }
    this.#connection.write(message);
  }

  get isWritable(): boolean {
    return !this.#connection.needsDrain;
  }

  flush(): void {
    // Each message was written as it came.
  }

  resume(): void {
    this.#connection.resume();
  }

  close(): void {
    // The connection is only lent.
  }

  setKeepAlive(): void {
    // As the session has it.
  }

  setReferenced(): void {
    // As the session has it.
  }

  get transport(): Transport {
    return this.#connection.socket;
  }

  // ---- the server's side -------------------------------------------------------------------------------------

  deliver(bytes: Buffer): boolean {
    return this.socket.deliver(bytes) || this.#isOver;
  }

  asynchronous(): boolean {
    return true;
  }

  lost(loss: ConnectionLoss): void {
    this.#onQuiet?.();
    this.socket.destroy(lossError(loss));
  }

  drained(): void {
    this.socket.emit('drain');
  }

  message(): boolean {
    return true;
  }

  ready(status: number): boolean {
    this.#status = status;
    this.#awaited--;
    if (this.#awaited === 0) this.#onQuiet?.();
    return true;
  }

  abandoned(): void {
    // `lost` tells the client.
  }
}
