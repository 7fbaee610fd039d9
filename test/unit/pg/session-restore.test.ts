import { describe, expect, it } from 'vitest';
import { planRestore, restoreSession } from '../../../src/pg/session-restore.ts';
import type { SessionSnapshot } from '../../../src/pg/session-snapshot.ts';
import { SqlError, type SqlRow, type SqlRunner } from '../../../src/pg/sql-runner.ts';

const BASELINE: SessionSnapshot = {
  sessionUser: 'app',
  currentUser: 'app',
  sessionAuthorization: 'app',
  role: 'none',
  searchPath: 'public',
  settings: new Map(),
  customSettings: new Map(),
  channels: [],
  preparedStatements: [],
  pins: [],
};

function prepared(name: string, statement: string): SessionSnapshot['preparedStatements'][number] {
  return { name, statement, parameterTypes: '' };
}

/** Answers each statement by the first matching rule: an error, or the state to report for the check. */
class ScriptedRunner implements SqlRunner {
  /** Steps of settings as a list, everything else as its text. */
  readonly ran: unknown[] = [];
  readonly #answer: (ran: unknown) => Error | SessionSnapshot | null;

  constructor(answer: (ran: unknown) => Error | SessionSnapshot | null) {
    this.#answer = answer;
  }

  async run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    const [parameter] = parameters;
    const isCheck = sql.includes('pg_listening_channels');
    const what: unknown =
      typeof parameter === 'string'
        ? JSON.parse(Buffer.from(parameter, 'base64').toString())
        : isCheck
          ? 'check'
          : sql;
    this.ran.push(what);
    await Promise.resolve();
    const answer = this.#answer(what);
    if (answer instanceof Error) throw answer;
    return answer === null ? [['1']] : [[stateAnswer(answer)]];
  }
}

function stateAnswer(state: SessionSnapshot): string {
  const items = [
    state.sessionUser,
    state.currentUser,
    state.sessionAuthorization,
    state.role,
    [...state.settings],
    [...state.customSettings],
    state.channels,
    state.preparedStatements.map(({ name, statement, parameterTypes }) => [name, statement, parameterTypes]),
    null,
    state.pins.filter((pin) => pin.kind === 'advisory-lock').map(() => '0 1 1 ExclusiveLock'),
    null,
    state.searchPath,
  ];
  return Buffer.from(JSON.stringify(items)).toString('base64');
}

/** Everything works, and the check finds `state`. */
function obedient(state: SessionSnapshot): ScriptedRunner {
  return new ScriptedRunner((ran) => (ran === 'check' ? state : null));
}

describe('the plan of a restore', () => {
  it('is in the order in which each step is possible', () => {
    const snapshot: SessionSnapshot = {
      ...BASELINE,
      sessionUser: 'other',
      sessionAuthorization: 'other',
      currentUser: 'tenant',
      role: 'tenant',
      settings: new Map([
        ['client_encoding', 'LATIN1'],
        ['DateStyle', 'ISO, DMY'],
        ['search_path', '"$user", public'],
      ]),
      customSettings: new Map([
        ['app.a', ''],
        ['app.b', null],
      ]),
      channels: ['x'],
      preparedStatements: [prepared('p', 'PREPARE p AS SELECT 1')],
    };
    expect(planRestore(snapshot, { ...BASELINE, settings: new Map([['jit', 'off']]) })).toEqual({
      kind: 'plan',
      identity: [
        ['session_authorization', 'other'],
        ['role', 'tenant'],
      ],
      settings: [
        ['search_path', '"$user", public'],
        ['DateStyle', 'ISO, DMY'],
        ['jit', null],
        ['app.a', ''],
      ],
      clientEncoding: [['client_encoding', 'LATIN1']],
      channels: ['x'],
      preparedStatements: snapshot.preparedStatements,
      baselineIsComplete: false,
    });
  });

  it('sets the role again where the user changes, even to the same role', () => {
    const snapshot = {
      ...BASELINE,
      sessionUser: 'other',
      sessionAuthorization: 'other',
      role: 'r',
      currentUser: 'r',
    };
    const plan = planRestore(snapshot, { ...BASELINE, role: 'r', currentUser: 'r' });
    expect(plan).toMatchObject({
      identity: [
        ['session_authorization', 'other'],
        ['role', 'r'],
      ],
    });
  });

  it('is refused where a custom setting that was never set has a value on the new connection', () => {
    const never = { ...BASELINE, customSettings: new Map([['app.t', null]]) };
    const set = { ...BASELINE, customSettings: new Map([['app.t', '']]) };
    expect(planRestore(never, set)).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('"app.t"'),
    });
  });

  it.each([
    ['PREPARE p AS SELECT 1; DELETE FROM account', false],
    ['DELETE FROM account; PREPARE p AS SELECT 1', false],
    [String.raw`PREPARE p AS SELECT 'a\'`, false],
    [`PREPARE p AS SELECT ';'`, false],
    ['/* x */ DELETE FROM account', false],
    [' prepare\np AS SELECT 1 ;\n', true],
    ['PREPARE p AS SELECT 1 -- remark', true],
  ])('runs the text of an SQL PREPARE again only if it can be nothing else: %s', (statement, isSafe) => {
    const plan = planRestore({ ...BASELINE, preparedStatements: [prepared('p', statement)] }, BASELINE);
    expect(plan.kind).toBe(isSafe ? 'plan' : 'refused');
  });
});

