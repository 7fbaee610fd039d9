import { describe, expect, it } from 'vitest';
import { PROBE_SQL, runProbe } from '../../../src/pg/probe.ts';
import { refusal, ScriptedRunner } from './scripted-runner.ts';

const BARE = ['false', 'off', '170010', 'public', 'read committed', 'app', 'app', 'app'];
const BACKEND = ['4711', '1795415194.176595', 'true'];
const PRIMARY = [
  ...BARE,
  ...BACKEND,
  '77',
  '000000020000000000000009',
  '1795415194.0',
  '0/A0',
  '0/90',
  '0/B0',
  'true',
  '2,0',
];
const STANDBY = [
  'true',
  'on',
  ...BARE.slice(2),
  ...BACKEND,
  '77',
  null,
  '1795415194.0',
  '0/A0',
  '0/A8',
  null,
  'true',
  '1,2,2',
];

describe('a probe', () => {
  it('reads a promoted primary', async () => {
    expect(await runProbe(new ScriptedRunner(() => [PRIMARY]))).toEqual({
      inRecovery: false,
      writable: true,
      systemIdentifier: '77',
      timeline: 2,
      incarnation: '77/2/1795415194.0/a0',
      startTime: '1795415194.0',
      replayLsn: 0xa0n,
      receiveLsn: 0x90n,
      logTimelines: [2],
      insertLsn: 0xb0n,
      backend: { pid: '4711', backendStart: '1795415194.176595', isPooled: false },
      backendPid: '4711',
      isPooled: false,
      serverVersionNum: 170010,
      searchPath: 'public',
      defaultIsolation: 'read committed',
      synchronousStandbys: true,
      canMark: true,
      databaseName: 'app',
      sessionUser: 'app',
      currentUser: 'app',
    });
  });

  it('gives a standby one name however far it has replayed', async () => {
    const early = await runProbe(new ScriptedRunner(() => [STANDBY]));
    const late = await runProbe(new ScriptedRunner(() => [STANDBY.with(14, '0/FF')]));
    expect(early).toMatchObject({
      inRecovery: true,
      writable: false,
      timeline: null,
      logTimelines: [1, 2, 2],
    });
    expect(late.incarnation).toBe(early.incarnation);
  });

  it.each([
    ['the system identifier', 11, '78'],
    ['the timeline', 12, '000000030000000000000009'],
    ['the start time', 13, '1795415195.0'],
    ['the replay position, as after the crash of a backend', 14, '0/A8'],
    ['the lack of one', 14, null],
  ])('gives a server another name by %s', async (_what, column, value) => {
    const one = await runProbe(new ScriptedRunner(() => [PRIMARY]));
    const other = await runProbe(new ScriptedRunner(() => [PRIMARY.with(column, value as string)]));
    expect(other.incarnation).not.toBe(one.incarnation);
  });

  it.each(['42501', '42883', '0A000', 'XX000', '42P01'])(
    'does with less where a function is refused by %s',
    async (code) => {
      const withoutPositions = new ScriptedRunner((sql) =>
        sql === PROBE_SQL ? refusal(code) : [[...BARE, ...BACKEND]],
      );
      expect(await runProbe(withoutPositions)).toMatchObject({
        writable: true,
        backend: { pid: '4711' },
        incarnation: null,
        canMark: false,
        logTimelines: [],
      });
      const bare = new ScriptedRunner((sql) =>
        sql.includes('pg_stat_get_activity') ? refusal(code) : [BARE],
      );
      expect(await runProbe(bare)).toMatchObject({ writable: true, backend: null, incarnation: null });
    },
  );

  it('asks again if the server is promoted in the middle of it', async () => {
    let left = 2;
    const runner = new ScriptedRunner(() => (left-- > 0 ? refusal('55000') : [PRIMARY]));
    expect(await runProbe(runner)).toMatchObject({ timeline: 2 });
    expect(runner.count(PROBE_SQL)).toBe(3);
  });

  it.each(['57P01', '57014', '53300', '58030', '08006'])(
    'passes %s on: it says nothing about the probe',
    async (code) => {
      const runner = new ScriptedRunner(() => refusal(code));
      await expect(runProbe(runner)).rejects.toMatchObject({ code });
      expect(runner.statements).toHaveLength(1);
    },
  );

  it('passes the loss of the connection on', async () => {
    const runner = new ScriptedRunner(() => new Error('Connection terminated'));
    await expect(runProbe(runner)).rejects.toThrow('Connection terminated');
  });
});
