import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CommitVerdict } from '../../../src/pg/commit-verdict.ts';
import { decideCommit } from '../../../src/pg/commit-verdict.ts';
import type { ModelHistory, Question } from './wal-model.ts';
import { ordinarySteps } from './ordinary-steps.ts';
import { WalModel } from './wal-model.ts';

/** About a quarter of a million verdicts. */
const HISTORIES = 20_000;

type Rule = (question: Question) => CommitVerdict;

const anyHistory: fc.Arbitrary<ModelHistory> = fc.record({
  sharedArchive: fc.boolean(),
  steps: fc.array(fc.noBias(fc.nat(0xfff_ffff)), { maxLength: 40, size: 'max' }),
});

/** A cluster as it is meant to be run: every failover takes a standby that is up to date, and the others follow it. */
const ordinaryHistory: fc.Arbitrary<ModelHistory> = fc.record({
  sharedArchive: fc.boolean(),
  steps: fc
    .array(fc.constantFrom(...ordinarySteps), { maxLength: 40, size: 'max' })
    .map((steps) => steps.flat()),
});

function isRight(verdict: CommitVerdict, truth: Question['truth']): boolean {
  if (verdict === 'committed') return truth === 'committed';
  if (verdict === 'not-committed') return truth === 'absent';
  return true;
}

/** `undefined` if every rule was right in all histories, else the smallest history found in which one was wrong. */
function counterexample(...rules: Rule[]): string | undefined {
  const isAlwaysRight = fc.property(anyHistory, (history) => {
    for (const question of WalModel.questionsAfter(history)) {
      if (!rules.every((rule) => isRight(rule(question), question.truth))) return false;
    }
    return true;
  });
  const result = fc.check(isAlwaysRight, { numRuns: HISTORIES });
  return result.failed ? `seed ${result.seed}: ${JSON.stringify(result.counterexample)}` : undefined;
}

const decide = ({ mark, observation, lineage }: Question): CommitVerdict =>
  decideCommit(mark, observation, lineage).verdict;

/** What is left of a rule that may be wrong in saying "committed". */
const onlyNegative = (verdict: CommitVerdict): CommitVerdict =>
  verdict === 'not-committed' ? verdict : 'unknown';

const withHistory = (question: Question): Question => ({
  ...question,
  observation: { ...question.observation, history: question.history },
});

describe('the verdict about a COMMIT, in random histories of crashes, promotions and ids used again', () => {
  it('is never wrong if every life of every server was seen, and never in "not committed" if little was', () => {
    const patchy: Rule = (question) => onlyNegative(decide({ ...question, lineage: question.patchyLineage }));
    const blind: Rule = (question) => onlyNegative(decide({ ...question, lineage: question.blindLineage }));
    expect(
      counterexample(decide, (question) => decide(withHistory(question)), patchy, blind),
    ).toBeUndefined();
  });

  it('is always known in a cluster that is run well', () => {
    let proved = 0;
    const isDecided = fc.property(ordinaryHistory, (history) => {
      for (const question of WalModel.questionsAfter(history)) {
        const { verdict, reason } = decideCommit(question.mark, question.observation, question.lineage);
        const expected = { committed: 'committed', absent: 'not-committed', open: 'in-progress' } as const;
        // A lost one that nobody asked about until a further failover may stay unknown (double failover, break i).
        const isLate = question.observation.server.timeline !== question.mark.timeline + 1;
        if (question.truth !== 'absent' || !isLate) expect(verdict, reason).toBe(expected[question.truth]);
        if (reason === 'shared-log') proved += 1;
      }
    });
    fc.assert(isDecided, { numRuns: 2_000 });
    expect(proved).toBeGreaterThan(300);
  });
});

describe('the model finds the mistake in a rule that', () => {
  const reaches = ({ mark, observation: { server } }: Question): boolean =>
    server.replayLsn !== null && server.replayLsn >= mark.lsn;
  const isPromoted = ({ observation: { server } }: Question): boolean => server.receiveLsn !== null;
  const says = (question: Question, isProved: boolean): CommitVerdict =>
    question.observation.status === 'committed' && isProved ? 'committed' : 'unknown';

  const mutants: Record<string, Rule> = {
    'asks for the status alone': (question) => says(question, true),
    'trusts S after a crash recovery': (question) => says(question, reaches(question)),
    'trusts any promoted server': (question) => says(question, reaches(question) && isPromoted(question)),
    'trusts a promoted server on the next timeline, whatever else was seen': (question) =>
      says(
        question,
        reaches(question) &&
          isPromoted(question) &&
          question.observation.server.timeline === question.mark.timeline + 1,
      ),
    'knows the captured and this server only': (question) =>
      decide({ ...question, lineage: question.blindLineage }),
    'trusts the history of the timelines without asking who wrote on them': ({
      mark,
      observation,
      history,
    }) =>
      observation.status === 'committed' && (history.get(mark.timeline) ?? 0n) >= mark.lsn
        ? 'committed'
        : 'unknown',
    'takes an insert position for a mark, read before any record had the xid': (question) =>
      decide({ ...question, mark: { ...question.mark, lsn: question.bareLsn } }),
    'tells lives of a server apart by its start time': (question) => {
      const { mark, observation } = question;
      const isSameStart = mark.incarnation.split('/')[1] === observation.server.startTime;
      const server = isSameStart
        ? { ...observation.server, incarnation: mark.incarnation }
        : observation.server;
      return decide({ ...question, observation: { ...observation, server } });
    },
    'takes "in progress" for "not committed"': (question) => {
      const verdict = decide(question);
      return verdict === 'in-progress' ? 'not-committed' : verdict;
    },
  };
  for (const [name, rule] of Object.entries(mutants)) {
    it(name, () => {
      expect(counterexample(rule)).toBeDefined();
    });
  }
});
