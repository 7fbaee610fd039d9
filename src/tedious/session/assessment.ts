import type { UnitAnswer } from './unit-answer.ts';
import { FAILED, type Journal } from '../../session/journal.ts';
import { planLoss } from '../../session/loss-plan.ts';
import type { LossPlan, LossSituation, PendingUnit, Proof } from '../../session/loss-situation.ts';
import { wasSent, type TdsUnit } from './tds-unit.ts';

/** What is decided about a session's work when its connection is lost, from the wire alone. */
export interface Assessed {
  readonly journal: Journal<TdsUnit>;
  readonly pending: readonly TdsUnit[];
  readonly answer: UnitAnswer;
  readonly onOutsideEffects: 'refuse' | 'replay';
}

export function assessLoss(session: Assessed): LossPlan {
  const { journal } = session;
  const situation: LossSituation = {
    open: journal.open,
    failed: journal.status === FAILED,
    unreplayable: journal.unreplayable ?? outsideReason(session),
    mark: hasOnlyRead(journal) ? 'only-read' : 'unknown',
    givenUp: null,
    pending: pendingFacts(session),
  };
  return planLoss(situation);
}

export function pendingFacts(session: Assessed): readonly PendingUnit[] {
  return session.pending.map((unit, index) => factsOf(unit, index === 0 ? session.answer.given : 0, session));
}

function factsOf(unit: TdsUnit, given: number, session: Assessed): PendingUnit {
  const { analysis, isAbandoned } = unit;
  return {
    sent: wasSent(unit),
    // What has said that it rolled its transaction back ended it, whatever its text is.
    ending: unit.rolledBack && session.journal.open ? 'rollback' : unit.ending,
    given: given > 0 && !isAbandoned,
    opens: unit.opens,
    // Nobody waits for what was given up: it is left out, and need not be known.
    repeatable: isAbandoned || analysis.isRepeatable,
    actsOutside: session.onOutsideEffects === 'replay' ? null : analysis.actsOutside,
    proof: proofOf(unit),
    canBeResolved: unit.keys.length > 0,
    isAnswered: unit.isAnswered,
    verdict: null,
    withdrawn: false,
  };
}

function proofOf(unit: TdsUnit): Proof {
  if (unit.ending === 'commit' || unit.form === 'wrapped') {
    if (unit.committed) return 'committed';
    // Its token, or its only statement, has failed, and XACT_ABORT has rolled all of it back.
    if (unit.form === 'wrapped' && unit.errors.length > 0) return 'failed';
  }
  return 'nothing';
}

function outsideReason({ journal, onOutsideEffects }: Assessed): string | null {
  if (onOutsideEffects === 'replay') return null;
  return journal.units.find((unit) => unit.analysis.actsOutside !== null)?.analysis.actsOutside ?? null;
}

/** Proved: whether its COMMIT arrived makes no difference. */
export function hasOnlyRead(journal: Journal<TdsUnit>): boolean {
  return journal.unreplayable === null && journal.units.every(({ analysis }) => analysis.isRepeatable);
}
