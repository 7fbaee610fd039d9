import { describe, expect, it } from 'vitest';
import type { CommitMark } from '../../../src/pg/commit-mark.ts';
import { resolveCommit, type CommitInDoubt, type CommitResolution } from '../../../src/pg/commit-resolver.ts';
import { recordServer, UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';
import type { ProbeResult } from '../../../src/pg/probe.ts';
import { refusal, ScriptedRunner, silence, type ScriptedAnswer } from './scripted-runner.ts';

const captured = {
  inRecovery: false,
  systemIdentifier: '77',
  timeline: 1,
  incarnation: 'first',
  startTime: 'a',
  replayLsn: null,
  receiveLsn: null,
  logTimelines: [1],
  synchronousStandbys: false,
} as unknown as ProbeResult;
const promoted: ProbeResult = {
  ...captured,
  timeline: 2,
  incarnation: 'second',
  startTime: 'b',
  replayLsn: 100n,
  receiveLsn: 100n,
};
const recovered: ProbeResult = { ...captured, incarnation: 'third', replayLsn: 100n };
const mark: CommitMark = { xid: '739', lsn: 50n, systemIdentifier: '77', timeline: 1, incarnation: 'first' };
const backend = { pid: '4711', backendStart: '1.0' };

interface Script {
  readonly status?: ScriptedAnswer[];
  readonly looks?: ScriptedAnswer[];
  readonly prepared?: ScriptedAnswer;
  readonly replicated?: ScriptedAnswer | (() => Promise<never>);
  readonly history?: string;
}

async function resolve(
  server: ProbeResult,
  script: Script,
  change: Partial<CommitInDoubt> = {},
): Promise<CommitResolution & { readonly runner: ScriptedRunner }> {
  const { status = [], looks = [], prepared = [], replicated = [['on', '0/1']], history } = script;
  const deadline = new AbortController();
  const runner = new ScriptedRunner((sql) => {
    if (sql.includes('pg_xact_status')) return status.length > 1 ? status.shift()! : status[0]!;
    if (sql.includes('pg_terminate_backend')) return [['true']];
    if (sql.includes('pg_stat_get_activity')) return looks.shift() ?? [];
    if (sql.includes('pg_prepared_xacts')) return prepared;
    if (sql.includes('synchronous_commit'))
      return typeof replicated === 'function' ? replicated() : replicated;
    if (sql.includes('has_function_privilege')) return [[history === undefined ? 'false' : 'true']];
    if (sql.includes('pg_read_file')) return [[history!]];
    throw new Error(`not expected: ${sql}`);
  });
  let pauses = 0;
  const lineage = recordServer(
    recordServer(UNKNOWN_LINEAGE, 'a', captured),
    server.timeline === 1 ? 'a' : 'b',
    server,
  );
  const resolution = await resolveCommit({
    mark,
    captured,
    backend,
    runner,
    server,
    lineage,
    signal: deadline.signal,
    sleep: () => {
      if (++pauses > 20) deadline.abort();
      return Promise.resolve();
    },
    ...change,
  });
  return { ...resolution, runner };
}

const committed: ScriptedAnswer = [['committed']];
const aborted: ScriptedAnswer = [['aborted']];
const inProgress: ScriptedAnswer = [['in progress']];

describe('resolving a COMMIT in doubt', () => {
  it('asks one question where one is enough', async () => {
    const result = await resolve(promoted, { status: [committed] });
    expect(result).toMatchObject({ outcome: 'committed', reason: 'shared-log' });
    expect(result.runner.statements).toHaveLength(1);
  });

  it('does not guess without a mark, nor with one of another life', async () => {
    expect(await resolve(promoted, {}, { mark: null })).toMatchObject({
      outcome: 'unknown',
      reason: 'no-mark',
    });
    const stale = { ...mark, incarnation: 'earlier' };
    expect(await resolve(promoted, {}, { mark: stale })).toMatchObject({
      outcome: 'unknown',
      reason: 'no-mark',
    });
  });

  it('takes 22023 for an answer, and a refusal for none', async () => {
    expect(await resolve(promoted, { status: [refusal('22023')] })).toMatchObject({
      reason: 'mark-contradicted',
    });
    expect(await resolve(promoted, { status: [refusal('42501')] })).toMatchObject({
      reason: 'status-unavailable',
    });
    expect(await resolve({ ...promoted, replayLsn: 49n }, { status: [refusal('42501')] })).toMatchObject({
      outcome: 'not-committed',
    });
    expect(await resolve(promoted, { status: [[[null]]] })).toMatchObject({ reason: 'status-unavailable' });
  });

  it('never decides while the transaction is in progress: ends its backend, then asks again', async () => {
    const looks = [[['1.0', 'ClientRead']], [['1.0', 'ClientRead']], []];
    const gone = await resolve(captured, { status: [inProgress, inProgress, aborted], looks });
    expect(gone).toMatchObject({ outcome: 'not-committed', reason: 'same-incarnation' });
    expect(gone.runner.count('pg_terminate_backend')).toBe(1);
    const tooSlow = await resolve(captured, { status: [inProgress] });
    expect(tooSlow).toMatchObject({ outcome: 'unknown', reason: 'still-in-progress' });
  });

  it('ends nobody on a server that the transaction did not run on', async () => {
    const reused = await resolve(recovered, { status: [inProgress, inProgress, aborted] });
    expect(reused).toMatchObject({ outcome: 'not-committed', reason: 'status-aborted' });
    expect(reused.runner.count('pg_terminate_backend')).toBe(0);
    expect(reused.runner.count('pg_stat_get_activity')).toBe(0);
  });

  it('waits for the end if the backend is not known', async () => {
    const ended = await resolve(captured, { status: [inProgress, committed] }, { backend: null });
    expect(ended).toMatchObject({ outcome: 'committed' });
  });

  it('is unknown at the deadline if the COMMIT still waits for its standby (A5)', async () => {
    const looks: ScriptedAnswer[] = Array.from({ length: 40 }, () => [['1.0', 'SyncRep']]);
    const waiting = await resolve(captured, { status: [inProgress], looks });
    expect(waiting).toMatchObject({ outcome: 'unknown', reason: 'waiting-for-sync' });
    expect(waiting.runner.count('pg_terminate_backend')).toBe(0);
  });

  it('calls nothing committed that no synchronous standby is known to have (A5)', async () => {
    const server = { ...captured, synchronousStandbys: true };
    const done = await resolve(server, { status: [committed] });
    expect(done).toMatchObject({ outcome: 'committed' });
    expect(done.runner.count('synchronous_commit')).toBe(1);
    const refused = await resolve(server, { status: [committed], replicated: refusal('42501') });
    expect(refused).toMatchObject({ outcome: 'unknown', reason: 'not-replicated' });
    const signal = AbortSignal.timeout(20);
    const alone = await resolve(server, { status: [committed], replicated: silence }, { signal });
    expect(alone).toMatchObject({ outcome: 'unknown', reason: 'not-replicated' });
    const undone = await resolve(server, { status: [aborted] });
    expect(undone.runner.count('synchronous_commit')).toBe(0);
  });

  it('looks for a prepared transaction by xid and identifier', async () => {
    const found = await resolve(promoted, { status: [inProgress], prepared: [['1']] }, { preparedAs: 'g' });
    expect(found).toMatchObject({ outcome: 'committed', reason: 'shared-log' });
    const [, question] = found.runner.statements;
    expect(question!.parameters).toEqual(['g', '739']);
    const missing = await resolve(promoted, { status: [inProgress] }, { preparedAs: 'g' });
    expect(missing).toMatchObject({ outcome: 'unknown', reason: 'still-in-progress' });
    const unproved = await resolve(
      recovered,
      { status: [inProgress], prepared: [['1']] },
      { preparedAs: 'g' },
    );
    expect(unproved).toMatchObject({ outcome: 'unknown', reason: 'lineage-unproved' });
  });

  it('reads the history of the timelines if nothing else helps and it may', async () => {
    const crashed: ProbeResult = { ...promoted, receiveLsn: null };
    const kept = await resolve(crashed, { status: [committed], history: '1\t0/40\treason' });
    expect(kept).toMatchObject({ outcome: 'committed', reason: 'shared-log' });
    const lost = await resolve(crashed, { status: [committed], history: '1\t0/20\treason' });
    expect(lost).toMatchObject({ outcome: 'not-committed', reason: 'switched-before-mark' });
    const refused = await resolve(crashed, { status: [committed] });
    expect(refused).toMatchObject({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(refused.runner.count('pg_read_file($1')).toBe(0);
  });

  it('is unknown at the deadline though the server says nothing', async () => {
    const silent = await resolve(
      promoted,
      {},
      { runner: new ScriptedRunner(silence), signal: AbortSignal.timeout(20) },
    );
    expect(silent).toMatchObject({ outcome: 'unknown', reason: 'no-answer' });
    const late = await resolve(promoted, {}, { signal: AbortSignal.abort() });
    expect(late).toMatchObject({ outcome: 'unknown', reason: 'no-answer' });
    expect(late.runner.statements).toEqual([]);
  });

  it('rejects if its own connection is lost, or the server is going down', async () => {
    await expect(resolve(promoted, { status: [new Error('lost')] })).rejects.toThrow('lost');
    await expect(resolve(promoted, { status: [refusal('57014')] })).rejects.toMatchObject({ code: '57014' });
  });
});
