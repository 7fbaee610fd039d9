import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  afterGivingUp,
  afterVerdict,
  afterWithdrawal,
  planLoss,
  resolveAgain,
} from '../../../src/session/loss-plan.ts';
import type {
  Fate,
  LossPlan,
  LossSituation,
  PendingUnit,
  Verdict,
} from '../../../src/session/loss-situation.ts';
import {
  autocommit,
  begin,
  chain,
  commit,
  commitAndBegin,
  commitAndWrite,
  EVERY_KIND,
  found,
  inTransaction,
  prepare,
  proved,
  read,
  rollback,
  rollbackAndChain,
  rollbackAndWrite,
  unsent,
  violation,
  wholeTransaction,
  withdrawn,
  write,
  writeAndCommit,
  writeElsewhere,
} from './pending-units.ts';

type Scenario = readonly [
  title: string,
  situation: LossSituation,
  transaction: LossPlan['transaction'],
  fates: readonly Fate[],
  doom?: string,
];

function check(
  title: string,
  plan: LossPlan,
  transaction: string,
  fates: readonly Fate[],
  doom?: string,
): void {
  it(title, () => {
    expect({
      transaction: plan.transaction,
      fates: plan.fates,
      doom: plan.doom?.kind,
      resolve: plan.resolve,
    }).toEqual({
      transaction,
      fates,
      doom,
      resolve: null,
    });
    expect(violation(plan, new Set([plan.fates.indexOf('again')]))).toBeNull();
  });
}

function scenarios(rule: string, list: readonly Scenario[]): void {
  describe(rule, () => {
    for (const [title, situation, transaction, fates, doom] of list) {
      check(title, planLoss(situation), transaction, fates, doom);
    }
  });
}

const mark = (state: LossSituation['mark'], situation: LossSituation): LossSituation => ({
  ...situation,
  mark: state,
});
const unreplayable = (situation: LossSituation): LossSituation => ({ ...situation, unreplayable: 'COPY' });

scenarios('R1: what was never written to the socket is sent', [
  ['a write outside a transaction', autocommit(unsent(write)), 'none', ['send']],
  ['BEGIN', autocommit(unsent(begin)), 'none', ['send']],
  [
    'several statements, in order',
    autocommit(unsent(begin), unsent(write), unsent(commit)),
    'none',
    ['send', 'send', 'send'],
  ],
  ['a write of an open transaction, behind its replay', inTransaction(unsent(write)), 'replay', ['send']],
  ['a COMMIT, behind the replay (R11)', inTransaction(unsent(commit)), 'replay', ['send']],
  [
    'what waited behind something in flight',
    inTransaction(write, unsent(write)),
    'replay',
    ['again', 'send'],
  ],
]);

scenarios('R2: an autocommit read in flight runs again', [
  ['alone', autocommit(read), 'none', ['again']],
  ['half its rows given', autocommit(proved(read, 'nothing'), unsent(read)), 'none', ['again', 'send']],
  ['BEGIN, of which nothing can have lasted', autocommit(begin), 'none', ['again']],
  [
    'BEGIN with writes behind it',
    autocommit(begin, write, unsent(commit)),
    'none',
    ['again', 'again', 'send'],
  ],
  ['an unproved SELECT counts as a write', autocommit({ ...read, repeatable: false }), 'none', ['unknown']],
]);

scenarios('R3: an autocommit write in flight', [
  ['nothing is known of it', autocommit(write), 'none', ['unknown']],
  ['its result had arrived behind its commit', autocommit(proved(write, 'completed')), 'none', ['finish']],
  ['its error had arrived', autocommit(proved(write, 'failed')), 'none', ['finish-failed']],
  ['the one behind it was never sent', autocommit(write, unsent(write)), 'none', ['unknown', 'send']],
  ['a whole transaction in one string', autocommit(wholeTransaction), 'none', ['unknown']],
  [
    'pipelined transaction with its COMMIT',
    autocommit(begin, write, commit),
    'none',
    ['unknown', 'unknown', 'unknown'],
  ],
  ['work behind a COMMIT in its string', autocommit(commitAndWrite), 'none', ['unknown']],
]);

