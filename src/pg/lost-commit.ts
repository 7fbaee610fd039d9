import type { LogPosition } from '../cluster/log-position.ts';
import type { EventPosition, LostCommit } from '../events.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import { boundParameters, type WireValue } from './bound-parameters.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { formatLsn } from './lsn.ts';
import type { ProbeResult } from './probe.ts';
import { statementHeads } from './sql/leading-keywords.ts';

/** First words of definitions that may hold a password: CREATE or ALTER of these. */
const MAY_HOLD_PASSWORDS: ReadonlySet<string> = new Set(['ROLE', 'USER', 'GROUP', 'SERVER', 'SUBSCRIPTION']);

/** By which server it was judged. */
export interface JudgedBy {
  readonly address: HostAddress;
  readonly probe: ProbeResult;
}

/** What the application is told of an acknowledged transaction that was lost, or may have been (R9). */
export class LostTransaction implements LostCommit {
  readonly session: number;
  readonly outcome: LostCommit['outcome'];
  readonly reason: string;
  readonly notReapplied: string | null;
  readonly statements: readonly string[];
  readonly database: string | null;
  readonly user: string | null;
  readonly sentAt: Date;
  readonly acknowledgedAt: Date;
  readonly transactionId: string | null;
  readonly from: string;
  readonly notBefore: EventPosition | null;
  readonly upTo: EventPosition | null;
  readonly to: string;
  readonly recoveredTo: EventPosition | null;
  // Private: neither `util.inspect` nor JSON may show what is behind it.
  readonly #parameters: () => readonly (readonly WireValue[])[];

  constructor(
    transaction: CommittedTransaction,
    outcome: LostCommit['outcome'],
    reason: string,
    { address, probe }: JudgedBy,
    notReapplied: string | null,
  ) {
    const { units } = transaction;
    this.session = transaction.on.session;
    this.outcome = outcome;
    this.reason = reason;
    this.notReapplied = notReapplied;
    this.statements = units.flatMap((unit) => unit.texts.map(({ text }) => shownText(text)));
    this.database = transaction.on.probe.databaseName;
    this.user = transaction.on.probe.sessionUser;
    this.sentAt = new Date(transaction.sentAtMillis);
    this.acknowledgedAt = new Date(transaction.acknowledgedAtMillis);
    this.transactionId = transaction.mark?.()?.xid ?? null;
    this.from = hostKey(transaction.on.address);
    this.notBefore = eventPosition(transaction.notBefore);
    this.upTo = eventPosition(transaction.upTo);
    this.to = hostKey(address);
    const { timeline, replayLsn } = probe;
    this.recoveredTo =
      timeline === null || replayLsn === null ? null : { timeline, lsn: formatLsn(replayLsn) };
    this.#parameters = () => parametersOf(transaction);
  }

  parameters(): readonly (readonly WireValue[])[] {
    return this.#parameters();
  }
}

/** As many as there are statements: what is bound twice in one unit, or never, can't be told apart. */
function parametersOf(transaction: CommittedTransaction): readonly (readonly WireValue[])[] {
  return transaction.units.flatMap((unit) => {
    const bound = boundParameters(transaction.unitBytes(unit));
    return unit.texts.map((_, index) => bound[index] ?? []);
  });
}

function eventPosition(position: LogPosition | null): EventPosition | null {
  return position === null ? null : { timeline: position.timeline, lsn: formatLsn(position.position) };
}

function shownText(text: string): string {
  const secret = statementHeads(text).find(
    ({ words: [first, second] }) =>
      (first === 'CREATE' || first === 'ALTER') && second !== undefined && MAY_HOLD_PASSWORDS.has(second),
  );
  return secret === undefined ? text : `${secret.words[0]} ${secret.words[1]} …`;
}
