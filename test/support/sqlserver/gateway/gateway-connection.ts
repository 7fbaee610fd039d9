import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { bodyAt, descriptorAt } from '../../../../src/tedious/wire/all-headers.ts';
import { readLogin7 } from '../../../../src/tedious/wire/login7.ts';
import { MESSAGE, STATUS } from '../../../../src/tedious/wire/message-type.ts';
import { PacketReader, type Packet } from '../../../../src/tedious/wire/packet-reader.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../../../../src/tedious/wire/token-kind.ts';
import { writePackets } from '../../../../src/tedious/wire/write-packets.ts';
import {
  doneToken,
  environmentToken,
  loginAckToken,
  messageToken,
} from '../../../../src/tedious/wire/write-token.ts';
import {
  EngineLoginError,
  ServerGoneError,
  type Engine,
  type EngineSession,
  type IsolationLevel,
  type SqlMessage,
} from '../engine.ts';
import { AnswerWriter } from './answer-writer.ts';
import { Calls, type Call } from './calls.ts';
import type { Fault, Faults, SeenMessage } from './faults.ts';
import { preloginAnswer } from './prelogin-answer.ts';
import { TlsInside, type GatewayTls } from './tls-inside.ts';
import { readTransactionRequest } from '../../../../src/tedious/wire/transaction-request.ts';
import { COLLATION } from './write-values.ts';

export type { GatewayTls } from './tls-inside.ts';

export interface GatewayConnectionOptions {
  readonly engine: Engine;
  readonly serverName: string;
  readonly faults: Faults;
  readonly tls?: GatewayTls;
  refusal(): SqlMessage | null;
}

const ISOLATION: readonly (IsolationLevel | null)[] = [
  null,
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
  'snapshot',
];
const PACKET_BYTES = 4096;
let transactions = 0n;

/** One client of the test server. */
export class GatewayConnection {
  readonly #socket: net.Socket;
  readonly #options: GatewayConnectionOptions;
  readonly #reader: PacketReader;
  #tls: TlsInside | null = null;
  #session: EngineSession | null = null;
  #calls: Calls | null = null;
  #parts: Buffer[] = [];
  #firstStatus = 0;
  #descriptor = Buffer.alloc(8);
  #bulk: string | null = null;
  #busy: Promise<void> = Promise.resolve();
  #isRunning = false;
  #isAttention = false;
  /** The cancel that was asked for last can hit nothing that comes later. */
  #cancelled: Promise<void> = Promise.resolve();
  #isDead = false;
  #written = 0;
  #cutAt = Number.POSITIVE_INFINITY;