scenarios('A7: what may have acted outside the database is not run again', [
  [
    'in flight in a transaction',
    inTransaction(writeElsewhere, unsent(write)),
    'gone',
    ['refuse', 'refuse'],
    'not-replayable',
  ],
  [
    'in front of a COMMIT that did not arrive',
    { ...inTransaction(writeElsewhere, commit), mark: 'no-xid' },
    'gone',
    ['refuse', 'refuse'],
    'not-replayable',
  ],
  ['never sent', inTransaction(unsent(writeElsewhere)), 'replay', ['send']],
  [
    'in a transaction whose BEGIN is in flight',
    autocommit(begin, writeElsewhere),
    'none',
    ['unknown', 'unknown'],
    'outcome-unknown',
  ],
]);

scenarios('R4: an open transaction is replayed, and what was in flight goes on', [
  ['nothing in flight', inTransaction(), 'replay', []],
  ['a read in flight', inTransaction(read), 'replay', ['again']],
  ['a write in flight', inTransaction(write), 'replay', ['again']],
  [
    'a failed statement whose ReadyForQuery is missing',
    inTransaction(proved(write, 'failed')),
    'replay',
    ['again'],
  ],
  ['ROLLBACK AND CHAIN in flight', inTransaction(rollbackAndChain), 'replay', ['again']],
  ['results are owed in front of a ROLLBACK', inTransaction(read, rollback), 'replay', ['again', 'again']],
]);

scenarios('R4: a ROLLBACK in flight needs no server', [
  ['alone', inTransaction(rollback), 'gone', ['finish-rollback']],
  [
    'of a transaction that could not be replayed',
    unreplayable(inTransaction(rollback)),
    'gone',
    ['finish-rollback'],
  ],
  ['the next statement is sent', inTransaction(rollback, unsent(write)), 'gone', ['finish-rollback', 'send']],
  [
    'the write behind it may have committed',
    inTransaction(rollback, write),
    'gone',
    ['finish-rollback', 'unknown'],
  ],
]);

scenarios('R6: a COMMIT in flight whose outcome the wire or the mark has proved', [
  ['its tag had come', inTransaction(proved(commit, 'committed')), 'gone', ['finish']],
  ['PREPARE TRANSACTION, its tag had come', inTransaction(proved(prepare, 'committed')), 'gone', ['finish']],
  ['its error had come', inTransaction(proved(commit, 'failed')), 'gone', ['finish-failed']],
  ['a chained COMMIT, its error had come', inTransaction(proved(chain, 'failed')), 'gone', ['finish-failed']],
  ['the transaction had only read', mark('only-read', inTransaction(commit)), 'gone', ['finish']],
  ['the transaction had no xid', mark('no-xid', inTransaction(commit)), 'replay', ['again']],
  [
    'the transaction had failed before: a COMMIT is a ROLLBACK',
    { ...inTransaction(commit), failed: true },
    'gone',
    ['finish-rollback'],
  ],
  ['no mark had arrived', mark('unknown', inTransaction(commit)), 'gone', ['unknown']],
  [
    'no mark had arrived for a PREPARE TRANSACTION',
    mark('unknown', inTransaction(prepare)),
    'gone',
    ['unknown'],
  ],
  [
    'COMMIT; BEGIN without a mark',
    mark('unknown', inTransaction(commitAndBegin)),
    'gone',
    ['unknown'],
    'outcome-unknown',
  ],
  [
    'a failed string that holds a COMMIT',
    inTransaction(proved(writeAndCommit, 'failed')),
    'gone',
    ['finish-failed'],
    'statement-failed',
  ],
]);

