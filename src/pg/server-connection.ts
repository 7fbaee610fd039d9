import type { HostAddress } from '../topology/host-address.ts';
import {
  BackendType,
  endsConnection,
  readErrorFields,
  readParameter,
  type ErrorFields,
} from './backend-messages.ts';
import { lossError, type ConnectionLoss } from './connection-loss.ts';
import { DirectSocket } from './direct-socket.ts';
import { queryMessage, statementMessages, terminateMessage } from './frontend-messages.ts';
import type { Responder } from './responder.ts';
import { RowCollector } from './row-collector.ts';
import type { SqlRow, SqlRunner } from './sql-runner.ts';
import type { Transport } from './transport.ts';

/** The logical session above a connection. */
export interface ConnectionOwner {
  /** Whole messages for the application. False: stop reading until `resume`. */
  deliver(bytes: Buffer): boolean;
  /** NoticeResponse, NotificationResponse, ParameterStatus. Return as `message` does. */
  asynchronous(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer;
  lost(loss: ConnectionLoss): void;
  drained(): void;
}

const HEADER_BYTES = 5;

/**
 * One authenticated connection to one server: frames what the server sends, and matches it with what was asked, in the
 * order of asking. Only whole messages are handed on, so that a lost connection never leaves half a message behind in
 * the application's parser.
 */
export class ServerConnection implements SqlRunner {
  readonly address: HostAddress;
  readonly processId: number;
  readonly secretKey: number;
  /** Last reported value of each parameter. */
  readonly parameters: Map<string, string>;

  readonly #socket: Transport;
  readonly #copies: boolean;
  readonly #responders: Responder[] = [];
  #owner: ConnectionOwner | null = null;
  #partial: Buffer[] = [];
  #partialBytes = 0;
  #neededBytes = HEADER_BYTES;
  #loss: ConnectionLoss | null = null;
  #socketError: Error | null = null;
  /** The server's last words, until all that came in front of them is handed on. */
  #fatal: { readonly fields: ErrorFields; readonly message: Buffer } | null = null;

