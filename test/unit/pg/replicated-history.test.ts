import { describe, expect, it } from 'vitest';
import type { ProbeResult } from '../../../src/pg/probe.ts';
import {
  askReplicatedHistory,
  mayReplicate,
  type ReplicationConnection,
} from '../../../src/pg/replicated-history.ts';
import { refusal, ScriptedRunner, silence, type ScriptedAnswer } from './scripted-runner.ts';

// As the probe's columns come: a promoted server on timeline 3.
const PROBE = ['false', 'off', '170000', 'public', 'read committed', 'app', 'app', 'app', '1', '1.0', 'false']
  .concat(['77', '000000030000000000000001', '2.0', '0/200', '0/200', '0/300', 'true', '3']); // prettier-ignore
const HISTORY = '1\t0/100\tno recovery target specified\n\n2\t0/200\tno recovery target specified\n';

const server = {
  isPooled: false,
  sessionUser: 'app',
  timeline: 3,
  incarnation: '77/3/2.0/200',
} as unknown as ProbeResult;

interface Asked {
  readonly history: ReadonlyMap<number, bigint> | null;
  readonly probes: readonly ProbeResult[];
  readonly ended: readonly string[];
}

async function ask(
  answer: (sql: string) => ScriptedAnswer,
  { signal = AbortSignal.timeout(5_000), openError }: { signal?: AbortSignal; openError?: Error } = {},
): Promise<Asked> {
  const runner = new ScriptedRunner(answer);
  const ended: string[] = [];
  const probes: ProbeResult[] = [];
  const connection: ReplicationConnection = {
    processId: 1,
    runSimple: (sql) => runner.run(sql),
    destroy: () => ended.push('destroyed'),
    terminate: () => ended.push('terminated'),
  };
  const history = await askReplicatedHistory({
    server,
    open: () => (openError === undefined ? Promise.resolve(connection) : Promise.reject(openError)),
    record: (probe) => probes.push(probe),
    signal,
  });
  return { history, probes, ended };
}

describe('a timeline history asked for by the replication protocol', () => {
  it('says where the log left each older timeline, and the connection is closed', async () => {
    const { history, probes, ended } = await ask((sql) =>
      sql === 'TIMELINE_HISTORY 3' ? [['00000003.history', HISTORY]] : [PROBE],
    );
    expect(history).toEqual(
      new Map([
        [1, 0x100n],
        [2, 0x200n],
      ]),
    );
    expect(probes).toMatchObject([{ incarnation: server.incarnation }]);
    expect(ended).toEqual(['terminated']);
  });

  it('is not believed if it is another server that answers', async () => {
    const other = PROBE.map((value) => (value === '2.0' ? '3.0' : value));
    const { history, probes } = await ask((sql) =>
      sql.startsWith('TIMELINE_HISTORY') ? [['00000003.history', HISTORY]] : [other],
    );
    expect(history).toBeNull();
    expect(probes).toHaveLength(1);
  });

  it.each([
    ['the server refuses it', refusal('42501')],
    ['there is no such file', refusal('58P01')],
    ['the connection is lost', new Error('Connection terminated unexpectedly')],
  ])('is null if %s', async (_why, error) => {
    const { history, ended } = await ask((sql) => (sql.startsWith('TIMELINE_HISTORY') ? error : [PROBE]));
    expect(history).toBeNull();
    expect(ended).toEqual(['terminated']);
  });

  it('is null if no connection can be had', async () => {
    const { history, ended } = await ask(() => [], { openError: new Error('too many') });
    expect(history).toBeNull();
    expect(ended).toEqual([]);
  });

  it('is null if the server is silent until the time is over, and the connection is cut', async () => {
    const { history, ended } = await ask(() => silence(), { signal: AbortSignal.timeout(10) });
    expect(history).toBeNull();
    expect(ended).toEqual(['destroyed']);
  });
});

describe('whether the role may replicate', () => {
  it.each([
    ['has the attribute', [['true']], true],
    ['has it not', [['false']], false],
    ['is not there', [], false],
  ])('it %s', async (_what, rows, expected) => {
    const runner = new ScriptedRunner(() => rows);
    expect(await mayReplicate(runner, server)).toBe(expected);
    expect(runner.statements[0]!.parameters).toEqual(['app']);
  });

  it('is not asked behind a pooler, where nobody knows which server would answer', async () => {
    const runner = new ScriptedRunner(() => [['true']]);
    expect(await mayReplicate(runner, { ...server, isPooled: true })).toBe(false);
    expect(runner.statements).toEqual([]);
  });
});