describe('R6: a COMMIT in flight with a mark is resolved before anything is decided', () => {
  for (const unit of [commit, chain, prepare, writeAndCommit, commitAndBegin, commitAndWrite]) {
    it(`with ending ${unit.ending}${unit.opens ? ', opening another' : ''}`, () => {
      expect(planLoss(inTransaction(unit))).toMatchObject({ resolve: 0, doom: null });
      expect(planLoss(inTransaction(write, unit)).resolve).toBe(1);
    });
  }

  it('also if the transaction could not be replayed', () => {
    expect(planLoss(unreplayable(inTransaction(commit))).resolve).toBe(0);
  });

  it('not if it was never sent', () => {
    expect(planLoss(inTransaction(unsent(commit))).resolve).toBeNull();
  });
});

describe('R6: the verdict', () => {
  const after = (outcome: Verdict['outcome'], index: number, ...pending: PendingUnit[]): LossPlan =>
    afterVerdict(inTransaction(...pending), index, found(outcome));

  check('committed', after('committed', 0, commit), 'gone', ['finish']);
  check(
    'committed, with work in front whose results are lost',
    after('committed', 1, write, commit),
    'gone',
    ['lost', 'finish'],
  );
  check('committed, a string of statements', after('committed', 0, writeAndCommit), 'gone', ['lost']);
  check(
    'committed, and the next statement was not sent',
    after('committed', 0, commit, unsent(write)),
    'gone',
    ['finish', 'send'],
  );
  check('committed, and the next write was sent', after('committed', 0, commit, write), 'gone', [
    'finish',
    'unknown',
  ]);
  check('committed, a chained COMMIT', after('committed', 0, chain), 'gone', ['lost'], 'outcome-unknown');
  check(
    'committed, COMMIT; BEGIN',
    after('committed', 0, commitAndBegin),
    'gone',
    ['unknown'],
    'outcome-unknown',
  );
  check('not committed, COMMIT; INSERT', after('not-committed', 0, commitAndWrite), 'replay', ['again']);
  check(
    'not committed, ROLLBACK; INSERT: that is no news',
    after('not-committed', 0, rollbackAndWrite),
    'gone',
    ['unknown'],
  );
  check('committed, COMMIT; INSERT', after('committed', 0, commitAndWrite), 'gone', ['unknown']);
  check('not committed', after('not-committed', 0, commit), 'replay', ['again']);
  check('not committed, with work in front', after('not-committed', 1, write, commit), 'replay', [
    'again',
    'again',
  ]);
  check('unknown', after('unknown', 0, commit), 'gone', ['unknown']);
  check('unknown, with work in front', after('unknown', 1, write, commit), 'gone', ['unknown', 'unknown']);
  check(
    'unknown, COMMIT; BEGIN',
    after('unknown', 0, commitAndBegin),
    'gone',
    ['unknown'],
    'outcome-unknown',
  );
  check(
    'not committed, and the application has given up on it (R15)',
    after('not-committed', 0, withdrawn(commit)),
    'gone',
    ['refuse'],
    'withdrawn',
  );
  check(
    'not committed, and it can not be replayed (R7)',
    afterVerdict(unreplayable(inTransaction(commit)), 0, found('not-committed')),
    'gone',
    ['refuse'],
    'not-replayable',
  );

  it('of a unit that does not exist is a defect', () => {
    expect(() => afterVerdict(inTransaction(commit), 1, found('committed'))).toThrow(RangeError);
  });
});

scenarios('R7: a transaction that can not be replayed', [
  ['nothing in flight', unreplayable(inTransaction()), 'gone', [], 'not-replayable'],
  ['a write in flight', unreplayable(inTransaction(write)), 'gone', ['refuse'], 'not-replayable'],
  [
    'a COMMIT that was never sent',
    unreplayable(inTransaction(unsent(commit))),
    'gone',
    ['refuse'],
    'not-replayable',
  ],
  [
    'work in front of a ROLLBACK',
    unreplayable(inTransaction(read, rollback)),
    'gone',
    ['refuse', 'refuse'],
    'not-replayable',
  ],
]);

