import type { Judgement } from './judgement.ts';
import type { PgUnit } from './pg-unit.ts';
import type { StatementText } from './statement-text.ts';

/** What is proved of a unit, on the safe side. */
export interface UnitJudgement {
  /** Each of its statements only reads. */
  readonly provedRead: boolean;
  /** One of them runs code that may have been another one when it ran. */
  readonly restsOnCode: boolean;
  /** None acts outside of the database (A7). */
  readonly staysInside: boolean;
  /** The result of one of them may depend on who comes first (B). */
  readonly orderSensitive: boolean;
  /** False if nobody could judge one of them: then nothing is proved, but nothing is held against it either. */
  readonly isKnown: boolean;
}

/** The judgement of a text; with `inDoubt` of one whose names may mean something else by now. Null if it is not known. */
export type JudgementOf = (text: StatementText, inDoubt: boolean) => Judgement | null;

export interface JudgedFrom {
  /** Something in front of the first unit may have changed what names mean. Default false. */
  readonly isInDoubt?: boolean;
  /** Code of the database may be put off to the end of the transaction. Default true. */
  readonly mayPutOff?: boolean;
}

/**
 * Judges units in the order in which they ran in one session. Behind a statement that may have changed what names mean
 * (search_path, be it only for the transaction; definitions; code that nobody sees through) nothing is proved: the same
 * text may call another function there.
 */
export function judgeUnits(
  units: Iterable<PgUnit>,
  judgementOf: JudgementOf,
  { isInDoubt = false, mayPutOff = true }: JudgedFrom = {},
): ReadonlyMap<PgUnit, UnitJudgement> {
  const judged = new Map<PgUnit, UnitJudgement>();
  let inDoubt = isInDoubt;
  let namesChanged = isInDoubt;
  for (const unit of units) {
    let provedRead = unit.texts.length > 0;
    let staysInside = provedRead;
    let orderSensitive = false;
    let restsOnCode = false;
    let isKnown = true;
    for (const text of unit.texts) {
      const judgement = judgementOf(text, inDoubt);
      provedRead &&= judgement?.provedRead ?? false;
      staysInside &&= judgement?.staysInside ?? false;
      // By its own names: else all that follows a SET LOCAL search_path would wait for all others.
      orderSensitive ||= (inDoubt ? judgementOf(text, false) : judgement)?.orderSensitive ?? true;
      restsOnCode ||= judgement?.restsOnCode ?? true;
      isKnown &&= judgement !== null;
      inDoubt ||= castsDoubt(text, judgement);
      namesChanged ||= mayChangeNames(text, judgement);
    }
    judged.set(unit, { provedRead, restsOnCode, staysInside, orderSensitive, isKnown });
  }
  return mayPutOff && namesChanged ? withWhatWasPutOff(judged, judgementOf) : judged;
}

/**
 * What a statement puts off to the end of its transaction (deferred triggers) looks names up there: where they may have
 * changed their meaning by then, nobody knows what it does.
 */
function withWhatWasPutOff(
  judged: ReadonlyMap<PgUnit, UnitJudgement>,
  judgementOf: JudgementOf,
): ReadonlyMap<PgUnit, UnitJudgement> {
  return new Map(
    [...judged].map(([unit, judgement]) => {
      if (judgement.provedRead || !judgement.staysInside) return [unit, judgement];
      const staysInside = unit.texts.every((text) => judgementOf(text, true)?.staysInside ?? false);
      return [unit, { ...judgement, staysInside }];
    }),
  );
}

/** The same as far as it concerns what was put off before: not by every statement that leaves a trace in the session. */
function mayChangeNames(text: StatementText, judgement: Judgement | null): boolean {
  if (text.isTransactionControl) return false;
  return judgement === null || judgement.changesNames || judgement.runsUnseenCode || text.mayDefine;
}

/** True if what is judged behind this text may be judged wrongly. */
export function castsDoubt(text: StatementText, judgement: Judgement | null): boolean {
  if (text.isTransactionControl) return false;
  return judgement === null || judgement.changesNames || !judgement.sessionSafe || text.mayDefine;
}
