import type { HostAddress } from '../../topology/host-address.ts';
import { descriptorAt, NO_TRANSACTION } from '../wire/all-headers.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import { TokenWalker } from '../wire/token-walker.ts';
import type { RowShape } from '../wire/row-shape.ts';
import type { ServerLink } from './server-link.ts';

/** Takes the answer to one message. */
export interface Receiver {
  /** A whole token; the range is good until the call returns, or, if `isStable`, until `paused`. */
  token(kind: number, bytes: Buffer, start: number, end: number, isStable: boolean): void;
  /** All that has come by now was told; there is more to come. */
  paused(): void;
  ended(): void;
  /** The connection is gone in the middle of it. */
  abandoned(error: Error): void;
}

/**
 * A logged-in connection to a server that carries one request at a time. Each message goes out with the descriptor of
 * the transaction that is open there, whatever the application believes.
 */
export class ServerConnection {
  readonly address: HostAddress;
  readonly link: ServerLink;
  readonly #walker: TokenWalker;
  #descriptor: Buffer = NO_TRANSACTION;
  #receivers: Receiver[] = [];
  /** Without MARS a server takes one request at a time. */
  #waiting: { readonly message: RequestMessage; readonly receiver: Receiver }[] = [];
  #packet: Buffer | null = null;
  #lost: Error | null = null;
  #onLost: ((error: Error) => void) | null = null;

  constructor(link: ServerLink, address: HostAddress) {
    this.link = link;
    this.address = address;
    this.#walker = new TokenWalker({
      token: (kind, bytes, start, end) => {
        if (kind === TOKEN.environmentChange) this.#noteTransaction(bytes, start);
        this.#receivers[0]?.token(kind, bytes, start, end, bytes === this.#packet);
      },
    });
    link.attach({
      answered: (bytes, isLast) => {
        this.#answered(bytes, isLast);
      },
      lost: (error) => {
        this.#lose(error);
      },
    });
  }

  get isLost(): boolean {
    return this.#lost !== null;
  }

  /** A transaction is open on this connection, as the server has said. */
  get isInTransaction(): boolean {
    return this.#descriptor !== NO_TRANSACTION;
  }

  /** Eight bytes; zeros outside of a transaction. */
  get descriptor(): Buffer {
    return this.#descriptor;
  }

  /** Of the rows that come now. */
  get shape(): RowShape | null {
    return this.#walker.shape;
  }

  /** Told once, at once if it is lost by now. */
  onLost(listener: ((error: Error) => void) | null): void {
    this.#onLost = listener;
    if (this.#lost !== null) listener?.(this.#lost);
  }

  /** Sends it, or has it wait for the end of what is under way. The descriptor is written into `payload` itself. */
  send(message: RequestMessage, receiver: Receiver): void {
    if (this.#lost !== null) receiver.abandoned(this.#lost);
    else if (this.#receivers.length > 0) this.#waiting.push({ message, receiver });
    else this.#write(message, receiver);
  }

  #write({ type, reset, payload }: RequestMessage, receiver: Receiver): void {
    const at = descriptorAt(payload);
    if (at >= 0) this.#descriptor.copy(payload, at);
    this.#receivers.push(receiver);
    this.link.send(type, reset, payload);
  }

  /** Asks the server to stop; the receiver gets the answer to that, which comes behind the one to the request. */
  attention(receiver: Receiver): void {
    if (this.#lost !== null) return;
    this.#receivers.push(receiver);
    this.link.sendAttention();
  }

  pause(): void {
    this.link.pause();
  }

  resume(): void {
    this.link.resume();
  }

  /** Says nothing more, not even to those who wait for an answer's end but `abandoned`. */
  destroy(reason = new Error('the connection was given up')): void {
    this.#onLost = null;
    this.link.destroy();
    this.#lose(reason);
  }

  #answered(bytes: Buffer, isLast: boolean): void {
    this.#packet = bytes;
    this.#walker.push(bytes);
    if (isLast) this.#walker.flush();
    this.#packet = null;
    if (!isLast) {
      this.#receivers[0]?.paused();
      return;
    }
    if (!this.#walker.isWhole) throw new Error('an answer ends in the middle of a token');
    this.#walker.reset();
    this.#receivers.shift()?.ended();
    if (this.#receivers.length > 0 || this.isLost) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#write(next.message, next.receiver);
  }

  #noteTransaction(bytes: Buffer, start: number): void {
    switch (bytes[start + 3]) {
      case ENVIRONMENT.beginTransaction: {
        const from = start + 5;
        this.#descriptor = Buffer.from(bytes.subarray(from, from + bytes[start + 4]!));
        return;
      }
      case ENVIRONMENT.commitTransaction:
      case ENVIRONMENT.rollbackTransaction:
      case ENVIRONMENT.transactionEnded:
        this.#descriptor = NO_TRANSACTION;
        return;
      default:
        return;
    }
  }

  #lose(error: Error): void {
    if (this.#lost !== null) return;
    this.#lost = error;
    const receivers = [...this.#receivers, ...this.#waiting.map(({ receiver }) => receiver)];
    this.#receivers = [];
    this.#waiting = [];
    for (const receiver of receivers) receiver.abandoned(error);
    this.#onLost?.(error);
  }
}