scenarios('A13: what stands behind the end of a doomed transaction is no part of it', [
  [
    'the next transaction, behind a COMMIT',
    unreplayable(inTransaction(write, unsent(commit), unsent(begin), unsent(write))),
    'gone',
    ['refuse', 'refuse', 'send', 'send'],
    'not-replayable',
  ],
  [
    'a write, behind a ROLLBACK',
    unreplayable(inTransaction(write, unsent(rollback), unsent(write))),
    'gone',
    ['refuse', 'refuse', 'send'],
    'not-replayable',
  ],
]);

scenarios('R8: nothing is under way', [['an idle session', autocommit(), 'none', []]]);

scenarios('R15: what the application has given up on', [
  ['was never sent', autocommit(withdrawn(unsent(write))), 'none', ['withdraw']],
  [
    'was never sent, and the next statement goes on',
    autocommit(withdrawn(unsent(write)), unsent(read)),
    'none',
    ['withdraw', 'send'],
  ],
  ['is in flight', autocommit(withdrawn(write)), 'none', ['unknown']],
  [
    'is a BEGIN: what follows is no autocommit',
    autocommit(withdrawn(unsent(begin)), unsent(write)),
    'none',
    ['withdraw', 'refuse'],
    'withdrawn',
  ],
  ['in a transaction', inTransaction(withdrawn(write)), 'gone', ['refuse'], 'withdrawn'],
  [
    'in a transaction, unsent',
    inTransaction(withdrawn(unsent(write)), unsent(commit)),
    'gone',
    ['refuse', 'refuse'],
    'withdrawn',
  ],
  [
    'in a transaction that was pipelined',
    autocommit(begin, withdrawn(unsent(write))),
    'none',
    ['unknown', 'withdraw'],
    'withdrawn',
  ],
  [
    'behind a pipelined ROLLBACK',
    inTransaction(read, rollback, withdrawn(unsent(write))),
    'replay',
    ['again', 'again', 'withdraw'],
  ],
]);

scenarios('pipelined units behind the end of a transaction', [
  [
    'a write behind a ROLLBACK may have committed',
    inTransaction(read, rollback, write),
    'replay',
    ['again', 'again', 'unknown'],
  ],
  [
    'a read behind a ROLLBACK runs again',
    inTransaction(read, rollback, read),
    'replay',
    ['again', 'again', 'again'],
  ],
  [
    'the next transaction behind a ROLLBACK',
    inTransaction(read, rollback, begin, write),
    'replay',
    ['again', 'again', 'again', 'again'],
  ],
  [
    'a write behind a pipelined transaction',
    autocommit(begin, write, rollback, write),
    'none',
    ['again', 'again', 'again', 'unknown'],
  ],
  [
    'a write behind a COMMIT without xid',
    mark('no-xid', inTransaction(commit, write)),
    'replay',
    ['again', 'unknown'],
  ],
]);

const tokened = (unit: PendingUnit, more: Partial<PendingUnit> = {}): PendingUnit => ({
  ...unit,
  canBeResolved: true,
  ...more,
});
const fenced: Verdict = { outcome: 'not-committed', isFinal: false };
const committed: Verdict = { outcome: 'committed', isFinal: false };

