/**
 * What a server session consists of beyond its data, by value: everything that a new connection must be given before
 * the application may run anything on it (R8), and the *pins*, which no new connection can be given.
 *
 * A snapshot holds only what the server itself said (facts/postgres-failover.md section 10), never what statement
 * text promised. It holds setting values, which may be secrets: never put one into a message, an event or a log.
 */

/** Why a session can't be moved to another connection. */
export type SessionPinKind =
  /** Anything in the session's temporary schema: tables, views, sequences, functions, types. */
  | 'temporary-object'
  /** A session-level advisory lock; another session may have taken it since. */
  | 'advisory-lock'
  /** A cursor WITH HOLD that outlived its transaction: its rows are in the old server's memory. */
  | 'hold-cursor'
  /** LOAD: what the library set up in the backend is unknown. Known from statements only. */
  | 'loaded-library'
  /** setseed(): the generator's position is unknown. Known from statements only. */
  | 'random-seed'
  /** The session's role was renamed under it, so that its name may now mean somebody else. */
  | 'renamed-role';

export interface SessionPin {
  readonly kind: SessionPinKind;
  /** All names, or the first ones, as asked for. Those of advisory locks are their keys: values of the application's, never to be shown. */
  readonly names: readonly string[];
}

/** Names that a message shows. */
const SHOWN_NAMES = 3;

/** A statement made by SQL PREPARE; those of the wire protocol belong to the journal. */
export interface SqlPreparedStatement {
  readonly name: string;
  /** The whole source text that held the PREPARE, as the server keeps it. */
  readonly statement: string;
  /** OIDs of the parameter types, comma separated; equal on all physical copies of a cluster. */
  readonly parameterTypes: string;
}

export interface SessionSnapshot {
  /** Who the session is (`session_user`). */
  readonly sessionUser: string;
  /** Whose rights it has (`current_user`). */
  readonly currentUser: string;
  /** The setting `session_authorization`, which pg_settings does not show. */
  readonly sessionAuthorization: string;
  /** The setting `role`, which pg_settings does not show; 'none' when no SET ROLE is in effect. */
  readonly role: string;
  /** The search_path in force, from whatever source: how unqualified names are read. Not compared, not restored. */
  readonly searchPath: string;
  /**
   * Settings made in the session (pg_settings, source 'session'), as `current_setting` spells them. What came with the
   * startup packet or from ALTER ROLE/DATABASE … SET is not here: it comes by itself on every new connection. Names
   * with a dot (of libraries) are in lower case.
   * Reals are known to the six digits that the server shows.
   */
  readonly settings: ReadonlyMap<string, string>;
  /**
   * The custom settings asked for, which pg_settings does not show, names in lower case; `null` was never set, which
   * differs from the '' that RESET or the end of SET LOCAL leaves behind.
   */
  readonly customSettings: ReadonlyMap<string, string | null>;
  /** LISTEN channels, sorted. */
  readonly channels: readonly string[];
  /** SQL PREPARE, sorted by name. */
  readonly preparedStatements: readonly SqlPreparedStatement[];
  readonly pins: readonly SessionPin[];
}

const PIN_TEXT: Record<SessionPinKind, string> = {
  'temporary-object': 'temporary objects, which die with their server connection',
  'advisory-lock': 'session-level advisory locks, which are lost with their server connection',
  'hold-cursor': 'open WITH HOLD cursors, whose rows are lost with their server connection',
  'loaded-library': 'a library loaded with LOAD, whose state in the server process is unknown',
  'random-seed': 'a random sequence started with setseed, whose position is unknown',
  'renamed-role': 'a role that was renamed while in use, so that its name no longer says who it is',
};

/** Why the session can't be moved to a new connection, in words for the user; `null` if it can (R7, R8). */
export function pinReason(snapshot: SessionSnapshot): string | null {
  if (snapshot.pins.length === 0) return null;
  const parts = snapshot.pins.map((pin) => {
    const names = shownNames(pin);
    return PIN_TEXT[pin.kind] + (names.length === 0 ? '' : ` (${names.join(', ')})`);
  });
  return `the session holds ${parts.join('; ')}`;
}

