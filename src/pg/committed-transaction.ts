import type { LoggedTransaction } from '../cluster/committed-log.ts';
import type { LogPosition } from '../cluster/log-position.ts';
import type { HostAddress } from '../topology/host-address.ts';
import type { CommitMark } from './commit-mark.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';
import type { SessionContext } from './session-context.ts';
import type { Principal } from './principal.ts';
import type { JudgedSession } from './statement-judge.ts';

/** A connection on which transactions were acknowledged. */
export interface CommittedOn {
  readonly context: SessionContext;
  /** Number of the session in this process. */
  readonly session: number;
  readonly address: HostAddress;
  readonly incarnation: string;
  readonly timeline: number;
  readonly probe: ProbeResult;
}

/** What became of an acknowledged transaction when its server was lost. */
export type CommittedFate = 'survived' | 'only-read' | 'lost' | 'unknown' | 'reapplied';

export interface CommittedFacts {
  readonly on: CommittedOn;
  /** The last one is what committed it. Empty if they were not kept. */
  readonly units: readonly PgUnit[];
  /** False if `units` are not all there was. */
  readonly isComplete: boolean;
  /** Null if there is none. */
  readonly mark: (() => CommitMark | null) | null;
  /** Keys of its commit tokens, of all attempts to commit it. */
  readonly tokens: readonly Buffer[];
  /** Identifier, if it was a PREPARE TRANSACTION. */
  readonly preparedAs: string | null;
  /** False: nobody has proved that it wrote anything. */
  readonly isWrite: boolean;
  /** What the judgement of its texts depends on. */
  readonly judged: JudgedSession;
  readonly principal: Principal;
  readonly sentSequence: number;
  readonly acknowledgedSequence: number;
  /** Milliseconds since 1970, both. */
  readonly sentAtMillis: number;
  readonly acknowledgedAtMillis: number;
}

/** What a unit holds on the heap besides its bytes, roughly. */
const UNIT_BYTES = 600;
const ENTRY_BYTES = 400;

/**
 * An acknowledged transaction, with all that is needed to tell of its loss: its units, with a copy of their bytes, since
 * the arena's memory is used again.
 *
 * A class, and its bytes in memory that many share: this is made for each COMMIT, and lives for a while.
 */
export class CommittedTransaction implements LoggedTransaction {
  readonly on: CommittedOn;
  /** Where it is known to be: on another server after a failover. */
  address: HostAddress;
  incarnation: string;
  timeline: number;
  readonly units: readonly PgUnit[];
  readonly isComplete: boolean;
  readonly mark: (() => CommitMark | null) | null;
  readonly tokens: readonly Buffer[];
  readonly preparedAs: string | null;
  readonly isWrite: boolean;
  readonly judged: JudgedSession;
  readonly principal: Principal;
  readonly sentSequence: number;
  readonly acknowledgedSequence: number;
  readonly sentAtMillis: number;
  readonly acknowledgedAtMillis: number;
  readonly bytes: number;
  notBefore: LogPosition | null = null;
  upTo: LogPosition | null = null;
  wasFlushed = false;
  /** Keys of the tokens with which it was run again behind a failover. Then these tell, and not its mark. */
  attempts: readonly Buffer[] = [];
  /** Set while its answer is held back: whoever waits for that is told by it, and by no event. */
  onJudged: ((fate: CommittedFate) => void) | null = null;
  #memory: Buffer | null = null;
  /** Where the copy begins in the memory, and where its first byte was in the arena. */
  #start = 0;
  readonly #length: number;
  readonly #from: number;

  /** @param bytesBetween the arena's bytes in a range of positions */
  constructor(facts: CommittedFacts, bytesBetween: (from: number, to: number) => Buffer) {
    this.on = facts.on;
    this.address = facts.on.address;
    this.incarnation = facts.on.incarnation;
    this.timeline = facts.on.timeline;
    this.units = facts.units;
    this.isComplete = facts.isComplete;
    this.mark = facts.mark;
    this.tokens = facts.tokens;
    this.preparedAs = facts.preparedAs;
    this.isWrite = facts.isWrite;
    this.judged = facts.judged;
    this.principal = facts.principal;
    this.sentSequence = facts.sentSequence;
    this.acknowledgedSequence = facts.acknowledgedSequence;
    this.sentAtMillis = facts.sentAtMillis;
    this.acknowledgedAtMillis = facts.acknowledgedAtMillis;
    const first = facts.units.find((unit) => unit.synthetic === null);
    const to = facts.units.at(-1)?.end ?? 0;
    this.#from = first?.start ?? to;
    this.#length = to - this.#from;
    this.bytes = ENTRY_BYTES + this.#length;
    for (const { answer } of facts.units) this.bytes += UNIT_BYTES + (answer?.length ?? 0);
    if (this.#length === 0) return;
    this.#start = reserve(this.#length);
    this.#memory = memory;
    bytesBetween(this.#from, to).copy(memory, this.#start);
  }

  get context(): SessionContext {
    return this.on.context;
  }

  unitBytes(unit: PgUnit): Buffer {
    if (unit.synthetic !== null) return unit.synthetic;
    const at = this.#start + unit.start - this.#from;
    return this.#memory?.subarray(at, at + unit.end - unit.start) ?? NOTHING;
  }

  discard(): void {
    this.#memory?.fill(0, this.#start, this.#start + this.#length);
    this.#memory = null;
    for (const { answer } of this.units) answer?.fill(0);
  }
}

const NOTHING = Buffer.alloc(0);

/** Shared by transactions that come one after the other, and so go together. */
const MEMORY_BYTES = 65_536;
let memory: Buffer = NOTHING;
let used = 0;

/** Makes sure that `memory` has room for so many bytes, and returns where. */
function reserve(length: number): number {
  if (used + length > memory.length) {
    memory = Buffer.allocUnsafeSlow(Math.max(length, MEMORY_BYTES));
    used = 0;
  }
  const start = used;
  used += length;
  return start;
}
