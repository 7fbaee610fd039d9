import type { StatementHead } from './leading-keywords.ts';
import { statementHeads, upperCased } from './leading-keywords.ts';
import type { LexerOptions } from './lexer.ts';
import { tokens } from './lexer.ts';

/** What one statement does to the transaction, so far as its first words tell. */
export type TransactionCommand =
  | 'begin'
  | 'commit'
  | 'commit-and-chain'
  | 'rollback'
  | 'rollback-and-chain'
  | 'rollback-to'
  | 'savepoint'
  | 'release'
  | 'prepare-transaction'
  | 'commit-prepared'
  | 'rollback-prepared'
  | 'other';

/** True if no transaction, or another one, is open behind it. */
export function endsTransaction(command: TransactionCommand): boolean {
  return ENDING.has(command);
}

const ENDING: ReadonlySet<TransactionCommand> = new Set<TransactionCommand>([
  'commit',
  'commit-and-chain',
  'rollback',
  'rollback-and-chain',
  'prepare-transaction',
]);

/** Words that a BEGIN or START TRANSACTION may consist of. */
const BEGIN_WORDS = new Set(
  (
    'BEGIN START TRANSACTION WORK ISOLATION LEVEL SERIALIZABLE REPEATABLE READ COMMITTED UNCOMMITTED ONLY WRITE ' +
    'NOT DEFERRABLE'
  ).split(' '),
);
/** None of the commands can be spelled without one of these letter sequences; most texts have none of them. */
const MAY_END = /commit|end|abort|rollback|prepare/i;

/**
 * One command for each statement of `text` that is not empty, in order.
 *
 * It errs towards ending a transaction: the END of a BEGIN ATOMIC … END body counts as a COMMIT.
 */
export function transactionCommands(text: string, options?: LexerOptions): readonly TransactionCommand[] {
  return statementHeads(text, options).filter(isFilled).map(commandOf);
}

function isFilled(head: StatementHead): boolean {
  return !head.isEmpty;
}

function commandOf({ words }: StatementHead): TransactionCommand {
  const [first, second] = words;
  switch (first) {
    case 'BEGIN':
      return 'begin';
    case 'START':
      return second === 'TRANSACTION' ? 'begin' : 'other';
    case 'COMMIT':
    case 'END':
      if (second === 'PREPARED') return 'commit-prepared';
      return isChained(words) ? 'commit-and-chain' : 'commit';
    case 'ROLLBACK':
    case 'ABORT':
      if (second === 'PREPARED') return 'rollback-prepared';
      if (afterWork(words)[0] === 'TO') return 'rollback-to';
      return isChained(words) ? 'rollback-and-chain' : 'rollback';
    case 'SAVEPOINT':
      return 'savepoint';
    case 'RELEASE':
      return 'release';
    case 'PREPARE':
      return second === 'TRANSACTION' ? 'prepare-transaction' : 'other';
    case undefined:
    default:
      return 'other';
  }
}

function isChained(words: readonly string[]): boolean {
  const [first, second] = afterWork(words);
  return first === 'AND' && second === 'CHAIN';
}

/** The words after the command and its noise word. */
function afterWork(words: readonly string[]): readonly string[] {
  return words.slice(words[1] === 'WORK' || words[1] === 'TRANSACTION' ? 2 : 1);
}

/**
 * True if a statement of `text` may end the current transaction (R11): COMMIT, END, ROLLBACK, ABORT, PREPARE
 * TRANSACTION. COMMIT PREPARED and ROLLBACK PREPARED end another one and are refused within a transaction.
 *
 * While `standardConformingStrings` is not known, both ways of reading a backslash must agree that it ends nothing.
 */
export function mayEndTransaction(text: string, options?: LexerOptions): boolean {
  if (!MAY_END.test(text)) return false;
  const ends = (standardConformingStrings: boolean): boolean =>
    transactionCommands(text, { standardConformingStrings }).some((command) => ENDING.has(command));
  const known = options?.standardConformingStrings;
  if (known !== undefined) return ends(known);
  return ends(true) || (text.includes('\\') && ends(false));
}

/** True if a statement of `text` is CALL or DO: outside of an explicit transaction their code may itself COMMIT. */
export function mayCommitInside(text: string, options?: LexerOptions): boolean {
  return statementHeads(text, options).some(({ words: [first] }) => first === 'CALL' || first === 'DO');
}

/** True if `text` holds a COPY, after which the connection may speak the copy protocol. */
export function mayCopy(text: string, options?: LexerOptions): boolean {
  return /copy/i.test(text) && statementHeads(text, options).some(({ words: [first] }) => first === 'COPY');
}

/** True if `text` is one BEGIN or START TRANSACTION, with or without options, and nothing else. */
export function isPlainBegin(text: string): boolean {
  const words = soleStatement(text);
  if (words?.[0] !== 'BEGIN' && !(words?.[0] === 'START' && words[1] === 'TRANSACTION')) return false;
  return words.every((word) => word === ',' || BEGIN_WORDS.has(word));
}

/** True if `text` is one COMMIT or END that does not chain, and nothing else. */
export function isSoleCommit(text: string): boolean {
  return isSole(text, 'COMMIT', 'END');
}

/** True if `text` is one ROLLBACK or ABORT of the whole transaction that does not chain, and nothing else. */
export function isSoleRollback(text: string): boolean {
  return isSole(text, 'ROLLBACK', 'ABORT');
}

function isSole(text: string, ...names: readonly string[]): boolean {
  const words = soleStatement(text);
  if (words === undefined || !names.includes(words[0] ?? '')) return false;
  const rest = afterWork(words).join(' ');
  return rest === '' || rest === 'AND NO CHAIN';
}

/** The words of the only statement of `text`, commas among them; undefined if there are more, or anything else. */
function soleStatement(text: string): readonly string[] | undefined {
  const words: string[] = [];
  let isEnded = false;
  for (const { kind, start, end } of tokens(text)) {
    if (kind === 'semicolon') {
      isEnded = words.length > 0;
      continue;
    }
    if (isEnded || (kind !== 'word' && kind !== 'comma')) return undefined;
    words.push(upperCased(text.slice(start, end)));
  }
  return words;
}
