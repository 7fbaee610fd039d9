import type { Ending, Proof } from '../session/loss-situation.ts';
import { endingOfCommands, mayEndTransaction, type Command } from './command-facts.ts';
import type { PgUnit } from './pg-unit.ts';
import { statementHeads } from './sql/leading-keywords.ts';
import { tokens } from './sql/lexer.ts';

/** What a unit's text says about transactions, by the lexer alone: known at once and without a server. */

function commandsOf(unit: PgUnit): readonly Command[] {
  const [first] = unit.texts;
  if (unit.texts.length === 1 && first !== undefined) return first.commands;
  return unit.texts.flatMap((text) => text.commands);
}

const SAVEPOINTS: ReadonlySet<Command> = new Set(['savepoint', 'release', 'rollback-to']);

/** What the unit does with the open transaction (R6, R11). */
export function endingOf(unit: PgUnit): Ending {
  const [first] = unit.texts;
  return unit.texts.length === 1 && first !== undefined ? first.ending : endingOfCommands(commandsOf(unit));
}

/** True if a transaction may be open behind the unit that it began. */
export function opensTransaction(unit: PgUnit): boolean {
  return unit.texts.some((text) => text.opensTransaction);
}

/**
 * True if it leaves nothing behind when its connection is lost before a COMMIT, so that it may run again: it begins a
 * transaction and does not end one.
 */
export function onlyOpens(unit: PgUnit): boolean {
  const commands = commandsOf(unit);
  return commands.includes('begin') && !commands.some(mayEndTransaction);
}

/** True if all of it sets up its session and does nothing else. */
export function isSessionCommand(unit: PgUnit): boolean {
  return unit.texts.length > 0 && unit.texts.every((text) => text.isSessionCommand);
}

/** True if it is one BEGIN or START TRANSACTION: it assigns no xid. */
export function isPlainBegin(unit: PgUnit): boolean {
  const commands = commandsOf(unit);
  return commands.length === 1 && commands[0] === 'begin';
}

/** True if it is only transaction control, savepoints included: it assigns no xid. */
export function isTransactionControl(unit: PgUnit): boolean {
  const commands = commandsOf(unit);
  return commands.length > 0 && commands.every((command) => command !== 'other' && command !== 'unknown');
}

/** True if it is about savepoints and nothing else. */
export function isAboutSavepoints(unit: PgUnit): boolean {
  const commands = commandsOf(unit);
  return commands.length > 0 && commands.every((command) => SAVEPOINTS.has(command));
}

/** True if it is one ROLLBACK that ends the transaction. */
export function isSoleRollback(unit: PgUnit): boolean {
  return endingOf(unit) === 'rollback';
}

/** What the wire has proved of a unit whose ReadyForQuery has not come. */
export function proofOf(unit: PgUnit): Proof {
  if (unit.committed) return 'committed';
  // Of several attempts that says something of the last one: an earlier one may be committed on the branch of the next
  // server, so the tokens are asked (A4).
  const isOnlyAttempt = unit.tokenKeys.length <= 1;
  if (unit.token?.refusal != null) return isOnlyAttempt ? 'rolled-back' : 'nothing';
  if (unit.error !== null) return isOnlyAttempt || unit.held === null ? 'failed' : 'nothing';
  // A simple query with one statement answers behind its commit; the extended protocol commits only at the Sync.
  if (unit.simple && unit.token === null && unit.completions === 1 && commandsOf(unit).length === 1)
    return 'completed';
  return 'nothing';
}

/** The identifier that a PREPARE TRANSACTION gives; null for anything else. */
export function preparedAs(unit: PgUnit): string | null {
  return endingOf(unit) === 'prepare' ? literalIn(unit) : null;
}

