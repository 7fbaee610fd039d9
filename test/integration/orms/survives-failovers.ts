import stock from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import holdfast from '../../../src/pg.ts';
import type { FailoverSnapshot } from '../../../src/events.ts';
import type { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { pinnableKey, unpinnableKey } from '../../support/unpinnable-key.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { Application, OpenApplication } from './application.ts';
import { settingsOf, settingsOfPrimary } from './application.ts';

export interface OrmHabits {
  /** How it spells COMMIT. */
  readonly commit: string;
  /** The error of the driver in what the ORM throws. */
  readonly driverError: (error: unknown) => unknown;
  /** What the ORM's own error says of one of the driver's; empty if it throws that itself. */
  readonly wraps: (driverError: Readonly<Record<string, unknown>>) => object;
}

const UNKNOWN = { code: '08007', severity: 'ERROR', kind: 'outcome-unknown', outcome: 'unknown' };

/** What holds for every ORM on holdfast/pg, unchanged in the application. */
export function survivesFailovers(lab: FailoverLab, open: OpenApplication, habits: OrmHabits): void {
  let application: Application;
  let before: FailoverSnapshot;

  /** Counters of the cluster, in which every session of the process is counted; those since the test began. */
  function counted(): Pick<
    FailoverSnapshot,
    'failovers' | 'replays' | 'replaysDiverged' | 'commitsResolved'
  > {
    const now = snapshotOf(lab);
    return {
      failovers: now.failovers - before.failovers,
      replays: now.replays - before.replays,
      replaysDiverged: now.replaysDiverged - before.replaysDiverged,
      commitsResolved: now.commitsResolved - before.commitsResolved,
    };
  }

  beforeEach(async () => {
    await lab.primary.query('TRUNCATE entry, ticket RESTART IDENTITY');
    await lab.primary.query(pinnableKey('ticket', 'ticket_id_seq'));
    await lab.cluster.waitForReplay();
    application = await open(holdfast, settingsOf(lab));
    // Opens a connection, of those that the tests below will use.
    expect(await application.read()).toEqual([]);
    before = snapshotOf(lab);
  });
  afterEach(async () => {
    await application.close();
  });

  describe('the primary is killed', () => {
    it('in the middle of a transaction, which goes on and commits', async () => {
      const result = await application.transaction(async (transaction) => {
        await transaction.write('a');
        expect(await transaction.read()).toEqual(['a']);
        await lab.replacePrimary();
        await transaction.write('b');
        return await transaction.read();
      });
      expect(result).toEqual(['a', 'b']);
      expect(await entriesIn(lab)).toEqual(['a', 'b']);
      expect(counted()).toMatchObject({ failovers: 1, replays: 1, replaysDiverged: 0 });
    });

    it('behind the last statement of a transaction, which commits', async () => {
      await application.transaction(async (transaction) => {
        await transaction.write('a');
        await lab.replacePrimary();
      });
      expect(await entriesIn(lab)).toEqual(['a']);
      expect(counted()).toMatchObject({ failovers: 1, replays: 1 });
    });

    it('inside a nested transaction, behind one that was rolled back', async () => {
      await application.nestingTransaction(async (transaction) => {
        await transaction.write('outer');
        const undone = new Error('undone');
        const inner = transaction.nested(async (work) => {
          await work.write('undone');
          throw undone;
        });
        expect(await rejectionOf(inner)).toBe(undone);
        await transaction.nested(async (work) => {
          await work.write('inner');
          await lab.replacePrimary();
          expect(await work.read()).toEqual(['inner', 'outer']);
        });
        await transaction.write('behind');
      });
      expect(await entriesIn(lab)).toEqual(['behind', 'inner', 'outer']);
      expect(counted()).toMatchObject({ replays: 1, replaysDiverged: 0 });
    });

    it('inside a nested transaction, which is rolled back afterwards', async () => {
      await application.nestingTransaction(async (transaction) => {
        await transaction.write('outer');
        const undone = new Error('undone');
        const inner = transaction.nested(async (work) => {
          await work.write('undone');
          await lab.replacePrimary();
          throw undone;
        });
        expect(await rejectionOf(inner)).toBe(undone);
        expect(await transaction.read()).toEqual(['outer']);
      });
      expect(await entriesIn(lab)).toEqual(['outer']);
    });

    it('in a transaction that the application then rolls back', async () => {
      const undone = new Error('undone');
      const work = application.transaction(async (transaction) => {
        await transaction.write('undone');
        await lab.replacePrimary();
        throw undone;
      });
      expect(await rejectionOf(work)).toBe(undone);
      await application.write('later');
      expect(await entriesIn(lab)).toEqual(['later']);
    });

    it('while the connections are idle', async () => {
      await application.write('a');
      await lab.replacePrimary();
      expect(await application.read()).toEqual(['a']);
      await application.write('b');
      await lab.cluster.rejoin(lab.cluster.nodes.find((node) => !node.isRunning)!);
      await lab.replacePrimary();
      await application.transaction(async (transaction) => {
        await transaction.write('c');
      });
      expect(await entriesIn(lab)).toEqual(['a', 'b', 'c']);
      expect(counted()).toMatchObject({ failovers: 2, replays: 0 });
    });

    it('in the middle of several transactions', async () => {
      const names = ['a', 'b', 'c', 'd'];
      let halfway = 0;
      const transactions = names.map(async (name) => {
        await application.transaction(async (transaction) => {
          await transaction.write(`${name}1`);
          halfway++;
          await waitFor(() => isReplaced);
          await transaction.write(`${name}2`);
        });
      });
      let isReplaced = false;
      await waitFor(() => halfway === names.length);
      await lab.replacePrimary();
      isReplaced = true;
      await Promise.all(transactions);
      expect(await entriesIn(lab)).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2', 'd1', 'd2']);
      expect(counted()).toMatchObject({ failovers: 1, replays: 4, replaysDiverged: 0 });
    });

    it('when the COMMIT was done, but its answer is lost', async () => {
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const transaction = application.transaction(async (work) => {
        await work.write('a');
        await work.write('b');
      });
      await lost;
      await lab.replacePrimary();
      await transaction;
      expect(await entriesIn(lab)).toEqual(['a', 'b']);
      expect(counted()).toMatchObject({ replays: 0, commitsResolved: 1 });
    });

    it('when the COMMIT was sent, but never arrived', async () => {
      const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: habits.commit }, 'drop');
      const transaction = application.transaction(async (work) => {
        await work.write('a');
        await work.write('b');
      });
      await lost;
      await lab.replacePrimary();
      await transaction;
      expect(await entriesIn(lab)).toEqual(['a', 'b']);
      expect(counted()).toMatchObject({ replays: 1, commitsResolved: 1 });
    });
  });

  it.each(['a further statement', 'COMMIT'])('a generated id is the same again at %s', async (where) => {
    const id = await application.transaction(async (transaction) => {
      const issued = await transaction.issue('first');
      await lab.replacePrimary();
      if (where !== 'COMMIT') await transaction.write(`ticket ${issued}`);
      return issued;
    });
    expect(await ticketsIn(lab)).toEqual([{ id, text: 'first' }]);
    expect(await entriesIn(lab)).toEqual(where === 'COMMIT' ? [] : [`ticket ${id}`]);
    expect(counted()).toMatchObject({ failovers: 1, replays: 1, replaysDiverged: 0 });
    expect(
      await application.transaction(async (transaction) => await transaction.issue('second')),
    ).toBeGreaterThan(id);
  });

  /** It is made by a function of somebody's own, which gives another one on the promoted standby (R5). */
  it.each(['a further statement', 'COMMIT'])(
    'a generated id that comes out otherwise is 40001 at %s, and a retry makes one row',
    async (where) => {
      await lab.primary.query(unpinnableKey('ticket'));
      let attempts = 0;
      const issue = async (): Promise<number> =>
        await application.transaction(async (transaction) => {
          attempts++;
          const id = await transaction.issue('first');
          if (attempts === 1) await lab.replacePrimary();
          if (where !== 'COMMIT') await transaction.write(`ticket ${id}`);
          return id;
        });
      const error = await rejectionOf(issue());
      const diverged = {
        code: '40001',
        severity: 'ERROR',
        kind: 'replay-diverged',
        outcome: 'rolled-back',
      };
      expect(habits.driverError(error)).toMatchObject(diverged);
      expect(error).toMatchObject(habits.wraps(diverged));
      expect(await ticketsIn(lab)).toEqual([]);
      expect(await entriesIn(lab)).toEqual([]);
      const id = await issue();
      expect(await ticketsIn(lab)).toEqual([{ id, text: 'first' }]);
      expect(await entriesIn(lab)).toEqual(where === 'COMMIT' ? [] : [`ticket ${id}`]);
      expect(counted()).toMatchObject({ failovers: 1, replaysDiverged: 1 });
    },
  );

  /** The same server again after a crash: two crashes look like one, so nobody can say what became of the COMMIT. */
  it('a COMMIT of which nobody can say what became is said to be unknown, and nothing runs again', async () => {
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const transaction = settle(
      application.transaction(async (work) => {
        await work.write('a');
      }),
    );
    await lost;
    await lab.primary.kill();
    await lab.primary.start();
    const { error } = await transaction;
    expect(error).toBeDefined();
    expect(habits.driverError(error)).toMatchObject(UNKNOWN);
    expect(error).toMatchObject(habits.wraps(UNKNOWN));
    expect(await entriesIn(lab)).toEqual(['a']);
    await application.write('b');
    expect(await entriesIn(lab)).toEqual(['a', 'b']);
    expect(counted()).toMatchObject({ replays: 0 });
  });

  /** The hazard is an ORM that tries again what has failed: the row is there, and nobody may write it a second time (A6). */
  it('a write without a transaction whose answer is lost is said to be unknown, and not written twice', async () => {
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const written = settle(application.write('a'));
    await lost;
    await lab.replacePrimary();
    const { error } = await written;
    expect(error).toBeDefined();
    expect(habits.driverError(error)).toMatchObject(UNKNOWN);
    expect(error).toMatchObject(habits.wraps(UNKNOWN));
    expect(await entriesIn(lab)).toEqual(['a']);
    // The ORM goes on with it.
    await application.write('b');
    expect(await entriesIn(lab)).toEqual(['a', 'b']);
  });

  it('an error of the server arrives as with stock pg', async () => {
    await lab.primary.query('ALTER TABLE ticket ADD CONSTRAINT known CHECK (text <> $$refused$$)');
    const plain = await open(stock, settingsOfPrimary(lab));
    try {
      const [ours, theirs] = await Promise.all(
        [application, plain].map(
          async (one) => await rejectionOf(one.transaction(async (work) => await work.issue('refused'))),
        ),
      );
      expect(habits.driverError(ours)).toMatchObject({ code: '23514', constraint: 'known' });
      expect(shapeOf(ours)).toEqual(shapeOf(theirs));
      expect(shapeOf(habits.driverError(ours))).toEqual(shapeOf(habits.driverError(theirs)));
    } finally {
      await plain.close();
      await lab.primary.query('ALTER TABLE ticket DROP CONSTRAINT known');
    }
  });

  it('with stock pg in place of ours the loss is an error, and nothing is written', async () => {
    const plain = await open(stockWithListeners, settingsOfPrimary(lab));
    try {
      const lost = plain.transaction(async (transaction) => {
        await transaction.write('a');
        await lab.replacePrimary();
        await transaction.write('b');
      });
      await rejectionOf(lost);
      expect(await entriesIn(lab)).toEqual([]);
    } finally {
      await plain.close();
    }
  });
}

/** Some ORMs put no listener on a client that they hold, so that its loss would end the process. */
class ListenedClient extends stock.Client {
  constructor(config?: string | stock.ClientConfig) {
    super(config);
    this.on('error', () => undefined);
  }
}
class ListenedPool extends stock.Pool {
  constructor(config?: stock.PoolConfig) {
    super({ ...config, Client: ListenedClient });
  }
}
const stockWithListeners: typeof stock = { ...stock, Client: ListenedClient, Pool: ListenedPool };

function snapshotOf(lab: FailoverLab): FailoverSnapshot {
  return lab.pool().failover!.snapshot();
}

async function entriesIn(lab: FailoverLab): Promise<string[]> {
  const { rows } = await lab.primary.query<{ text: string }>('SELECT text FROM entry ORDER BY text');
  return rows.map(({ text }) => text);
}

async function ticketsIn(lab: FailoverLab): Promise<object[]> {
  return (await lab.primary.query<object>('SELECT id, text FROM ticket ORDER BY id')).rows;
}

/** The class and the names of the fields of an error. */
function shapeOf(error: unknown): { name: string; fields: string[] } {
  const { name } = error as Error;
  return { name, fields: Object.getOwnPropertyNames(error).sort() };
}
