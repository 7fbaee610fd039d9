import { ReplayOrder } from '../cluster/replay-order.ts';
import { IN_TRANSACTION } from '../session/journal.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { queryMessage } from './frontend-messages.ts';
import { judgeUnits } from './judge-units.ts';
import { NamedStatements } from './named-statements.ts';
import { makeUnit, type PgUnit } from './pg-unit.ts';
import { JournalPins, type OnAnotherConnection } from './pinning/journal-pins.ts';
import type { ProbeResult } from './probe.ts';
import { replayJournal, type ReplaySource } from './replay.ts';
import type { ProbedConnection } from './scouts.ts';
import { takeBaseline } from './session-check.ts';
import { restoreSession } from './session-restore.ts';
import type { SessionSnapshot } from './session-snapshot.ts';
import { SqlError } from './sql-runner.ts';
import type { StatementText } from './statement-text.ts';
import { tokenText } from '../session/token-key.ts';
import { endingOf } from './unit-facts.ts';

export type Reapplied =
  | { readonly kind: 'reapplied' }
  /** It gives other results than before. Behind others that are still to come it may not. */
  | { readonly kind: 'diverged'; readonly reason: string }
  /** Nobody may run it again. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface ReapplyOptions {
  /** A fresh connection of the transaction's own user and database, to the server that lacks it. */
  readonly probed: ProbedConnection;
  readonly onAnotherConnection: OnAnotherConnection;
  readonly signal: AbortSignal;
}

const BEGIN = queryMessage('BEGIN');

/**
 * Runs an acknowledged transaction again that a failover has lost (R9): with the state that its session had (A15), with
 * all results compared, and with a token of its own, so that nobody ever does it twice. That token is among `tokens`
 * before it is sent: if the COMMIT's answer is lost, the transaction is judged by it.
 *
 * Only what is proved lost may come here. Rejects if the connection is lost: then judge again.
 */
export async function reapply(
  transaction: CommittedTransaction,
  options: ReapplyOptions,
): Promise<Reapplied> {
  try {
    return await attempt(transaction, options);
  } catch (error) {
    if (options.probed.connection.isLost || options.signal.aborted || !(error instanceof SqlError))
      throw error;
    return { kind: 'diverged', reason: `SQLSTATE ${error.code}` };
  }
}

async function attempt(
  transaction: CommittedTransaction,
  { probed, onAnotherConnection, signal }: ReapplyOptions,
): Promise<Reapplied> {
  const { context, on, principal } = transaction;
  const { connection, probe } = probed;
  const journal = journalOf(transaction);
  if (journal === null) return refused('it is not the kind of transaction that can be run again');
  if (principal.kind === 'unknown') return refused(principal.reason);
  const tokens = await context.tokens.learn(connection, connection.address, probe, false);
  if (tokens === null) return refused('there are no commit tokens on the new server');
  const differs = otherDefault(on.probe, probe, principal.snapshot);
  if (differs !== null) return refused(`${differs} has another default on the new connection`);
  if (principal.snapshot !== null) {
    const baseline = await takeBaseline(connection, [...principal.snapshot.customSettings.keys()]);
    const restored = await restoreSession(connection, principal.snapshot, baseline);
    if (restored.kind === 'refused') return refused(restored.reason);
  }
  if (!(await isProved(transaction, principal.unproved, probed))) {
    return refused('session state unknown: statements that ran before may have changed it');
  }
  if (!(await staysInside(transaction, probed))) {
    return refused('one of its statements may have acted outside the database');
  }
  const source = sourceOf(transaction, journal);
  const pins = await JournalPins.prepare(source, connection, onAnotherConnection);
  const order = new ReplayOrder().enter([]);
  const result = await replayJournal(source, connection, order, pins, signal);
  switch (result.kind) {
    case 'diverged':
    case 'again':
      return { kind: 'diverged', reason: result.reason };
    case 'not-replayable':
      return refused(result.reason);
    case 'replayed':
      if (result.status !== IN_TRANSACTION) return { kind: 'diverged', reason: 'its transaction has failed' };
  }
  // Known before it leaves: from here on only the token can tell what became of it.
  const key = tokens.nextKey();
  transaction.attempts = [...transaction.attempts, key];
  await connection.run(tokens.statements.put, [tokenText(key)]);
  await connection.run('COMMIT');
  return { kind: 'reapplied' };
}