describe('R3: an autocommit write with a token is in doubt until it is asked for', () => {
  const after = (verdict: Verdict, unit: PendingUnit): LossPlan => afterVerdict(autocommit(unit), 0, verdict);

  it('before anything is decided', () => {
    expect(planLoss(autocommit(tokened(write))).resolve).toBe(0);
  });

  check(
    'committed, and its answer had come',
    after(committed, tokened(write, { isAnswered: true })),
    'none',
    ['finish'],
  );
  check('committed, and its answer is lost', after(committed, tokened(write)), 'none', ['lost']);
  check(
    'committed in an earlier attempt: the answer that had come shows what another one has drawn',
    after({ ...committed, isOfEarlierAttempt: true }, tokened(write, { isAnswered: true })),
    'none',
    ['lost'],
  );
  check('not committed', after(fenced, tokened(write)), 'none', ['again']);
  check('unknown', after(found('unknown'), tokened(write)), 'none', ['unknown']);
  check('not committed, and it may have acted outside (A7)', after(fenced, tokened(writeElsewhere)), 'none', [
    'unknown',
  ]);
  check(
    'the server had refused its token',
    planLoss(autocommit(tokened(write, { proof: 'rolled-back' }))),
    'none',
    ['again'],
  );

  it('not committed, and part of its result had been given (R11)', () => {
    expect(after(fenced, tokened(write, { given: true })).fates).toEqual(['undone']);
  });

  it('one after the other', () => {
    const first = planLoss(autocommit(tokened(write), tokened(write, { isAnswered: true }), unsent(write)));
    const second = afterVerdict(first.situation, 0, fenced);
    expect(second.resolve).toBe(1);
    expect(afterVerdict(second.situation, 1, committed)).toMatchObject({
      resolve: null,
      fates: ['again', 'finish', 'send'],
    });
  });

  it('and again on the next server', () => {
    const plan = after(fenced, tokened(write));
    expect(resolveAgain(plan).resolve).toBe(0);
    const unknown = after(found('unknown'), tokened(write));
    expect(resolveAgain(unknown)).toBe(unknown);
  });
});

describe('the replay was given up', () => {
  it('dooms the session with its reason (R5)', () => {
    const plan = afterGivingUp(planLoss(inTransaction(write, unsent(commit))), {
      kind: 'diverged',
      reason: 'other rows',
    });
    expect(plan).toMatchObject({
      transaction: 'gone',
      fates: ['refuse', 'refuse'],
      doom: { kind: 'diverged', reason: 'other rows' },
    });
  });
});

describe('the application gives up while the session recovers (R15)', () => {
  const all = (plan: LossPlan): LossPlan =>
    afterWithdrawal(
      plan,
      plan.fates.map(() => true),
    );

  it('never sends what waits', () => {
    expect(all(planLoss(autocommit(unsent(write))))).toMatchObject({ fates: ['withdraw'], doom: null });
  });

  it('does not bring the open transaction back', () => {
    expect(all(planLoss(inTransaction(write)))).toMatchObject({
      transaction: 'gone',
      doom: { kind: 'withdrawn' },
    });
  });

  it('still finds out what became of a COMMIT, and does not send it again', () => {
    const plan = all(planLoss(inTransaction(commit)));
    expect(plan.resolve).toBe(0);
    expect(afterVerdict(plan.situation, 0, found('not-committed'))).toMatchObject({
      fates: ['refuse'],
      doom: { kind: 'withdrawn' },
    });
    expect(afterVerdict(plan.situation, 0, found('committed'))).toMatchObject({
      fates: ['finish'],
      doom: null,
    });
  });

  it('keeps a verdict that was reached', () => {
    const plan = all(afterVerdict(inTransaction(commit, unsent(write)), 0, found('committed')));
    expect(plan.fates).toEqual(['finish', 'withdraw']);
  });

  it('dooms the session if a BEGIN was withdrawn', () => {
    expect(all(planLoss(autocommit(unsent(begin))))).toMatchObject({
      fates: ['withdraw'],
      doom: { kind: 'withdrawn' },
    });
  });
});

// Outside of a transaction ROLLBACK AND CHAIN is an error, which no plan can know.
const kinds = Object.values(EVERY_KIND).filter((kind) => kind !== rollbackAndChain);

