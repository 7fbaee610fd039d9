import { checkBank } from './checks/bank.ts';
import { checkExactlyOnce } from './checks/exactly-once.ts';
import { checkGeneratedIds } from './checks/generated-ids.ts';
import { checkLists } from './checks/lists.ts';
import { checkRegisters } from './checks/registers.ts';
import { checkUnknownOutcomes } from './checks/unknown-outcomes.ts';
import { presentEffects } from './final-state.ts';
import type { Episode } from './history.ts';
import type { LossWindow, Violation } from './transaction.ts';

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly lost: number;
  readonly reportedLost: number;
  readonly duplicated: number;
  readonly unknown: number;
  readonly cycles: number;
}

/** All checks of one episode. Pure, so that a history that was kept can be checked again. */
export function checkEpisode(episode: Episode): Verdict {
  const { circumstances, transactions, blows, resolutions, finalState } = episode;
  const isAsynchronous = circumstances.replication === 'asynchronous';
  const losses: LossWindow[] = blows
    .filter(({ promotions }) => isAsynchronous && promotions > 0)
    .map(({ begunAt, overAt, promotions }) => ({ begunAt, overAt, failovers: promotions }));
  const { reported } = episode;
  const reportedAsLost = new Set(
    reported.filter(({ outcome }) => outcome === 'lost').map(({ marker }) => marker),
  );
  const once = checkExactlyOnce(transactions, presentEffects(finalState), {
    losses,
    reported: circumstances.lostCommits === null ? null : reported,
    mayBeUnknown: circumstances.mayBeUnknown,
  });
  const lists = checkLists(transactions, new Map(finalState.lists), losses);
  return {
    violations: [
      ...once.violations,
      ...lists.violations,
      ...checkBank(transactions, finalState.books),
      ...checkRegisters(transactions, finalState.registers, losses),
      ...checkGeneratedIds(transactions, finalState.rows),
      ...checkUnknownOutcomes(transactions, { allowed: circumstances.mayBeUnknown, resolutions }),
    ],
    lost: once.lost.length,
    reportedLost: transactions.filter(({ marker, status, effects }) => {
      // A lost row lock is a lost write for the server, and none for anybody else.
      return reportedAsLost.has(marker) && (status !== 'ok' || effects.length > 0);
    }).length,
    duplicated: once.duplicated,
    unknown: transactions.filter(({ status }) => status === 'info').length,
    cycles: lists.cycles,
  };
}
