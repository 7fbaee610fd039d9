import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkSession } from '../../../src/pg/session-check.ts';
import { pinReason } from '../../../src/pg/session-snapshot.ts';
import { cleanSession, nextCleanliness, stateAfterLoss } from '../../../src/session/session-cleanliness.ts';
import { SessionLab, valueOf } from '../../support/session-lab.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';

/** How a session is pinned, and words that must be in the reason. */
const PINS: readonly (readonly [words: string, ...statements: string[]])[] = [
  [
    'temporary objects, which die with their server connection (table pg_temp.t)',
    'CREATE TEMP TABLE t (i int)',
  ],
  ['temporary objects', 'SELECT 1 AS i INTO TEMP t'],
  ['temporary objects', 'CREATE TEMP VIEW v AS SELECT 1'],
  ['temporary objects', 'CREATE TEMP SEQUENCE s'],
  ['temporary objects', 'CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$'],
  ['temporary objects', 'CREATE TYPE pg_temp.e AS ENUM ()'],
  ['session-level advisory locks', 'SELECT pg_advisory_lock(1)'],
  ['session-level advisory locks', 'SELECT pg_try_advisory_lock_shared(1, 2)'],
  ['session-level advisory locks', 'BEGIN', 'SELECT hold_lock()', 'ROLLBACK'],
  ['open WITH HOLD cursors', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'],
];

/** What pins a session no longer. */
const RELEASED: readonly (readonly string[])[] = [
  ['CREATE TEMP TABLE t (i int)', 'DROP TABLE t'],
  ['CREATE TEMP TABLE t (i int)', 'DISCARD TEMP'],
  ['BEGIN', 'CREATE TEMP TABLE t (i int) ON COMMIT DROP', 'COMMIT'],
  ['SELECT pg_advisory_lock(1)', 'SELECT pg_advisory_unlock(1)'],
  ['BEGIN', 'SELECT pg_advisory_xact_lock(1)', 'COMMIT'],
  ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'CLOSE c'],
  ['BEGIN', 'DECLARE c CURSOR FOR SELECT 1', 'COMMIT'],
];