/** Units are sent in order, and only the first one without ReadyForQuery can have been answered in part. */
const situations: fc.Arbitrary<LossSituation> = fc
  .record({
    open: fc.boolean(),
    unreplayable: fc.option(fc.constant('COPY'), { freq: 5 }),
    mark: fc.constantFrom('known', 'only-read', 'no-xid', 'unknown'),
    sent: fc.nat(5),
    proof: fc.constantFrom('nothing', 'nothing', 'failed', 'completed', 'committed'),
    pending: fc.array(fc.record({ kind: fc.constantFrom(...kinds), dropped: fc.nat(9) }), { maxLength: 5 }),
    tokens: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    given: fc.boolean(),
    isAnswered: fc.boolean(),
    isRefused: fc.nat(5),
    // pg ends a pipelined connection when it gives up on something, so then one unit is under way.
    gaveUp: fc.boolean(),
  })
  .map(
    ({
      open,
      unreplayable: reason,
      mark: state,
      sent,
      proof,
      pending,
      gaveUp,
      tokens,
      given,
      isAnswered,
      isRefused,
    }) => ({
      open,
      failed: false,
      unreplayable: open ? reason : null,
      givenUp: null,
      mark: state,
      pending: pending.slice(0, gaveUp ? 1 : 5).map(({ kind, dropped }, i): PendingUnit => {
        // A Query's answer that is complete behind its commit is one without a token.
        const isCompleted = i === 0 && possibleProof(kind, proof) === 'completed';
        const canBeResolved = !isCompleted && i < sent && tokens[i]! && mayHaveToken(kind, open && i === 0);
        return {
          ...kind,
          sent: i < sent,
          repeatable: kind.repeatable && dropped > 0,
          proof:
            canBeResolved && i === 0 && isRefused === 0
              ? 'rolled-back'
              : i === 0 && sent > 0
                ? possibleProof(kind, proof)
                : 'nothing',
          canBeResolved,
          given: i === 0 && canBeResolved && given,
          isAnswered: canBeResolved && isAnswered,
          withdrawn: gaveUp,
        };
      }),
    }),
  );

/** As the keeper decides: an autocommit write, a COMMIT, a string that ends in one. */
function mayHaveToken(unit: PendingUnit, isOpen: boolean): boolean {
  switch (unit.ending) {
    case 'none':
      return !isOpen && !unit.opens;
    case 'trailing-commit':
      return true;
    case 'commit':
    case 'commit-and-chain':
    case 'prepare':
      return isOpen;
    case 'rollback':
    case 'commit-inside':
    case 'unclear':
      return false;
  }
}

function possibleProof(unit: PendingUnit, proof: PendingUnit['proof']): PendingUnit['proof'] {
  if (proof === 'committed') return unit.ending === 'none' || unit.ending === 'rollback' ? 'nothing' : proof;
  if (proof === 'completed') return unit.ending === 'none' && !unit.opens ? proof : 'nothing';
  return proof;
}

const OUTCOMES = ['committed', 'not-committed', 'unknown'] as const;

/** Every plan that can be reached from the situation, with the units that are known not to have committed. */
function finalPlans(situation: LossSituation): readonly FinalPlan[] {
  const known = new Set(situation.pending.flatMap(({ proof }, i) => (proof === 'rolled-back' ? [i] : [])));
  const ending = situation.pending.findIndex((unit) => unit.sent && unit.ending !== 'none');
  if (situation.mark === 'no-xid') known.add(ending);
  const plans: FinalPlan[] = [];
  const follow = (plan: LossPlan, notCommitted: ReadonlySet<number>): void => {
    const { resolve } = plan;
    if (resolve === null) {
      plans.push({ plan, notCommitted });
      return;
    }
    const unit = plan.situation.pending[resolve]!;
    expect(unit.verdict).toBeNull(); // Nothing is asked twice.
    for (const outcome of OUTCOMES) {
      const verdict = unit.canBeResolved ? { outcome, isFinal: outcome === 'unknown' } : found(outcome);
      const isNot = outcome === 'not-committed';
      follow(
        afterVerdict(plan.situation, resolve, verdict),
        isNot ? new Set([...notCommitted, resolve]) : notCommitted,
      );
    }
  };
  follow(planLoss(situation), known);
  return plans;
}

interface FinalPlan {
  readonly plan: LossPlan;
  readonly notCommitted: ReadonlySet<number>;
}