/** The names of a pin that a message may hold. */
export function shownNames(pin: SessionPin): readonly string[] {
  return pin.kind === 'advisory-lock' ? [] : pin.names.slice(0, SHOWN_NAMES);
}

/** What an application can rebuild on a new connection: all but a role, which is somebody's rights. */
export function isRebuildable(pin: SessionPin): boolean {
  return pin.kind !== 'renamed-role';
}

/** True for what the server does not show: known from statements only. */
export function isInvisible(pin: SessionPin): boolean {
  return pin.kind === 'loaded-library' || pin.kind === 'random-seed';
}

/** Those of the pins that are in part or wholly missing among `present`. */
export function missingPins(
  pins: readonly SessionPin[],
  present: readonly SessionPin[],
): readonly SessionPin[] {
  return pins.filter((pin) => {
    const there = new Set(present.flatMap(({ kind, names }) => (kind === pin.kind ? names : [])));
    return !isInvisible(pin) && !pin.names.every((name) => there.has(name));
  });
}

/**
 * Names of what differs between two sessions, e.g. `setting "work_mem"`; empty if they are alike. Values are compared
 * bytewise and never shown. Pins are not compared.
 *
 * A custom setting that only one of the two was asked for counts as different: what is not known is never taken as
 * equal. One exception: `session` found it never set and `other`, an earlier state, was not asked, because no session
 * can go back to never set. If `other` is not an earlier state, it must have been asked for all names of `session`.
 */
export function sessionDifferences(session: SessionSnapshot, other: SessionSnapshot): readonly string[] {
  const found: string[] = [];
  if (
    session.sessionUser !== other.sessionUser ||
    session.sessionAuthorization !== other.sessionAuthorization
  ) {
    found.push('session authorization');
  }
  if (session.role !== other.role || session.currentUser !== other.currentUser) found.push('role');
  const settingNames = [session.settings, other.settings, session.customSettings, other.customSettings];
  for (const name of unionOfKeys(...settingNames)) {
    const value = settingValue(session, name);
    const otherValue = settingValue(other, name);
    const neverSet = value === null && otherValue === undefined;
    if (value !== otherValue && !neverSet) found.push(`setting "${name}"`);
  }
  for (const channel of new Set([...session.channels, ...other.channels])) {
    if (session.channels.includes(channel) !== other.channels.includes(channel))
      found.push(`LISTEN "${channel}"`);
  }
  const statements = statementsByName(session);
  const otherStatements = statementsByName(other);
  for (const name of unionOfKeys(statements, otherStatements)) {
    if (!isSameStatement(statements.get(name), otherStatements.get(name))) found.push(`PREPARE "${name}"`);
  }
  return found;
}

/** True if the session is as its connection was dialled: nothing to restore and nothing that pins it. */
export function isPristine(snapshot: SessionSnapshot, baseline: SessionSnapshot): boolean {
  return snapshot.pins.length === 0 && sessionDifferences(snapshot, baseline).length === 0;
}

/**
 * A setting's value if the session is known to have one of its own; `null` for a custom one never set; `undefined` if
 * it was not set in the session or not asked for.
 *
 * A setting with a dot can be in either map: the server shows it in pg_settings once the library that owns it is
 * loaded, which need not be so on both connections.
 */
export function settingValue(snapshot: SessionSnapshot, name: string): string | null | undefined {
  const value = snapshot.settings.get(name);
  if (value !== undefined || !name.includes('.')) return value;
  return snapshot.customSettings.get(name);
}

/** A custom setting's name as this package spells it: the server folds ASCII letters, and only those. */
export function asSettingName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function unionOfKeys(...maps: readonly ReadonlyMap<string, unknown>[]): ReadonlySet<string> {
  return new Set(maps.flatMap((map) => [...map.keys()]));
}

function statementsByName(snapshot: SessionSnapshot): ReadonlyMap<string, SqlPreparedStatement> {
  return new Map(snapshot.preparedStatements.map((prepared) => [prepared.name, prepared]));
}

function isSameStatement(
  one: SqlPreparedStatement | undefined,
  two: SqlPreparedStatement | undefined,
): boolean {
  return one?.statement === two?.statement && one?.parameterTypes === two?.parameterTypes;
}
