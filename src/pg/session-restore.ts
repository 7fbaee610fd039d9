/**
 * Brings a fresh connection to the state of a lost session (R8): by value, never by running the application's
 * statements again, and proved by reading everything back before anything else may run. What can't be made equal is
 * refused, because a session that differs silently shows one tenant another's rows (design review A8).
 *
 * After a refusal or a rejection the connection may hold part of the state: close it.
 */

import { checkSession, SessionStateError } from './session-check.ts';
import { pinReason, sessionDifferences, settingValue } from './session-snapshot.ts';
import type { SessionSnapshot, SqlPreparedStatement } from './session-snapshot.ts';
import { quoteIdentifier } from './sql/quote-sql.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';

/** `reason` is for the user and holds names and SQLSTATEs, never values. */
export type RestoreResult =
  { readonly kind: 'restored' } | { readonly kind: 'refused'; readonly reason: string };

/** A setting and its value; `null` resets it. */
type SettingStep = readonly [name: string, value: string | null];

/** What a connection lacks. Pure data, so that it can be tested without a server. */
export interface RestorePlan {
  /** `session_authorization` and `role`, in this order. */
  readonly identity: readonly SettingStep[];
  readonly settings: readonly SettingStep[];
  /** Set after everything that carries text of the application's. */
  readonly clientEncoding: readonly SettingStep[];
  readonly channels: readonly string[];
  readonly preparedStatements: readonly SqlPreparedStatement[];
  /** False if the new connection's baseline leaves something unsaid that the snapshot knows. */
  readonly baselineIsComplete: boolean;
}

const RESTORED: RestoreResult = { kind: 'restored' };

/**
 * Restores `snapshot` on the connection behind `runner`, which must be idle, untouched since `baseline` was taken from
 * it, and dialled with the same startup packet as the lost one.
 *
 * No round trip if there is nothing to restore, else two: the settings; then LISTEN, PREPARE and the check, sent
 * without waiting for each other. A third where a setting needs the rights from before SET ROLE.
 *
 * Rejects, like the runner, if the connection is lost, and with an error that lies in the moment (R10): try again, on a
 * new connection.
 */
export async function restoreSession(
  runner: SqlRunner,
  snapshot: SessionSnapshot,
  baseline: SessionSnapshot,
): Promise<RestoreResult> {
  const pinned = pinReason(snapshot);
  if (pinned !== null) return refused(pinned);
  const used = pinReason(baseline);
  if (used !== null) return refused(`the new connection is not a fresh one: ${used}`);
  const plan = planRestore(snapshot, baseline);
  if (plan.kind === 'refused') return plan;
  if (plan.baselineIsComplete && sessionDifferences(snapshot, baseline).length === 0) return RESTORED;
  return (await restoreSettings(runner, plan)) ?? (await restoreRest(runner, plan, snapshot));
}

/** Which steps lead from `baseline` to `snapshot`. Refuses what no statement can bring about. */
export function planRestore(
  snapshot: SessionSnapshot,
  baseline: SessionSnapshot,
): ({ readonly kind: 'plan' } & RestorePlan) | { readonly kind: 'refused'; readonly reason: string } {
  const steps = new Map<string, string | null>();
  for (const [name, value] of snapshot.settings) {
    if (value !== settingValue(baseline, name)) steps.set(name, value);
  }
  // A login trigger or a pooler may have set what the lost session had reset.
  for (const name of baseline.settings.keys()) {
    if (settingValue(snapshot, name) === undefined) steps.set(name, null);
  }
  for (const [name, value] of snapshot.customSettings) {
    const present = settingValue(baseline, name);
    if (value === present || steps.has(name)) continue;
    if (value !== null) steps.set(name, value);
    else if (present !== undefined) {
      return refused(`setting "${name}" was never set in the session, but is set on every new connection`);
    }
  }
  const unpreparable = snapshot.preparedStatements.find((prepared) => !isPreparable(prepared));
  if (unpreparable !== undefined) {
    return refused(
      `statement "${unpreparable.name}" was made by an SQL PREPARE whose text can't safely be run again ` +
        '(it was one of several statements in a string, or holds a semicolon or a backslash)',
    );
  }
  return {
    kind: 'plan',
    identity: planIdentity(snapshot, baseline),
    settings: [...steps].filter(([name]) => name !== 'client_encoding').sort(searchPathFirst),
    clientEncoding: [...steps].filter(([name]) => name === 'client_encoding'),
    channels: snapshot.channels.filter((channel) => !baseline.channels.includes(channel)),
    preparedStatements: snapshot.preparedStatements.filter(
      ({ name }) => !baseline.preparedStatements.some((prepared) => prepared.name === name),
    ),
    baselineIsComplete: [...snapshot.customSettings.keys()].every(
      (name) => settingValue(baseline, name) !== undefined,
    ),
  };
}

/** The session's user first: changing it resets the role. */
function planIdentity(snapshot: SessionSnapshot, baseline: SessionSnapshot): readonly SettingStep[] {
  const steps: SettingStep[] = [];
  const isOtherUser = snapshot.sessionAuthorization !== baseline.sessionAuthorization;
  if (isOtherUser) steps.push(['session_authorization', snapshot.sessionAuthorization]);
  if (isOtherUser || snapshot.role !== baseline.role) steps.push(['role', snapshot.role]);
  return steps;
}