describe('a restore', () => {
  const wanted: SessionSnapshot = {
    ...BASELINE,
    settings: new Map([['work_mem', '5MB']]),
    channels: ['a"b'],
  };

  it('is believed only if the check finds every byte', async () => {
    expect(await restoreSession(obedient(wanted), wanted, BASELINE)).toEqual({ kind: 'restored' });
    for (const change of [
      { channels: [] },
      { settings: new Map([['work_mem', '6MB']]) },
      { currentUser: 'x' },
    ]) {
      const result = await restoreSession(obedient({ ...wanted, ...change }), wanted, BASELINE);
      expect(result.kind).toBe('refused');
      expect(JSON.stringify(result)).not.toMatch(/[56]MB/);
    }
  });

  it('is refused if the new connection is not a fresh one', async () => {
    const used = { ...BASELINE, pins: [{ kind: 'advisory-lock', names: [] }] as const };
    const runner = obedient(wanted);
    expect(await restoreSession(runner, wanted, used)).toMatchObject({ kind: 'refused' });
    expect(runner.ran).toEqual([]);
    expect(await restoreSession(obedient({ ...wanted, pins: used.pins }), wanted, BASELINE)).toMatchObject({
      kind: 'refused',
    });
  });

  it('asks the new connection where its baseline leaves a name unsaid', async () => {
    const named = { ...BASELINE, customSettings: new Map([['app.t', null]]) };
    const tenant = { ...BASELINE, customSettings: new Map([['app.t', 'b']]) };
    expect(await restoreSession(obedient(named), named, BASELINE)).toEqual({ kind: 'restored' });
    expect(await restoreSession(obedient(tenant), named, BASELINE)).toMatchObject({ kind: 'refused' });
  });

  it('finds what the new connection has too much', async () => {
    const loud = { ...BASELINE, channels: ['extra'] };
    expect(await restoreSession(obedient(loud), BASELINE, loud)).toMatchObject({ kind: 'refused' });
  });

  it('sends nothing after settings that were refused', async () => {
    const runner = new ScriptedRunner(() => new SqlError('invalid value "5MB"', '22023', 'ERROR'));
    const result = await restoreSession(runner, wanted, BASELINE);
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('22023') });
    expect(result).not.toMatchObject({ reason: expect.stringContaining('5MB') });
    expect(runner.ran).toEqual([[['work_mem', '5MB']]]);
  });

  it('tries the settings before the role where the role may not make them', async () => {
    const snapshot = {
      ...BASELINE,
      role: 'tenant',
      currentUser: 'tenant',
      settings: new Map([['work_mem', '5MB']]),
    };
    const runner = new ScriptedRunner((ran) => {
      if (ran === 'check') return snapshot;
      return JSON.stringify(ran).startsWith('[["role"') ? new SqlError('no', '42501', 'ERROR') : null;
    });
    expect(await restoreSession(runner, snapshot, BASELINE)).toEqual({ kind: 'restored' });
    const role = ['role', 'tenant'];
    const setting = ['work_mem', '5MB'];
    expect(runner.ran).toEqual([[role, setting], [setting, role], 'check']);
  });

  it('names what could not be made again, and quotes identifiers', async () => {
    const runner = new ScriptedRunner((ran) =>
      ran === 'LISTEN "a""b"' ? new SqlError('no', '42501', 'ERROR') : wanted,
    );
    const result = await restoreSession(runner, wanted, BASELINE);
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('LISTEN "a"b"') });
  });

  it.each([
    new Error('connection lost'),
    new SqlError('terminating connection', '57P01', 'FATAL'),
    new SqlError('closed for repair', 'XX000', 'FATAL'),
    ...['57014', '53200', '40P01', '40001', '55P03', '25006'].map(
      (code) => new SqlError('not now', code, 'ERROR'),
    ),
  ])('rejects with what lies in the moment, wherever it happens: %s', async (error) => {
    const places = [
      (ran: unknown) => Array.isArray(ran),
      (ran: unknown) => ran === 'LISTEN "a""b"',
      (ran: unknown) => ran === 'check',
    ];
    for (const isPlace of places) {
      const runner = new ScriptedRunner((ran) => (isPlace(ran) ? error : ran === 'check' ? wanted : null));
      await expect(restoreSession(runner, wanted, BASELINE)).rejects.toBe(error);
    }
  });

  it('is refused if the state can not be read back', async () => {
    const runner = new ScriptedRunner((ran) =>
      ran === 'check' ? new SqlError('no', '42501', 'ERROR') : null,
    );
    expect(await restoreSession(runner, wanted, BASELINE)).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('read back (42501)'),
    });
  });
});
