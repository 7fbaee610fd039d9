import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';
import { AnsweringPooler, BEGUN_IN_VAIN, refusal } from './answering-pooler.ts';

/** Those that speak of the moment: the transaction may be replayed a little later (R10). */
const OF_THE_MOMENT = ['53300', '53200', '57014', '40001', '55P03'];
/** Those after which nothing is known but that the transaction was not opened. */
const OTHERS = ['08P01', 'XX000', '25006', '0A000'];

const REFUSALS: readonly (readonly [name: string, answer: Buffer])[] = [
  ...OTHERS.map((code) => [code, refusal(code)] as const),
  ['BEGIN, but no transaction', BEGUN_IN_VAIN],
];

/** Review A2, rule R13: what follows a BEGIN that was refused would run in autocommit. */
describe('a pooler refuses the BEGIN of a replay', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  let pooler: AnsweringPooler;
  beforeEach(async () => {
    pooler = await AnsweringPooler.start(lab.primary);
  });
  afterEach(() => {
    pooler.stop();
  });

  async function begin(
    statements: readonly string[],
    failover: FailoverOptions = {},
  ): Promise<WatchedClient> {
    const client = await lab.connect({
      connectionString: lab.cluster.connectionString({ hosts: [pooler] }),
      failover,
    });
    for (const sql of statements) await client.query(sql);
    return client;
  }

  /** The pooler is restarted and, a number of times, answers the first unit that fits with this. */
  function restart(answer: Buffer, fits: (text: string) => boolean, times = 1): void {
    pooler.forget();
    pooler.answer = (text) => (pooler.answered < times && fits(text) ? answer : undefined);
    pooler.cut();
  }

  const isBegin = (text: string): boolean => /^BEGIN/i.test(text);

  /** Nothing of the application's reached the server but behind a BEGIN that did. */
  function expectNoneAlone(): void {
    const began = pooler.passed.findIndex(isBegin);
    const wrote = pooler.passed.findIndex((text) => text.includes('INSERT INTO note'));
    if (wrote >= 0) {
      expect(began).toBeGreaterThanOrEqual(0);
      expect(began).toBeLessThan(wrote);
    }
  }

  const WORK = ['BEGIN', `INSERT INTO note VALUES ('a')`, `INSERT INTO note VALUES ('b')`];

  it.each(OF_THE_MOMENT)('begins again after %s, and takes effect once', async (code) => {
    const client = await begin(WORK);
    restart(refusal(code), isBegin);
    await client.query(`INSERT INTO note VALUES ('c')`);
    expect(pooler.answered).toBe(1);
    expectNoneAlone();
    expect(await lab.notes()).toEqual([]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(REFUSALS)('runs nothing outside of a transaction after %s, and says so', async (_what, answer) => {
    const client = await begin(WORK);
    restart(answer, isBegin);
    const { error } = await settle(client.query(`INSERT INTO note VALUES ('c')`));
    expect(pooler.answered).toBe(1);
    expectNoneAlone();
    expect(await lab.notes()).toEqual([]);
    if (error === undefined) {
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    } else {
      expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged', outcome: 'rolled-back' });
      expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('d')`))).toMatchObject({
        code: '25P02',
      });
      await client.query('ROLLBACK');
      await client.query(`INSERT INTO note VALUES ('later')`);
      expect(await lab.notes()).toEqual(['later']);
    }
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each([...OF_THE_MOMENT, ...OTHERS])(
    'tells the COMMIT for which the transaction was to be replayed, after %s',
    async (code) => {
      const client = await begin(WORK);
      restart(refusal(code), isBegin);
      const { error } = await settle(client.query('COMMIT'));
      expect(pooler.answered).toBe(1);
      expectNoneAlone();
      if (error !== undefined) expect(error).toMatchObject({ code: '40001', outcome: 'rolled-back' });
      expect(await lab.notes()).toEqual(error === undefined ? ['a', 'b'] : []);
      if (OF_THE_MOMENT.includes(code)) expect(error).toBeUndefined();
    },
  );

  it.each(['53300', '08P01', 'XX000'])(
    'runs nothing outside of the transaction that COMMIT AND CHAIN had begun, after %s',
    async (code) => {
      const client = await begin([...WORK, 'COMMIT AND CHAIN', `INSERT INTO note VALUES ('c')`]);
      restart(refusal(code), isBegin);
      const { error } = await settle(client.query(`INSERT INTO note VALUES ('d')`));
      expect(pooler.answered).toBe(1);
      expectNoneAlone();
      expect(await lab.notes()).toEqual(['a', 'b']);
      await client.query(error === undefined ? 'COMMIT' : 'ROLLBACK');
      expect(await lab.notes()).toEqual(error === undefined ? ['a', 'b', 'c', 'd'] : ['a', 'b']);
      if (error !== undefined) expect(error).toMatchObject({ code: '40001', outcome: 'rolled-back' });
      // R10
      if (code === '53300') expect(error).toBeUndefined();
    },
  );

  it.each(['53300', '08P01', 'XX000'])(
    'recovers if the very first unit of the new connection is refused with %s',
    async (code) => {
      const client = await begin(WORK);
      restart(refusal(code), () => true);
      await client.query(`INSERT INTO note VALUES ('c')`);
      expect(pooler.answered).toBe(1);
      expectNoneAlone();
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b', 'c']);
      expect(client.seen.isQuiet).toBe(true);
    },
  );

  it('gives up at its deadline if every BEGIN is refused, and leaves nothing behind', async () => {
    const client = await begin(WORK, { timeoutMillis: 1_500 });
    restart(refusal('53300'), isBegin, Number.POSITIVE_INFINITY);
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('c')`))).toMatchObject({
      code: '08006',
      kind: 'failover-failed',
    });
    expect(pooler.answered).toBeGreaterThan(1);
    expect(pooler.passed.filter((text) => text.includes('INSERT INTO note'))).toEqual([]);
    await waitFor(() => client.seen.ends === 1);
    expect(await lab.notes()).toEqual([]);
  });
});