  constructor(socket: net.Socket, options: GatewayConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.setNoDelay(true);
    this.#reader = new PacketReader((packet) => {
      this.#packet(packet);
    });
    socket.on('data', (bytes: Buffer) => {
      if (this.#isDead) return;
      if (this.#tls !== null) this.#tls.received(bytes);
      else this.#reader.push(bytes);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isDead = true;
      if (!this.#isHeld) void this.#session?.close();
    });
  }

  #isHeld = false;

  cut(): void {
    this.#isDead = true;
    this.#socket.resetAndDestroy();
  }

  freeze(): void {
    this.#isDead = true;
    this.#socket.pause();
  }

  #packet({ type, status, data, isLast }: Packet): void {
    if (this.#parts.length === 0) this.#firstStatus = status;
    this.#parts.push(Buffer.from(data));
    if (!isLast) return;
    const payload = Buffer.concat(this.#parts);
    this.#parts = [];
    if (type === MESSAGE.attention) {
      this.#attention();
      return;
    }
    const firstStatus = this.#firstStatus;
    const isIgnored = (status & STATUS.ignore) !== 0;
    this.#busy = this.#busy.then(async () => {
      try {
        if (isIgnored) this.#answer(doneToken(DONE_STATUS.error), true);
        else await this.#message(type, firstStatus, payload);
      } catch (error) {
        if (error instanceof ServerGoneError || this.#isDead) this.cut();
        else {
          process.stderr.write(`the test server has failed: ${String((error as Error).stack)}\n`);
          this.cut();
        }
      }
    });
  }

  /** What runs is stopped; its answer ends, and another message follows that says so. */
  #attention(): void {
    if (this.#isRunning) {
      this.#isAttention = true;
      this.#cancelled = this.#session?.cancel() ?? Promise.resolve();
      return;
    }
    this.#busy = this.#busy.then(() => {
      this.#answer(doneToken(DONE_STATUS.attention), true);
    });
  }

  async #message(type: number, firstStatus: number, payload: Buffer): Promise<void> {
    if (type === MESSAGE.prelogin) {
      this.#prelogin();
      return;
    }
    if (type === MESSAGE.login7) {
      await this.#login(payload);
      return;
    }
    const session = this.#session;
    if (session === null) throw new Error('a request before the login');
    const resets = firstStatus & (STATUS.resetConnection | STATUS.resetConnectionKeepTransaction);
    const before: Buffer[] = [];
    if (resets !== 0) {
      const keeps = (resets & STATUS.resetConnectionKeepTransaction) !== 0;
      await session.reset(keeps);
      if (!keeps) this.#descriptor = Buffer.alloc(8);
      before.push(environmentToken(ENVIRONMENT.reset, Buffer.alloc(0), Buffer.alloc(0)));
    }
    const seen = this.#seen(type, payload);
    const due = this.#options.faults.take(seen);
    const fault = due?.fault ?? null;
    if (fault?.kind === 'cut-before') {
      this.cut();
      due?.happened();
      return;
    }
    if (fault?.kind === 'error') {
      this.#answer(
        Buffer.concat([
          messageToken(TOKEN.error, { ...fault.message, serverName: this.#options.serverName }),
          doneToken(DONE_STATUS.error),
        ]),
        true,
      );
      if (fault.isCut) setTimeout(() => this.#socket.destroy(), 20);
      due?.happened();
      return;
    }
    if (fault?.kind === 'cut-and-hold') {
      this.#isHeld = true;
      this.cut();
      due?.happened();
      await sleep(fault.holdMillis);
    }
    this.#isRunning = true;
    try {
      await this.#run(type, payload, seen, before, fault);
      due?.happened();
    } finally {
      this.#isRunning = false;
      if (this.#isHeld) await session.close();
    }
    if (this.#isAttention) {
      await this.#cancelled;
      this.#isAttention = false;
      this.#answer(doneToken(DONE_STATUS.attention), true);
    }
  }

  async #run(
    type: number,
    payload: Buffer,
    seen: SeenMessage,
    before: readonly Buffer[],
    fault: Fault | null,
  ): Promise<void> {
    const session = this.#session!;
    const parts: Buffer[] = [...before];
    const writer = new AnswerWriter(
      type === MESSAGE.rpc ? TOKEN.doneInProcedure : TOKEN.done,
      this.#options.serverName,
      (bytes) => parts.push(bytes),
      (change) => this.#transactionChanged(change),
    );
    const at = descriptorAt(payload);
    if (at >= 0 && !payload.subarray(at, at + 8).equals(this.#descriptor)) {
      writer.event({
        kind: 'error',
        message: {
          number: 3989,
          state: 1,
          class: 16,
          message:
            'New request is not allowed to start because it should come with valid transaction descriptor.',
          line: 1,
          procedure: '',
        },
      });
      writer.endBatch();
    } else if (type === MESSAGE.rpc) {
      await this.#calls!.run(this.#call!, writer);
      writer.endCall();
    } else {
      for await (const event of this.#events(session, type, payload, seen)) {
        writer.event(event);
      }
      writer.endBatch();
    }
    if (fault?.kind === 'cut-after') {
      this.cut();
      return;
    }
    if (fault?.kind === 'cut-inside') this.#cutAt = this.#written + fault.bytes;
    if (this.#isAttention) parts.splice(0, parts.length, doneToken(DONE_STATUS.error));
    await this.#deliver(Buffer.concat(parts));
  }

  #events(
    session: EngineSession,
    type: number,
    payload: Buffer,
    seen: SeenMessage,
  ): ReturnType<EngineSession['runBatch']> {
    switch (type) {
      case MESSAGE.sqlBatch:
        if (/^\s*insert\s+bulk\b/i.test(seen.text)) {
          this.#bulk = seen.text;
          return session.runBatch('');
        }
        return session.runBatch(seen.text);
      case MESSAGE.bulkLoad: {
        const sql = this.#bulk ?? '';
        this.#bulk = null;
        const { columns, rows } = this.#calls!.bulkRows(payload);
        return session.bulkInsert(sql, columns, rows);
      }
      case MESSAGE.transaction: {
        const request = readTransactionRequest(payload);
        switch (request.kind) {
          case 'begin':
            return session.begin(ISOLATION[request.isolation] ?? null, request.name);
          case 'commit':
            return session.commit(request.name);
          case 'rollback':
            return session.rollback(request.name);
          case 'save':
            return session.save(request.name);
          case 'other':
            throw new Error(`the test server does not model transaction requests of type ${request.type}`);
        }
      }
    }
    throw new Error(`the test server does not model messages of type ${type}`);
  }

  #call: Call | null = null;

  #seen(type: number, payload: Buffer): SeenMessage {
    switch (type) {
      case MESSAGE.sqlBatch:
        return { type, text: payload.toString('utf16le', bodyAt(payload)) };
      case MESSAGE.rpc:
        this.#call = this.#calls!.read(payload);
        return { type, text: this.#call.text };
      case MESSAGE.transaction:
        return { type, text: readTransactionRequest(payload).kind };
      default:
        return { type, text: '' };
    }
  }

  #transactionChanged(change: 'begin' | 'commit' | 'rollback'): Buffer {
    const old = this.#descriptor;
    if (change === 'begin') {
      this.#descriptor = Buffer.alloc(8);
      this.#descriptor.writeBigUInt64LE(++transactions);
      return environmentToken(ENVIRONMENT.beginTransaction, this.#descriptor, Buffer.alloc(0));
    }
    this.#descriptor = Buffer.alloc(8);
    const type = change === 'commit' ? ENVIRONMENT.commitTransaction : ENVIRONMENT.rollbackTransaction;
    return environmentToken(type, Buffer.alloc(0), old);
  }

  // ---- login -------------------------------------------------------------------------------------------------------

  #prelogin(): void {
    const { tls } = this.#options;
    this.#answer(preloginAnswer(tls !== undefined), true);
    if (tls === undefined) return;
    this.#tls = new TlsInside(this.#socket, tls, (clear) => {
      this.#reader.push(clear);
    });
  }

  async #login(payload: Buffer): Promise<void> {
    const login = readLogin7(payload);
    const { engine, serverName } = this.#options;
    try {
      const refusal = this.#options.refusal();
      if (refusal !== null) throw new EngineLoginError(refusal);
      const session = await engine.open({
        user: login.userName,
        password: passwordOf(payload),
        database: login.database,
        language: login.language,
        readOnlyIntent: login.readOnlyIntent,
      });
      this.#session = session;
      this.#calls = new Calls(session);
      const info = (number: number, message: string): Buffer =>
        messageToken(TOKEN.info, { number, state: 2, class: 0, message, serverName, procedure: '', line: 1 });
      this.#answer(
        Buffer.concat([
          environmentToken(ENVIRONMENT.database, session.database, 'master'),
          info(5701, `Changed database context to '${session.database}'.`),
          environmentToken(ENVIRONMENT.collation, COLLATION, Buffer.alloc(0)),
          environmentToken(ENVIRONMENT.language, 'us_english', ''),
          info(5703, 'Changed language setting to us_english.'),
          loginAckToken(0x74000004, 'Microsoft SQL Server', [16, 0, 0, 0]),
          environmentToken(ENVIRONMENT.packetSize, String(PACKET_BYTES), String(PACKET_BYTES)),
          doneToken(0),
        ]),
        true,
      );
    } catch (error) {
      if (!(error instanceof EngineLoginError)) throw error;
      this.#answer(
        Buffer.concat([
          messageToken(TOKEN.error, { ...error.detail, serverName }),
          doneToken(DONE_STATUS.error),
        ]),
        true,
      );
      this.#socket.end();
    }
  }

  // ---- answers -----------------------------------------------------------------------------------------------------

  async #deliver(tokens: Buffer): Promise<void> {
    const room = 16_384;
    for (let at = 0; at < tokens.length || at === 0; at += room) {
      const isLast = at + room >= tokens.length;
      if (!this.#answer(tokens.subarray(at, at + room), isLast)) {
        await new Promise<void>((resolve) => {
          this.#socket.once('drain', resolve);
          this.#socket.once('close', resolve);
        });
      }
      if (this.#isDead || this.#isAttention) break;
    }
  }

  #answer(tokens: Buffer, isLast: boolean): boolean {
    if (this.#isDead) return true;
    const bytes = writePackets(MESSAGE.answer, tokens, PACKET_BYTES, { isWhole: isLast });
    if (this.#written + bytes.length > this.#cutAt) {
      const part = bytes.subarray(0, this.#cutAt - this.#written);
      this.#isDead = true;
      this.#send(part);
      setTimeout(() => this.#socket.destroy(), 10);
      return true;
    }
    this.#written += bytes.length;
    return this.#send(bytes);
  }

  #send(bytes: Buffer): boolean {
    return this.#tls?.isReady === true ? this.#tls.write(bytes) : this.#socket.write(bytes);
  }
}

/** Each byte with its halves exchanged, and 0xA5 over it (MS-TDS 2.2.6.4). */
function passwordOf(payload: Buffer): string {
  const from = payload.readUInt16LE(44);
  const bytes = Buffer.from(payload.subarray(from, from + payload.readUInt16LE(46) * 2));
  for (const [i, byte] of bytes.entries()) {
    const plain = byte ^ 0xa5;
    bytes[i] = ((plain << 4) | (plain >> 4)) & 0xff;
  }
  return bytes.toString('utf16le');
}