describe.each(['14', '15', '17', '18'])('a session of PostgreSQL %s that can not be moved', (version) => {
  let lab: SessionLab;
  beforeAll(async () => {
    lab = await SessionLab.start(version);
  });
  afterEach(async () => {
    await lab.hangUp();
  });
  afterAll(async () => {
    await lab.stop();
  });

  it.each(PINS)('is refused because of %s: %s', async (words, ...statements) => {
    const { snapshot, result, statements: sent } = await lab.move(statements);
    expect(pinReason(snapshot)).toContain(words);
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining(words) });
    expect(sent).toHaveLength(0);
  });

  it.each(RELEASED)('is one no longer after %s, %s', async (...statements) => {
    const { snapshot, result } = await lab.move(statements);
    expect(pinReason(snapshot)).toBeNull();
    expect(result).toEqual({ kind: 'restored' });
  });

  it('is refused because of what only its statements tell', async () => {
    const client = await lab.dial();
    const pins = [{ kind: 'random-seed', names: [] }] as const;
    const snapshot = await checkSession(sqlRunnerOver(client), [], { extraPins: pins });
    expect(pinReason(snapshot)).toContain('setseed');
  });

  it('is refused if a setting needs rights that the role has not, and no value is in the reason', async () => {
    const { result } = await lab.move(['SELECT audit_on()', `SELECT login('hush')`]);
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('42501') });
    expect(result).toMatchObject({ reason: expect.stringContaining('"log_min_duration_statement"') });
    expect(JSON.stringify(result)).not.toContain('hush');
  });

  it('is refused if the role may no longer be taken', async () => {
    const { result } = await lab.move(['SET ROLE powerless'], { meanwhile: 'REVOKE powerless FROM app' });
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('"role"') });
    await lab.cluster.primary.query('GRANT powerless TO app');
  });

  it('is refused if its role was renamed, since the name may be somebody else now', async () => {
    await lab.cluster.primary.query('CREATE ROLE early; GRANT early TO app');
    const old = await lab.dial();
    await old.query('SET ROLE early');
    await lab.cluster.primary.query('ALTER ROLE early RENAME TO late; CREATE ROLE early; GRANT early TO app');
    const snapshot = await checkSession(sqlRunnerOver(old), []);
    expect(snapshot).toMatchObject({ currentUser: 'late', role: 'early' });
    expect(pinReason(snapshot)).toContain('renamed');
    await lab.hangUp();
    await lab.cluster.primary.query('DROP ROLE early; DROP ROLE late');
  });

  it('is refused if a value is no longer valid', async () => {
    await lab.cluster.primary.query('CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler');
    const { result } = await lab.move(['SET default_table_access_method TO heap2'], {
      meanwhile: 'DROP ACCESS METHOD heap2',
    });
    expect(result).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('default_table_access_method'),
    });
  });

  it('is refused if a custom setting was never set, but is on every new connection', async () => {
    const { result } = await lab.move(['SELECT 1'], {
      meanwhile: `ALTER ROLE app SET app.tenant TO ''`,
    });
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('"app.tenant"') });
    await lab.cluster.primary.query('ALTER ROLE app RESET app.tenant');
  });

  it('keeps apart a custom setting that was never set and one that a rolled-back SET LOCAL left empty', async () => {
    const { fresh, snapshot, result } = await lab.move(['BEGIN', `SET LOCAL app.tenant TO 'a'`, 'ROLLBACK']);
    expect(snapshot.customSettings.get('app.tenant')).toBe('');
    expect(snapshot.customSettings.get('app.never')).toBeNull();
    expect(result).toEqual({ kind: 'restored' });
    expect(await valueOf(fresh, `SELECT current_setting('app.tenant', true)`)).toBe('');
    expect(await valueOf(fresh, `SELECT current_setting('app.never', true)`)).toBeNull();
  });

  it('is refused rather than that the neighbours of an SQL PREPARE run twice', async () => {
    const { result } = await lab.move([
      `PREPARE p AS SELECT 1; INSERT INTO account VALUES (3, 'a')`,
      'EXECUTE p',
    ]);
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('"p"') });
    expect(await valueOf(await lab.dial(), 'SELECT count(*) FROM account WHERE id = 3')).toBe('1');
  });

  it('is refused if an SQL PREPARE would now mean something else', async () => {
    const { result } = await lab.move(['CREATE TYPE thing AS ENUM ()', 'PREPARE p (thing) AS SELECT $1'], {
      meanwhile: 'DROP TYPE public.thing; CREATE TYPE public.thing AS ENUM ()',
    });
    expect(result).toMatchObject({ kind: 'refused', reason: expect.stringContaining('PREPARE "p"') });
    await lab.cluster.primary.query('DROP TYPE public.thing');
  });
});

describe('a tenant is set inside a function (design review A8)', () => {
  let lab: SessionLab;
  beforeAll(async () => {
    lab = await SessionLab.start('17');
  });
  afterAll(async () => {
    await lab.stop();
  });

  it('is found by the check and restored: the new connection sees the same rows', async () => {
    const { old, fresh, result } = await lab.move([`SELECT login('a')`], { custom: ['app.tenant'] });
    const seen = 'SELECT array_agg(id) FROM account';
    expect(await valueOf(old, seen)).toEqual([1]);
    expect(result).toEqual({ kind: 'restored' });
    expect(await valueOf(fresh, seen)).toEqual([1]);
  });

  it('is refused while it has not been read back, whatever is known of the settings', async () => {
    const client = await lab.dial();
    let state = cleanSession(await checkSession(sqlRunnerOver(client), ['app.tenant']));
    state = nextCleanliness(state, { kind: 'touched', reason: 'the function login' });
    await client.query(`SELECT login('a')`);
    state = nextCleanliness(state, { kind: 'touched', reason: 'the function login' });
    expect(stateAfterLoss(state)).toMatchObject({ kind: 'refuse', reason: expect.stringContaining('login') });
    state = nextCleanliness(state, { kind: 'check-began' });
    const snapshot = await checkSession(sqlRunnerOver(client), ['app.tenant']);
    state = nextCleanliness(state, { kind: 'check-finished', asOf: 2, snapshot });
    expect(stateAfterLoss(state)).toEqual({ kind: 'restore', snapshot });
    expect(snapshot.customSettings.get('app.tenant')).toBe('a');
  });
});