function searchPathFirst([one]: SettingStep, [two]: SettingStep): number {
  return Number(two === 'search_path') - Number(one === 'search_path');
}

/**
 * The server keeps the whole string that held the PREPARE. With another statement in it, running it again would run
 * that one twice; what a backslash means depends on standard_conforming_strings at the time, which nobody recorded.
 */
function isPreparable({ statement }: SqlPreparedStatement): boolean {
  return /^\s*prepare\s[^;\\]*;?\s*$/i.test(statement);
}

/** `null` if all is well. One statement: if one step fails, none has happened. */
async function restoreSettings(runner: SqlRunner, plan: RestorePlan): Promise<RestoreResult | null> {
  const { identity, settings } = plan;
  if (identity.length + settings.length === 0) return null;
  let failure = await trySettings(runner, [...identity, ...settings]);
  // What SET ROLE took away may be what a setting needs (a superuser sets log_statement, then SET ROLE app).
  if (failure?.code === '42501' && identity.length > 0 && settings.length > 0) {
    failure = await trySettings(runner, [...settings, ...identity]);
  }
  if (failure === null) return null;
  const names = [...identity, ...settings].map(([name]) => `"${name}"`).join(', ');
  return refused(
    `the server refuses to set again what the session had set (${failure.code}): one of ${names}`,
  );
}

// One array, one scan, one row after the other: the order of the steps. `OPERATOR` since search_path may be anyone's.
const SET_SQL = `
SELECT pg_catalog.count(pg_catalog.set_config(
  step.value OPERATOR(pg_catalog.->>) 0, step.value OPERATOR(pg_catalog.->>) 1, false))
FROM pg_catalog.json_array_elements(pg_catalog.convert_from(
  pg_catalog.decode($1::pg_catalog.text, 'base64'), 'UTF8')::pg_catalog.json) AS step(value)`;

async function trySettings(runner: SqlRunner, steps: readonly SettingStep[]): Promise<SqlError | null> {
  // Base64 because the parameter is read in the connection's client_encoding, whatever that is.
  const parameter = Buffer.from(JSON.stringify(steps)).toString('base64');
  try {
    await runner.run(SET_SQL, [parameter]);
    return null;
  } catch (error) {
    return asRefusal(error);
  }
}

/** LISTEN, PREPARE, client_encoding and the check, written without waiting; the runner keeps their order. */
async function restoreRest(
  runner: SqlRunner,
  plan: RestorePlan,
  snapshot: SessionSnapshot,
): Promise<RestoreResult> {
  const steps: readonly { readonly what: string; readonly failure: Promise<SqlError | null> }[] = [
    ...plan.channels.map((channel) => ({
      what: `LISTEN "${channel}"`,
      failure: tryStatement(runner, `LISTEN ${quoteIdentifier(channel)}`),
    })),
    ...plan.preparedStatements.map(({ name, statement }) => ({
      what: `PREPARE "${name}"`,
      failure: tryStatement(runner, statement),
    })),
    ...plan.clientEncoding.map((step) => ({
      what: `setting "${step[0]}"`,
      failure: trySettings(runner, [step]),
    })),
  ];
  const checking = verify(runner, snapshot);
  // All have ended before anything is decided, so that no rejection goes unhandled.
  await Promise.allSettled([...steps.map((step) => step.failure), checking]);
  for (const { what, failure } of steps) {
    const error = await failure;
    if (error !== null) return refused(`the server refuses to restore ${what} (${error.code})`);
  }
  return await checking;
}

async function tryStatement(runner: SqlRunner, sql: string): Promise<SqlError | null> {
  try {
    await runner.run(sql);
    return null;
  } catch (error) {
    return asRefusal(error);
  }
}

async function verify(runner: SqlRunner, snapshot: SessionSnapshot): Promise<RestoreResult> {
  // Settings of a library that is not loaded here yet are hidden from pg_settings: ask for them by name.
  const names = [...snapshot.customSettings.keys(), ...snapshot.settings.keys()];
  try {
    const actual = await checkSession(runner, names);
    const differences = sessionDifferences(snapshot, actual);
    if (differences.length > 0) return refused(`not restored exactly: ${differences.join(', ')}`);
    const pinned = pinReason(actual);
    return pinned === null ? RESTORED : refused(`the restored session is not as it was: ${pinned}`);
  } catch (error) {
    if (error instanceof SessionStateError) return refused(error.message);
    return refused(`the restored state can't be read back (${asRefusal(error).code})`);
  }
}

/**
 * SQLSTATEs that say nothing about the session's state but only about the moment or this server (R10): connection
 * (08), transaction rollback (40), resources (53), operator intervention and timers (57), system (58), a lock not
 * available (55P03), a server in recovery (25006), and the idle timers (25P03, 25P04).
 */
const OF_THE_MOMENT = /^(?:08|40|53|57|58|55P03|25006|25P03|25P04)/;

/** The server's refusal; throws what is none. */
function asRefusal(error: unknown): SqlError {
  if (!(error instanceof SqlError) || error.severity !== 'ERROR' || OF_THE_MOMENT.test(error.code))
    throw error;
  return error;
}

function refused(reason: string): { readonly kind: 'refused'; readonly reason: string } {
  return { kind: 'refused', reason };
}
