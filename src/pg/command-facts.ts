import type { Ending } from '../session/loss-situation.ts';
import type { TransactionCommand } from './sql/transaction-command.ts';

/** What one statement does to the transaction; 'unknown' where nobody can say. */
export type Command = TransactionCommand | 'unknown';

const ENDS: ReadonlySet<Command> = new Set([
  'commit',
  'commit-and-chain',
  'rollback',
  'rollback-and-chain',
  'prepare-transaction',
  'unknown',
]);

export function mayEndTransaction(command: Command): boolean {
  return ENDS.has(command);
}

/** What statements that are sent together do with the open transaction (R6, R11). */
export function endingOfCommands(commands: readonly Command[]): Ending {
  const ends = commands.filter(mayEndTransaction);
  if (ends.length === 0) return 'none';
  if (ends.every((command) => command === 'rollback-and-chain')) return 'none'; // Opens its successor itself.
  if (commands.length === 1) {
    switch (commands[0]) {
      case 'commit':
        return 'commit';
      case 'commit-and-chain':
        return 'commit-and-chain';
      case 'prepare-transaction':
        return 'prepare';
      case 'rollback':
        return 'rollback';
      default:
        return 'unclear';
    }
  }
  if (ends.length === 1 && commands.at(-1) === 'commit') return 'trailing-commit';
  const [first] = ends;
  return first === 'commit' || first === 'commit-and-chain' ? 'commit-inside' : 'unclear';
}

/** True if a transaction may be open behind the statement that it began. */
export function mayOpenTransaction(command: Command): boolean {
  return (
    command === 'begin' ||
    command === 'commit-and-chain' ||
    command === 'rollback-and-chain' ||
    command === 'unknown'
  );
}
