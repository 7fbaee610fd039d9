import { abortable } from '../cluster/abortable.ts';
import type { LostState, OnReconnect } from '../options.ts';
import { BorrowedConnection } from './borrowed-connection.ts';
import { hiddenClientOn } from './hidden-client.ts';
import { settingsInCode } from './sql/custom-settings.ts';
import type { ServerConnection } from './server-connection.ts';
import { checkSession, SessionStateError } from './session-check.ts';
import {
  isInvisible,
  missingPins,
  sessionDifferences,
  shownNames,
  type SessionPin,
  type SessionSnapshot,
} from './session-snapshot.ts';
import { SqlError } from './sql-runner.ts';

/** `reason` is for the user and holds names and SQLSTATEs, never values. */
export type RebuildResult =
  | { readonly kind: 'rebuilt'; readonly snapshot: SessionSnapshot }
  | { readonly kind: 'refused'; readonly reason: string };

export interface RebuildOptions {
  readonly hook: OnReconnect;
  /** Of the application's client: how values are parsed. */
  readonly clientConfig: object;
  /** Settings with a dot in their names that the session may have. */
  readonly customNames: readonly string[];
  /** Aborting it destroys the connection too, so that no statement of the hook goes on. */
  readonly signal: AbortSignal;
}

/**
 * Lets the application rebuild what pins its session (R8), on a connection that has everything else of `snapshot`, and
 * proves what can be proved of it: names of objects and cursors, the keys of locks, and that nothing else has changed.
 *
 * Rejects if the connection is lost, or the signal says so: try again, on another connection (R10).
 */
export async function rebuildSession(
  connection: ServerConnection,
  snapshot: SessionSnapshot,
  options: RebuildOptions,
): Promise<RebuildResult> {
  const borrowed = new BorrowedConnection(connection);
  const failure = await runHook(borrowed, snapshot.pins, options);
  borrowed.giveBack();
  options.signal.throwIfAborted();
  // Not the hook's own error, which may be one that ends a failover (it may have used another pool).
  if (connection.isLost) throw new Error('the connection was lost again', { cause: failure });
  if (failure === null) return await prove(connection, borrowed, snapshot, options);
  // What an error says may hold values; its kind does not.
  return refused(`onReconnect failed (${codeOf(failure)})`);
}

async function runHook(
  borrowed: BorrowedConnection,
  pins: readonly SessionPin[],
  { hook, clientConfig, signal }: RebuildOptions,
): Promise<Error | null> {
  try {
    const client = await abortable(hiddenClientOn(borrowed.socket, clientConfig), signal);
    const lost = pins.map((pin) => ({ kind: pin.kind, names: [...shownNames(pin)] }) as LostState);
    await abortable(Promise.resolve(hook(client, lost)), signal);
    // What it has not waited for is waited for here: cut short it would be a rejection that nobody handles.
    await abortable(borrowed.quiet(), signal);
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function prove(
  connection: ServerConnection,
  borrowed: BorrowedConnection,
  before: SessionSnapshot,
  { customNames }: RebuildOptions,
): Promise<RebuildResult> {
  const own = settingsInCode(borrowed.texts);
  if (own.isDynamic) return refused('onReconnect may have set settings whose names are made when it runs');
  // Settings of a library that was not loaded before the hook are shown now: ask for all by name.
  const names = [...before.customSettings.keys(), ...before.settings.keys(), ...customNames, ...own.names];
  try {
    await borrowed.closeStatements();
    const snapshot = await checkSession(connection, names, {
      extraPins: before.pins.filter(isInvisible),
      withAllPins: true,
    });
    if (borrowed.isInTransaction) return refused('onReconnect has left a transaction open');
    const differences = sessionDifferences(snapshot, before);
    if (differences.length > 0) return refused(`onReconnect has changed ${differences.join(', ')}`);
    const [missing] = missingPins(before.pins, snapshot.pins);
    if (missing === undefined) return { kind: 'rebuilt', snapshot };
    const shown = shownNames(missing);
    return refused(
      `onReconnect has not rebuilt every ${missing.kind}${shown.length === 0 ? '' : ` (there were ${shown.join(', ')})`}`,
    );
  } catch (error) {
    if (error instanceof SessionStateError) return refused(error.message);
    if (error instanceof SqlError)
      return refused(`the state behind onReconnect can't be read (${error.code})`);
    throw error;
  }
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z_]{1,40}$/.test(code) ? code : error.name;
}

function refused(reason: string): RebuildResult {
  return { kind: 'refused', reason };
}