  /**
   * @param copies - the stream is not Node's own: of what it is given to write nobody knows when it has done with it,
   *   and the arena uses its memory again (T15)
   */
  constructor(
    socket: Transport,
    leftover: Buffer,
    identity: { address: HostAddress; processId: number; secretKey: number; parameters: Map<string, string> },
    copies = false,
  ) {
    this.#socket = socket;
    this.#copies = copies;
    this.address = identity.address;
    this.processId = identity.processId;
    this.secretKey = identity.secretKey;
    this.parameters = identity.parameters;
    if (socket instanceof DirectSocket) socket.handOver(this.#onData);
    else socket.on('data', this.#onData);
    socket.on('drain', () => this.#owner?.drained());
    socket.on('error', (error: Error) => {
      this.#socketError ??= error;
    });
    socket.on('end', () => {
      this.#lose(null, null);
    });
    socket.on('close', () => {
      this.#lose(null, null);
    });
    if (leftover.length > 0) this.#onData(leftover);
    if (socket.destroyed) this.#lose(null, null);
  }

  /** From now on messages go to `owner`. Tells it of a loss that has already happened. */
  attach(owner: ConnectionOwner): void {
    this.#owner = owner;
    const loss = this.#loss;
    if (loss !== null) {
      process.nextTick(() => {
        owner.lost(loss);
      });
    }
  }

  detach(): void {
    this.#owner = null;
  }

  get isLost(): boolean {
    return this.#loss !== null;
  }

  /** Lost, or ended by us: the other side may have heard of it already. */
  get isOver(): boolean {
    return this.#loss !== null || this.#socket.writableEnded || this.#socket.destroyed;
  }

  /** For what applications want to know of the transport: addresses, TLS. */
  get socket(): Transport {
    return this.#socket;
  }

  /** True while the kernel has not taken all bytes written: their memory must not be reused (T15). */
  get hasUnflushedBytes(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** True after a write that the socket could not pass on at once: `drained` will be called. */
  get needsDrain(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Writes bytes of a unit. */
  write(bytes: Buffer): void {
    this.#socket.write(this.#copies ? Buffer.from(bytes) : bytes);
  }

  /** The next answer in line belongs to this responder. */
  expect(responder: Responder): void {
    this.#responders.push(responder);
  }

  /** Writes a whole hidden unit and takes its answer. */
  ask(bytes: Buffer, responder: Responder): void {
    if (this.#loss !== null) {
      process.nextTick(() => {
        responder.abandoned(lossError(this.#loss));
      });
      return;
    }
    this.#responders.push(responder);
    this.#socket.write(bytes);
  }

  run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      this.ask(statementMessages(sql, parameters), new RowCollector(resolve, reject));
    });
  }

  /** By the simple protocol, which is all that a connection for replication knows. */
  runSimple(sql: string): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      this.ask(queryMessage(sql), new RowCollector(resolve, reject));
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  ref(): void {
    this.#socket.ref?.();
  }

  unref(): void {
    this.#socket.unref?.();
  }

  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.#socket.setKeepAlive?.(enable, initialDelayMillis);
  }

  /** Ends the conversation politely; the server frees the session at once. */
  terminate(): void {
    this.#owner = null;
    if (this.#socket.destroyed) return;
    this.#socket.end(terminateMessage());
    // A server that does not close its side must not keep the process alive.
    this.unref();
    const socket = this.#socket;
    const timer = setTimeout(() => socket.destroy(), 1_000);
    timer.unref();
    socket.once('close', () => {
      clearTimeout(timer);
    });
  }

  /** Cuts the connection: nothing of it is believed any more (R12). */
  destroy(): void {
    this.#owner = null;
    this.#socket.destroy();
    this.#lose(null, null);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#loss !== null) return;
    if (this.#partialBytes > 0) {
      this.#partial.push(chunk);
      this.#partialBytes += chunk.length;
      if (this.#partialBytes < this.#neededBytes) return;
      const whole = Buffer.concat(this.#partial, this.#partialBytes);
      this.#partial = [];
      this.#partialBytes = 0;
      this.#walk(whole);
    } else {
      this.#walk(chunk);
    }
  };

  /** Walks the messages of a chunk; runs of messages for the application are handed on unsliced and at the end. */
  #walk(chunk: Buffer): void {
    // Also if a responder cuts the connection: what it was told before is in the runs.
    const owner = this.#owner;
    const length = chunk.length;
    // Nearly always the whole chunk is one run for the application.
    let runs: Buffer[] | null = null;
    let runStart = 0;
    let at = 0;
    while (at + HEADER_BYTES <= length) {
      const end = at + 1 + readLength(chunk, at + 1);
      if (end > length) break;
      const type = chunk[at]!;
      const routed = this.#route(type, chunk, at, end);
      if (routed !== true) {
        if (at > runStart) (runs ??= []).push(chunk.subarray(runStart, at));
        if (Buffer.isBuffer(routed)) (runs ??= []).push(routed);
        else if (routed !== false) (runs ??= []).push(...routed);
        runStart = end;
      }
      at = end;
      if (this.#loss !== null || this.#fatal !== null) break;
    }
    const last =
      at === runStart ? null : runStart === 0 && at === length ? chunk : chunk.subarray(runStart, at);
    if (at < length && this.#loss === null && this.#fatal === null) {
      this.#partial.push(chunk.subarray(at));
      this.#partialBytes = length - at;
      this.#neededBytes = length - at < HEADER_BYTES ? HEADER_BYTES : 1 + readLength(chunk, at + 1);
    }
    // Only now: the application answers synchronously, and must find everything in its final state.
    if (owner !== null) {
      if (runs !== null) for (const run of runs) this.#handOn(owner, run);
      if (last !== null) this.#handOn(owner, last);
    }
    if (this.#fatal !== null) this.#lose(this.#fatal.fields, this.#fatal.message);
  }

  #handOn(owner: ConnectionOwner, bytes: Buffer): void {
    if (!owner.deliver(bytes)) this.#socket.pause();
  }

  #route(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer | readonly Buffer[] {
    switch (type) {
      case BackendType.ReadyForQuery: {
        const responder = this.#responders.shift();
        return responder === undefined ? false : responder.ready(bytes[start + HEADER_BYTES]!);
      }
      case BackendType.ParameterStatus: {
        const { name, value } = readParameter(bytes, start + HEADER_BYTES, end);
        this.parameters.set(name, value);
        return this.#owner?.asynchronous(type, bytes, start, end) ?? false;
      }
      case BackendType.NotificationResponse:
      case BackendType.NoticeResponse:
        return this.#owner?.asynchronous(type, bytes, start, end) ?? false;
      case BackendType.ErrorResponse: {
        const fields = readErrorFields(bytes, start + HEADER_BYTES, end);
        if (endsConnection(fields)) {
          // The application's client must not see it before it is known what it means (T8, R14).
          this.#fatal = { fields, message: Buffer.from(bytes.subarray(start, end)) };
          return false;
        }
        return this.#answerOrStray(type, bytes, start, end);
      }
      default:
        return this.#answerOrStray(type, bytes, start, end);
    }
  }

  /** What nobody asked for is the application's to see: pg gives up a connection that is out of step. */
  #answerOrStray(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer {
    const responder = this.#responders[0];
    if (responder !== undefined) return responder.message(type, bytes, start, end);
    return this.#owner?.asynchronous(type, bytes, start, end) ?? false;
  }

  #lose(fatal: ErrorFields | null, fatalMessage: Buffer | null): void {
    if (this.#loss !== null) return;
    const loss = { fatal, fatalMessage, socketError: this.#socketError };
    this.#loss = loss;
    const responders = this.#responders.splice(0);
    this.#socket.destroy();
    const error = lossError(loss);
    for (const responder of responders) responder.abandoned(error);
    this.#owner?.lost(loss);
  }
}

function readLength(bytes: Buffer, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
