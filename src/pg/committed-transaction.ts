import type { LoggedTransaction } from '../cluster/committed-log.ts';
import type { LogPosition } from '../cluster/log-position.ts';
import type { HostAddress } from '../topology/host-address.ts';
import type { CommitMark } from './commit-mark.ts';
import type { PgUnit } from './pg-unit.ts';
import type { SessionContext } from './session-context.ts';
import type { Principal } from './session-snapshot.ts';
import type { JudgedSession } from './statement-judge.ts';

/**
 * An acknowledged transaction, with all that is needed to tell of its loss: its units, the last of which is what committed
 * it, with a copy of their bytes, since the arena's memory is used again.
 *
 * Plain data and functions: another copy of this package in the same process may be the one that reads it.
 */
export interface CommittedTransaction extends LoggedTransaction {
  readonly context: SessionContext;
  /** Number of the session in this process. */
  readonly session: number;
  readonly database: string | null;
  readonly user: string | null;
  /** Where it was acknowledged. */
  address: HostAddress;
  /** Empty if they were not kept. */
  readonly units: readonly PgUnit[];
  /** False if `units` are not all there was. */
  readonly isComplete: boolean;
  readonly unitBytes: (unit: PgUnit) => Buffer;
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
  /** Milliseconds since 1970. */
  readonly sentAtMillis: number;
}

/** What a unit holds on the heap besides its bytes, roughly. */
const UNIT_BYTES = 600;
const ENTRY_BYTES = 400;

export type CommittedFacts = Omit<
  CommittedTransaction,
  'bytes' | 'discard' | 'unitBytes' | 'notBefore' | 'upTo' | 'wasFlushed'
> & {
  readonly notBefore?: LogPosition | null;
  /** Bytes of the units as long as the arena has them. */
  readonly bytesOf: (unit: PgUnit) => Buffer;
};

/** Copies the bytes of the units. */
export function committedTransaction(facts: CommittedFacts): CommittedTransaction {
  const { bytesOf: read, ...rest } = facts;
  const copies = new Map<PgUnit, Buffer>();
  let bytes = ENTRY_BYTES;
  for (const unit of facts.units) {
    const copy = Buffer.from(read(unit));
    copies.set(unit, copy);
    bytes += UNIT_BYTES + copy.length;
  }
  return {
    ...rest,
    notBefore: facts.notBefore ?? null,
    upTo: null,
    wasFlushed: false,
    bytes,
    unitBytes: (unit) => copies.get(unit) ?? NOTHING,
    discard: () => {
      for (const copy of copies.values()) copy.fill(0);
      copies.clear();
    },
  };
}

const NOTHING = Buffer.alloc(0);
