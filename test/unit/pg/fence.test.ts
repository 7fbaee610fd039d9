import { describe, expect, it } from 'vitest';
import { fenceBackend, type FenceResult } from '../../../src/pg/fence.ts';
import type { SqlRow } from '../../../src/pg/sql-runner.ts';
import { refusal, ScriptedRunner, silence, type ScriptedAnswer } from './scripted-runner.ts';

const backend = { pid: '4711', backendStart: '1795415194.176595' };
const alive: SqlRow = [backend.backendStart, 'ClientRead'];
const waiting: SqlRow = [backend.backendStart, 'SyncRep'];

/** Fences while the server shows the backend in these states, one after the other; the deadline comes after the last. */
async function fence(
  looks: ScriptedAnswer[],
  terminate: ScriptedAnswer = [['true']],
  isPooled = false,
): Promise<[FenceResult, number]> {
  const deadline = new AbortController();
  const left = [...looks];
  const runner = new ScriptedRunner((sql) =>
    sql.includes('pg_terminate_backend') ? terminate : left.shift()!,
  );
  const result = await fenceBackend(
    runner,
    { ...backend, isPooled },
    {
      signal: deadline.signal,
      sleep: () => {
        if (left.length === 0) deadline.abort();
        return Promise.resolve();
      },
    },
  );
  return [result, runner.count('pg_terminate_backend')];
}

describe('fencing an old backend', () => {
  it('ends it once and waits until it has gone', async () => {
    expect(await fence([[alive], [alive], [alive], []])).toEqual(['gone', 1]);
  });

  it('leaves alone whoever has its process id now (A16)', async () => {
    expect(await fence([[['1795415200.000001', 'ClientRead']]])).toEqual(['gone', 0]);
    expect(await fence([[alive], [['1795415200.000001', 'ClientRead']]])).toEqual(['gone', 1]);
  });

  it('never ends one that waits for its synchronous standby (A5)', async () => {
    expect(await fence([[waiting], [waiting]])).toEqual(['waiting-for-sync', 0]);
    expect(await fence([[waiting], [waiting], []])).toEqual(['gone', 0]);
  });

  it('ends it once its wait is over', async () => {
    expect(await fence([[waiting], [alive], []])).toEqual(['gone', 1]);
  });

  it('tells it again if it had begun to wait just before it was told', async () => {
    expect(await fence([[alive], [alive]], [])).toEqual(['unknown', 2]);
  });

  it('waits for one that it may not end: without its client it ends by itself', async () => {
    expect(await fence([[alive], [alive], []], refusal('42501'))).toEqual(['gone', 1]);
  });

  it('does not know if the backend can be neither seen nor ended', async () => {
    expect(await fence([[[null, null]]])).toEqual(['unknown', 0]);
    expect(await fence([[alive]], refusal('42501'))).toEqual(['unknown', 1]);
    expect(await fence([[alive]], refusal('XX000'))).toEqual(['unknown', 1]);
    expect(await fence([refusal('42501')])).toEqual(['unknown', 0]);
  });

  it('does not know if the backend does not react in time', async () => {
    expect(await fence([[alive], [alive]])).toEqual(['unknown', 1]);
  });

  it('ends at the deadline though the server says nothing', async () => {
    const result = fenceBackend(new ScriptedRunner(silence), backend, { signal: AbortSignal.timeout(20) });
    expect(await result).toBe('unknown');
  });

  it('ends none behind a pooler, which may have given it to somebody else, and waits for its transaction', async () => {
    const inside = (xactStart: string | null): SqlRow => [backend.backendStart, 'ClientRead', xactStart];
    const pooled = (...looks: ScriptedAnswer[]): Promise<[FenceResult, number]> =>
      fence(looks, [['true']], true);
    expect(await pooled([inside(null)])).toEqual(['gone', 0]);
    expect(await pooled([inside('1.5')], [inside('1.5')], [])).toEqual(['gone', 0]);
    expect(await pooled([inside('1.5')], [inside(null)])).toEqual(['gone', 0]);
    expect(await pooled([inside('1.5')], [inside('2.5')])).toEqual(['gone', 0]);
    expect(await pooled([inside('1.5')], [inside('1.5')])).toEqual(['unknown', 0]);
    const inSync: SqlRow = [backend.backendStart, 'SyncRep', '1.5'];
    expect(await pooled([inSync], [inSync])).toEqual(['waiting-for-sync', 0]);
  });

  it('rejects if its own connection is lost', async () => {
    await expect(fence([new Error('lost')])).rejects.toThrow('lost');
  });
});