/**
 * What runs inside the transaction: its units without the COMMIT; of a statement that was a transaction of its own, that
 * behind a BEGIN. Null for anything else.
 */
function journalOf({ units, isComplete }: CommittedTransaction): readonly PgUnit[] | null {
  const last = units.at(-1);
  if (!isComplete || last === undefined) return null;
  const ending = endingOf(last);
  if (ending === 'commit' || ending === 'commit-and-chain')
    return units.length > 1 ? units.slice(0, -1) : null;
  if (ending !== 'none' || units.length !== 1 || last.digest === null) return null;
  const isAllowed = last.simple
    ? last.texts[0]?.tokenPlace !== 'none'
    : last.texts.every((text) => text.mayCarryToken);
  if (!isAllowed) return null;
  const begin = makeUnit(true, 0, BEGIN);
  begin.closed = true;
  // Inside a transaction its answer ends otherwise; all else must be the same.
  return [
    begin,
    Object.assign(Object.create(last) as PgUnit, { digest: { ...last.digest, status: IN_TRANSACTION } }),
  ];
}

function sourceOf(transaction: CommittedTransaction, units: readonly PgUnit[]): ReplaySource {
  const names = new NamedStatements(new Map());
  names.connectionReplaced(units);
  return {
    replayRound: 0,
    units,
    // Alone: nobody else is replayed meanwhile.
    orderSensitiveUnits: () => new Set(),
    unitBytes: (unit) => transaction.unitBytes(unit),
    names,
  };
}

/** A15: the same statements must not mean something else. */
function otherDefault(
  before: ProbeResult,
  now: ProbeResult,
  snapshot: SessionSnapshot | null,
): string | null {
  const differs = (name: string, one: string | null, other: string | null): boolean =>
    one !== other && snapshot?.settings.has(name) !== true;
  if (differs('search_path', before.searchPath, now.searchPath)) return 'search_path';
  if (differs('default_transaction_isolation', before.defaultIsolation, now.defaultIsolation))
    return 'default_transaction_isolation';
  return before.sessionUser === now.sessionUser && before.databaseName === now.databaseName
    ? null
    : 'the role or the database';
}

/** A15: the state was what it is taken for. */
async function isProved(
  { context, judged }: CommittedTransaction,
  texts: readonly StatementText[],
  { connection, probe }: ProbedConnection,
): Promise<boolean> {
  if (texts.length === 0) return true;
  const renewal = { server: probe.incarnation ?? '', notBeforeMillis: performance.now(), proofs: true };
  const judgements = await context.database.learn(
    texts,
    context.memory.questions(connection),
    judged,
    renewal,
  );
  return judgements.every(({ sessionSafe, changesNames }) => sessionSafe && !changesNames);
}

/** A7: what acted outside of the database is not undone there, and would be done twice. */
async function staysInside(
  { context, units, judged }: CommittedTransaction,
  { connection, probe }: ProbedConnection,
): Promise<boolean> {
  if (context.options.onOutsideEffects === 'replay') return true;
  const texts = [...new Set(units.flatMap((unit) => unit.texts))].filter(
    (text) => !text.isTransactionControl,
  );
  const renewal = {
    server: probe.incarnation ?? '',
    notBeforeMillis: performance.now(),
    proofs: false,
  };
  const questions = context.memory.questions(connection);
  const inDoubt = { ...judged, temporaryObjects: true };
  const byName = await context.database.learn(texts, questions, judged, renewal);
  const doubted = await context.database.learn(texts, questions, inDoubt, renewal);
  const judgements = judgeUnits(
    units,
    (text, isInDoubt) => {
      const index = texts.indexOf(text);
      return (isInDoubt ? doubted[index] : byName[index]) ?? null;
    },
    { mayPutOff: context.database.putOff !== 'nothing' },
  );
  return units.every(
    (unit) =>
      unit.texts.every((text) => text.isTransactionControl) || judgements.get(unit)?.staysInside === true,
  );
}

function refused(reason: string): Reapplied {
  return { kind: 'refused', reason };
}
