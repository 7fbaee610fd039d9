import type { Arena } from '../session/arena.ts';
import type { SessionState } from '../session/state.ts';
import type { Conversation } from './conversation.ts';
import type { JournalMemory } from './journal-memory.ts';
import type { LocalResponder } from './local-responder.ts';
import type { NamedStatement, PgUnit } from './pg-unit.ts';
import type { ServerConnection } from './server-connection.ts';
import { AnswerGate } from './answer-gate.ts';
import { UnitAssembler, type UnitListener } from './unit-assembler.ts';
import type { UnitSender } from './unit-sender.ts';
import type { VirtualSocket } from './virtual-socket.ts';

/** The application should wait for 'drain' when more than this waits unsent. */
const HIGH_WATER_BYTES = 1_048_576;

/** The parts of a session that its bytes go through. */
export interface TrafficParts {
  readonly socket: VirtualSocket;
  readonly arena: Arena;
  /** Filled with what the application prepares. */
  readonly statements: Map<string, NamedStatement>;
  readonly conversation: Conversation;
  readonly journalMemory: JournalMemory;
  readonly responder: LocalResponder;
  readonly sender: UnitSender;
}

export interface TrafficHost {
  readonly state: SessionState;
  readonly connection: ServerConnection | null;
  /** The application has something to send. */
  wake(): void;
}

/** Moves one session's bytes: from the application into units and on to the server, and answers back. */
export class SessionTraffic implements UnitListener {
  readonly #parts: TrafficParts;
  readonly #host: TrafficHost;
  readonly #assembler: UnitAssembler;
  /** All that the application is given goes through it. */
  readonly gate = new AnswerGate((bytes) => this.#pass(bytes));
  /** Above zero the application's units stay here: something of the driver's own must be answered first. */
  #holds = 0;
  #needsDrain = false;
  #delivering = 0;

  constructor(parts: TrafficParts, host: TrafficHost) {
    this.#parts = parts;
    this.#host = host;
    this.#assembler = new UnitAssembler(parts.arena, parts.statements, this);
  }

  // ---- from the application ----------------------------------------------------------------------------------

  accept(chunk: Uint8Array): void {
    this.#assembler.accept(chunk);
  }

  /** False: the application should wait for 'drain', which will come. */
  get isWritable(): boolean {
    const last = this.#parts.conversation.pending.at(-1);
    const waiting = last === undefined ? 0 : last.end - last.writtenTo;
    if (waiting < HIGH_WATER_BYTES && this.#host.connection?.needsDrain !== true) return true;
    this.#needsDrain = true;
    return false;
  }

  beforeAppend(bytes: number): number {
    return this.#parts.journalMemory.beforeAppend(bytes);
  }

  unitOpened(unit: PgUnit): void {
    this.#parts.conversation.add(unit);
    this.#parts.responder.opened(unit);
    this.#host.wake();
  }

  unitClosed(unit: PgUnit): void {
    this.#settleLater(unit);
  }

  flushAsked(unit: PgUnit): void {
    this.#settleLater(unit);
  }

  /** Bytes of the arena, which must still be there. */
  bytesBetween(from: number, to: number): Buffer {
    return this.#parts.arena.view(from, to);
  }

  unitBytes(unit: PgUnit): Buffer {
    return unit.synthetic ?? this.#parts.arena.view(unit.start, unit.end);
  }

  /** The unit is answered. */
  detach(unit: PgUnit): void {
    this.#assembler.detach(unit);
  }

  /**
   * A cursor closes its unit when it is given an error; pg's own query with `rows` never does, and waits for ever for the end
   * of its answer. So what is still open in a moment is closed for it.
   */
  closeForReader(unit: PgUnit): void {
    setImmediate(() => {
      if (unit.closed || !this.#parts.conversation.pending.includes(unit)) return;
      this.#assembler.closeForReader(unit);
      this.flush();
    });
  }

  /** Portals end with their transaction. */
  forgetPortals(): void {
    this.#assembler.forgetPortals();
  }

  // ---- to the server -----------------------------------------------------------------------------------------

  /** Sends what may be sent: in one write what belongs together. */
  flush(): void {
    const { state, connection } = this.#host;
    if (state.kind !== 'online' || connection === null) return;
    if (state.doom !== null) {
      this.#parts.responder.refuseAll();
      this.#settleSoon();
      return;
    }
    if (this.#holds > 0) return;
    if (this.#parts.responder.refuseRepeated()) {
      this.#settleSoon();
      return;
    }
    this.#parts.sender.send(connection);
    // The kernel has taken all: the socket itself will not say so.
    if (this.#needsDrain && !connection.needsDrain)
      process.nextTick(() => {
        this.drained();
      });
  }

  /** Behind the delivery of what has just been answered: units may have waited for it. */
  flushSoon(): void {
    process.nextTick(() => {
      const { state } = this.#host;
      if (state.kind === 'online' && state.doom === null) this.flush();
    });
  }

  get isHeld(): boolean {
    return this.#holds > 0;
  }

  /** Nothing of the application's is sent until as many `letGo`. */
  hold(): void {
    this.#holds++;
  }

  letGo(): void {
    if (this.#holds > 0) this.#holds--;
    if (this.#holds === 0) this.flush();
  }

  /** What the holds were for went with the connection. */
  dropHolds(): void {
    this.#holds = 0;
  }

  // ---- to the application ------------------------------------------------------------------------------------

  /** True while bytes are handed to the application: what it is told now, it is told by the server. */
  get isDelivering(): boolean {
    return this.#delivering > 0;
  }

  /** Whole messages for the application. False: it does not want more for now. */
  deliver(bytes: Buffer): boolean {
    return this.gate.deliver(bytes);
  }

  #pass(bytes: Buffer): boolean {
    this.#delivering++;
    try {
      return this.#parts.socket.deliver(bytes);
    } finally {
      this.#delivering--;
    }
  }

  /** The server has taken what it was sent. */
  drained(): void {
    if (!this.#needsDrain) return;
    this.#needsDrain = false;
    this.#parts.socket.emit('drain');
  }

  /** Hands over what the driver answers itself. */
  settle(): void {
    for (const answer of this.#parts.responder.settle()) this.deliver(answer);
  }

  #settleLater(unit: PgUnit): void {
    const { responder, conversation } = this.#parts;
    if (!responder.isNeeded) return;
    if (conversation.pending[0] === unit && responder.owns(unit)) this.#settleSoon();
  }

  /** Not from inside the application's own write. */
  #settleSoon(): void {
    process.nextTick(() => {
      this.settle();
      this.flushSoon();
    });
  }
}