const RUNS = 20_000;

describe('in any situation', () => {
  it('nothing takes effect twice, and nothing runs in autocommit that was meant to be in a transaction', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        for (const { plan, notCommitted } of finalPlans(situation)) {
          expect(violation(plan, notCommitted)).toBeNull();
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('the same holds after the application has given up', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        if (situation.pending.length > 1) return;
        for (const { plan, notCommitted } of finalPlans(situation)) {
          const after = afterWithdrawal(
            plan,
            plan.fates.map(() => true),
          );
          expect(violation(after, notCommitted)).toBeNull();
          expect(after.fates).not.toContain('send');
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('success is said only where it is proved', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { pending } = situation;
        const plan = planLoss(situation);
        for (const [i, fate] of plan.fates.entries()) {
          const unit = pending[i]!;
          if (fate === 'finish') {
            const onlyRead =
              situation.open && situation.mark === 'only-read' && i === 0 && unit.ending === 'commit';
            expect(onlyRead || unit.proof === 'committed' || unit.proof === 'completed').toBe(true);
            if (unit.canBeResolved && !situation.open) expect(unit.isAnswered).toBe(true);
          }
          if (fate === 'finish-failed') expect(unit.proof).toBe('failed');
          if (fate === 'finish-rollback') expect(unit.ending).toBe('rollback');
          if (fate === 'lost') expect(pending.some((one) => one.proof === 'committed')).toBe(true);
        }
        if (plan.resolve === null) return;
        expect(pending[plan.resolve]).toMatchObject({ sent: true });
        expect(situation.mark === 'known' || pending[plan.resolve]!.canBeResolved).toBe(true);
        for (const outcome of ['not-committed', 'unknown'] as const) {
          const { fates } = afterVerdict(situation, plan.resolve, found(outcome));
          expect(fates[plan.resolve]).not.toMatch(/^(finish|lost)$/);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('a COMMIT in doubt is run again only behind a verdict or without an xid', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { fates } = planLoss(situation);
        for (const [i, unit] of situation.pending.entries()) {
          const mayCommit = unit.sent && unit.ending !== 'none' && unit.ending !== 'rollback';
          if (mayCommit && fates[i] === 'again' && unit.proof !== 'rolled-back')
            expect(situation).toMatchObject({ open: true, mark: 'no-xid' });
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('a replay that is given up leaves nothing open to ask, and nothing that runs of its transaction', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        for (const { plan, notCommitted } of finalPlans(situation)) {
          if (plan.transaction !== 'replay') continue;
          const after = afterGivingUp(plan, { kind: 'diverged', reason: 'other rows' });
          expect(after.resolve).toBeNull();
          expect(after.transaction).toBe('gone');
          expect(violation(after, notCommitted)).toBeNull();
          // Nor does it come back on a third server, whatever is found there.
          for (const again of finalPlans(resolveAgain(after).situation))
            expect(again.plan.transaction).not.toBe('replay');
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('on a third server all is asked again that need not hold there, and the plans are the same', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        for (const { plan } of finalPlans(situation)) {
          const again = resolveAgain(plan);
          const open = again.situation.pending.filter(({ verdict }) => verdict !== null && !verdict.isFinal);
          expect(open).toEqual([]);
          for (const { plan: next, notCommitted } of finalPlans(again.situation)) {
            const stillKnown = next.situation.pending.flatMap(({ verdict }, i) =>
              verdict?.outcome === 'not-committed' ? [i] : [],
            );
            expect(violation(next, new Set([...notCommitted, ...stillKnown]))).toBeNull();
          }
        }
      }),
      { numRuns: RUNS / 4 },
    );
  });

  it('a transaction that can not be replayed is not replayed', () => {
    fc.assert(
      fc.property(situations, (situation) => {
        if (situation.unreplayable === null) return;
        for (const { plan } of finalPlans(situation)) expect(plan.transaction).not.toBe('replay');
      }),
    );
  });
});
