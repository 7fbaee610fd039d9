import { describe, expect, it } from 'vitest';
import { readSessionCheck, sessionCheckSql, SessionStateError } from '../../../src/pg/session-check.ts';
import {
  isPristine,
  pinReason,
  sessionDifferences,
  type SessionSnapshot,
} from '../../../src/pg/session-snapshot.ts';

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

const PREPARED = { name: 'p', statement: 'PREPARE p AS SELECT 1', parameterTypes: '' };

describe('two sessions differ', () => {
  const changes: readonly (readonly [what: string, change: Partial<SessionSnapshot>])[] = [
    ['session authorization', { sessionUser: 'other' }],
    ['session authorization', { sessionAuthorization: 'other' }],
    ['role', { role: 'tenant' }],
    ['role', { currentUser: 'tenant' }],
    ['setting "work_mem"', { settings: new Map([['work_mem', '']]) }],
    ['setting "app.t"', { customSettings: new Map([['app.t', '']]) }],
    ['LISTEN "a"', { channels: ['a'] }],
    ['PREPARE "p"', { preparedStatements: [PREPARED] }],
  ];

  it.each(changes)('by %s, whichever has it', (what, change) => {
    expect(sessionDifferences({ ...BASELINE, ...change }, BASELINE)).toEqual([what]);
    expect(sessionDifferences(BASELINE, { ...BASELINE, ...change })).toEqual([what]);
    expect(isPristine({ ...BASELINE, ...change }, BASELINE)).toBe(false);
  });

  it('by every byte of a value', () => {
    const withValue = (value: string | null): SessionSnapshot => ({
      ...BASELINE,
      customSettings: new Map([['app.t', value]]),
    });
    for (const [one, two] of [
      ['a', 'A'],
      ['a', 'a '],
      ['ü', 'u\u0308'],
      ['', null],
    ] as const) {
      expect(sessionDifferences(withValue(one), withValue(two))).toEqual(['setting "app.t"']);
    }
  });

  it('by the text and the types of a statement of the same name', () => {
    const session = { ...BASELINE, preparedStatements: [PREPARED] };
    for (const change of [{ statement: 'PREPARE p AS SELECT 2' }, { parameterTypes: '23' }]) {
      const other = { ...BASELINE, preparedStatements: [{ ...PREPARED, ...change }] };
      expect(sessionDifferences(session, other)).toEqual(['PREPARE "p"']);
    }
  });

  it('not if a setting of a library is found under settings in one and by its name in the other', () => {
    const loaded = { ...BASELINE, settings: new Map([['lib.level', '1']]) };
    const hidden = { ...BASELINE, customSettings: new Map([['lib.level', '1']]) };
    expect(sessionDifferences(loaded, hidden)).toEqual([]);
    expect(sessionDifferences(hidden, loaded)).toEqual([]);
    expect(sessionDifferences(loaded, BASELINE)).toEqual(['setting "lib.level"']);
  });

  it('if only one of them was asked, unless the later one was never set', () => {
    const never = { ...BASELINE, customSettings: new Map([['app.t', null]]) };
    expect(isPristine(never, BASELINE)).toBe(true);
    expect(isPristine(BASELINE, never)).toBe(false);
  });
});

describe('a pinned session', () => {
  it('says all its reasons and their names', () => {
    const pins = [
      { kind: 'temporary-object', names: ['table pg_temp.a', 'view pg_temp.b'] },
      { kind: 'loaded-library', names: [] },
    ] as const;
    expect(pinReason({ ...BASELINE, pins })).toBe(
      'the session holds temporary objects, which die with their server connection (table pg_temp.a, view pg_temp.b); ' +
        'a library loaded with LOAD, whose state in the server process is unknown',
    );
    expect(pinReason(BASELINE)).toBeNull();
    expect(isPristine({ ...BASELINE, pins }, BASELINE)).toBe(false);
  });
});

describe('the answer to the check', () => {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');

  it('is read into a snapshot', () => {
    const lines = encode([
      'app',
      'tenant',
      'app',
      'tenant',
      [
        ['work_mem', '5MB'],
        ['Lib.Level', '1'],
      ],
      [['app.t', null]],
      ['b', 'a'],
      [['p', PREPARED.statement, '']],
      null,
      ['0 7 1 ExclusiveLock'],
      ['c'],
      'evil, public',
    ]).replace(/(.{76})/g, '$1\n');
    expect(readSessionCheck([[lines]], [{ kind: 'random-seed', names: [] }])).toEqual({
      sessionUser: 'app',
      currentUser: 'tenant',
      sessionAuthorization: 'app',
      role: 'tenant',
      searchPath: 'evil, public',
      settings: new Map([
        ['work_mem', '5MB'],
        ['lib.level', '1'],
      ]),
      customSettings: new Map([['app.t', null]]),
      channels: ['a', 'b'],
      preparedStatements: [PREPARED],
      pins: [
        { kind: 'advisory-lock', names: ['0 7 1 ExclusiveLock'] },
        { kind: 'hold-cursor', names: ['c'] },
        { kind: 'random-seed', names: [] },
      ],
    });
  });

  it('is refused if it is none, of another form, too large or not text', () => {
    const nulls = [null, null, null, null, null, null, null, ''];
    const whole = JSON.stringify(['app', 'app', 'app', 'none', [['x', '?']], ...nulls.slice(1)]);
    const strange = Buffer.from(whole.replace('?', '\u00ff'), 'latin1').toString('base64');
    for (const rows of [
      [],
      [[null]],
      [[encode('app')]],
      [[encode(['app', 'app', 'app', 1, ...nulls])]],
      [[encode(['app', 'app', 'app', 'none', [['x', null]], ...nulls.slice(1)])]],
      [['A'.repeat(5_000_000)]],
      [[strange]],
    ]) {
      expect(() => readSessionCheck(rows)).toThrow(SessionStateError);
    }
  });

  it('is read whatever characters it holds', () => {
    const value = '\ufeffü €\n"';
    const answer = encode([
      'app',
      'app',
      'app',
      'none',
      [['x', value]],
      null,
      null,
      null,
      null,
      null,
      null,
      '',
    ]);
    expect(readSessionCheck([[answer]]).settings.get('x')).toBe(value);
  });

  it('is asked for with every custom name once and no character that means something in SQL', () => {
    const bare = sessionCheckSql([]).length;
    expect(sessionCheckSql(['A.b', 'a.B', 'work_mem'])).toBe(sessionCheckSql(['a.b']));
    expect(sessionCheckSql([`a.'; --`]).slice(0, bare)).not.toContain('--');
  });
});