/** What a COMMIT PREPARED or ROLLBACK PREPARED ends, which is another transaction than its own; null for anything else. */
export function endedPrepared(
  unit: PgUnit,
): { readonly command: 'COMMIT PREPARED' | 'ROLLBACK PREPARED'; readonly identifier: string } | null {
  const commands = commandsOf(unit);
  const [command] = commands;
  if (commands.length !== 1 || (command !== 'commit-prepared' && command !== 'rollback-prepared'))
    return null;
  const identifier = literalIn(unit);
  if (identifier === null) return null;
  return { command: command === 'commit-prepared' ? 'COMMIT PREPARED' : 'ROLLBACK PREPARED', identifier };
}

/** The first plain string literal. */
function literalIn(unit: PgUnit): string | null {
  const text = unit.texts[0]?.text ?? '';
  for (const { kind, start, end } of tokens(text)) {
    if (kind !== 'string') continue;
    return text[start] === "'" ? text.slice(start + 1, end - 1).replaceAll("''", "'") : null;
  }
  return null;
}

/** True if it may put the connection into copy mode, where hidden extended messages would kill the COPY. */
export function mayCopyIn(unit: PgUnit): boolean {
  return unit.texts.some((text) => text.mayCopy);
}

/** First words of commands whose effect depends on who comes first: definitions and explicit locks. */
const DEFINITIONS: ReadonlySet<string> = new Set([
  'ALTER', 'CREATE', 'DROP', 'TRUNCATE', 'LOCK', 'GRANT', 'REVOKE', 'COMMENT', 'REINDEX', 'CLUSTER', 'REFRESH',
  'SECURITY', 'REASSIGN', 'IMPORT', 'VACUUM', 'ANALYZE',
]); // prettier-ignore

/** What asks for a lock only if it is free, or waits for a moment without writers. */
const MOMENT = /skip\s+locked|nowait|pg_try_advisory|deferrable/i;

/**
 * True if the unit's result depends on the moment in which it runs (design.md, "the phases"; B): its replay keeps the
 * recorded precedence. A unit taken for one without being one only costs time.
 */
export function isOrderSensitive(unit: PgUnit): boolean {
  if (unit.error !== null) return true;
  const commands = commandsOf(unit);
  if (commands.some((command) => command !== 'other' && command !== 'begin' && command !== 'savepoint'))
    return true;
  return unit.texts.some(
    ({ text }) =>
      MOMENT.test(text) || statementHeads(text).some(({ words }) => DEFINITIONS.has(words[0] ?? '')),
  );
}

/** True if the unit gives locks back while its transaction goes on (B). */
export function releasesLocks(unit: PgUnit): boolean {
  return commandsOf(unit).includes('rollback-to');
}

/** True if the unit may change which transaction is open: in a replay nothing is sent behind it before its answer. */
export function controlsTransaction(unit: PgUnit): boolean {
  return commandsOf(unit).some(
    (command) => command !== 'other' && command !== 'savepoint' && command !== 'release',
  );
}

/** Errors whose cause lies in the moment: they need not come again (B; R10). */
export function liesInTheMoment(sqlState: string): boolean {
  return (
    sqlState === '55P03' || // lock not available
    sqlState === '57014' || // cancelled, or a timeout
    sqlState === '40P01' || // deadlock
    sqlState === '40001' || // serialization failure
    sqlState.startsWith('53') // out of memory, disk or connections
  );
}

/** Name of the savepoint of a lone SAVEPOINT or ROLLBACK TO; null for anything else. */
export function savepointOf(
  unit: PgUnit,
): { readonly kind: 'savepoint' | 'rollback-to'; readonly name: string } | null {
  const commands = commandsOf(unit);
  const [command] = commands;
  if (commands.length !== 1 || (command !== 'savepoint' && command !== 'rollback-to')) return null;
  const name = /([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|"(?:[^"]|"")+")\s*;?\s*$/.exec(
    unit.texts[0]?.text ?? '',
  )?.[1];
  return name === undefined
    ? null
    : { kind: command, name: name.startsWith('"') ? name : name.toLowerCase() };
}
