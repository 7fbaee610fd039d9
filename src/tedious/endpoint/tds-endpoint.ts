import { MESSAGE, STATUS } from '../wire/message-type.ts';
import type { MessageToken } from '../wire/read-token.ts';
import { readLogin7, type Login7 } from '../wire/login7.ts';
import { PacketReader, type Packet } from '../wire/packet-reader.ts';
import { preloginAnswer } from '../wire/prelogin.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { DONE_STATUS } from '../wire/token-kind.ts';
import { emptyPacket, writePackets } from '../wire/write-packets.ts';
import { doneToken } from '../wire/write-token.ts';
import { EndpointStream } from './endpoint-stream.ts';
import { loginAnswer, loginRefusal, type LoginFacts } from './login-answer.ts';

/** What the application's connection wants. */
export interface EndpointHandler {
  login(login: Login7): void;
  request(message: RequestMessage): void;
  /** So many more bytes of a bulk load are to be held until it is whole: false if there is no room for them. */
  holdBulkLoad(bytes: number): boolean;
  /** None of it is held here any more. */
  releaseBulkLoad(): void;
  /** For want of room it is not handed on: an answer to it is owed. */
  refusedBulkLoad(): void;
  /** Stop what is under way: an answer to this is owed, besides the one to the request. */
  attention(): void;
  /** There is room for more of the answer. */
  drained(): void;
  /** It has closed its side. */
  ended(): void;
}

const NOTHING = Buffer.alloc(0);
const END_GRACE_MILLIS = 50;
const SERVER_VERSION = [16, 0, 0] as const;
/** Larger than what is negotiated: nobody looks at that in answers, and each packet costs. */
const ANSWER_PACKET_BYTES = 32_768;

/**
 * The server that the application's connection believes to talk to, in this process: TDS without encryption, whose
 * requests are handed on and whose answers come from elsewhere.
 */
export class TdsEndpoint {
  readonly stream: EndpointStream;
  readonly #handler: EndpointHandler;
  readonly #reader: PacketReader;
  #parts: Buffer[] = [];
  #isRefused = false;
  #firstStatus = 0;
  #isOver = false;

  constructor(handler: EndpointHandler) {
    this.#handler = handler;
    this.#reader = new PacketReader((packet) => {
      this.#take(packet);
    });
    this.stream = new EndpointStream({
      written: (bytes) => {
        this.#reader.push(bytes);
      },
      drained: () => {
        this.#handler.drained();
      },
      ended: () => {
        if (this.#isOver) return;
        this.#isOver = true;
        this.#handler.ended();
      },
    });
  }

  loginSucceeded(facts: LoginFacts): void {
    this.answer(loginAnswer(facts), true);
  }

  loginFailed(errors: readonly MessageToken[]): void {
    this.answer(loginRefusal(errors), true);
  }

  /**
   * Hands over whole tokens of the current answer.
   *
   * @returns false if the application is slower: wait for `drained`
   */
  answer(tokens: Buffer, isLast: boolean): boolean {
    if (this.stream.destroyed || this.stream.readableEnded) return true;
    return this.stream.push(writePackets(MESSAGE.answer, tokens, ANSWER_PACKET_BYTES, { isWhole: isLast }));
  }

  /**
   * Shows that an answer will come: tedious stops its request's timer at the first packet, so that a recovery takes as
   * long as it takes (facts on SQL Server, trap 1).
   */
  holdRequestTimer(): void {
    if (!this.stream.destroyed) this.stream.push(emptyPacket(MESSAGE.answer));
  }

  /** The connection is lost for good: the application's connection ends as it would with a server. */
  destroy(error: Error): void {
    this.#isOver = true;
    this.stream.destroy(error);
  }

  /** The same behind what was answered last: the application gets that first. */
  end(): void {
    this.#isOver = true;
    // tedious reads an answer over several turns, and drops it if its socket ends meanwhile (so it would over a network).
    setTimeout(() => {
      if (!this.stream.destroyed && !this.stream.readableEnded) this.stream.push(null);
    }, END_GRACE_MILLIS);
  }

  #take({ type, status, data, isLast }: Packet): void {
    if (this.#isOver) return;
    if (this.#parts.length === 0) this.#firstStatus = status;
    // Of other messages tedious itself holds the whole.
    const isBulkLoad = type === MESSAGE.bulkLoad;
    if (isBulkLoad && !this.#isRefused) this.#isRefused = !this.#handler.holdBulkLoad(data.length);
    // One part stays, which says that this is no first packet.
    if (this.#isRefused) this.#parts = [NOTHING];
    else this.#parts.push(Buffer.from(data));
    if (!isLast) return;
    const payload = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    const wasRefused = this.#isRefused;
    this.#isRefused = false;
    if (isBulkLoad) this.#handler.releaseBulkLoad();
    if ((status & STATUS.ignore) !== 0) {
      // It never left the process.
      this.answer(doneToken(DONE_STATUS.error), true);
      return;
    }
    if (wasRefused) {
      this.#handler.refusedBulkLoad();
      return;
    }
    switch (type) {
      case MESSAGE.prelogin:
        this.answer(preloginAnswer(SERVER_VERSION), true);
        return;
      case MESSAGE.login7:
        this.#handler.login(readLogin7(payload));
        return;
      case MESSAGE.attention:
        this.#handler.attention();
        return;
      case MESSAGE.sqlBatch:
      case MESSAGE.rpc:
      case MESSAGE.transaction:
      case MESSAGE.bulkLoad:
        this.#handler.request({ type, reset: resetOf(this.#firstStatus), payload });
        return;
      default:
        throw new Error(`the driver does not know TDS messages of type 0x${type.toString(16)}`);
    }
  }
}

function resetOf(status: number): RequestMessage['reset'] {
  if ((status & STATUS.resetConnection) !== 0) return 'reset';
  return (status & STATUS.resetConnectionKeepTransaction) !== 0 ? 'reset-keep-transaction' : 'none';
}
