import type { LexerOptions } from './lexer.ts';
import { statementHeads } from './leading-keywords.ts';
import type { Node } from './syntax-tree.ts';
import { listOf, nodeOf, fieldsOf, textOf } from './syntax-tree.ts';

/**
 * Commands that commit by themselves, whatever is sent around them in the same implicit transaction: a commit token
 * sent behind one would silently be a transaction of its own (commit-token facts, A2). They get none, and if they are
 * cut off their outcome is unknown.
 */
const ALWAYS = new Set([
  // ANALYZE of several tables, too, takes a transaction for each.
  'VacuumStmt',
  'ClusterStmt',
  'ReindexStmt',
  'CreatedbStmt',
  'DropdbStmt',
  // ALTER DATABASE … SET TABLESPACE; the other forms are rare enough to share its lot.
  'AlterDatabaseStmt',
  'CreateTableSpaceStmt',
  'DropTableSpaceStmt',
  'AlterSystemStmt',
  'CreateSubscriptionStmt',
  'AlterSubscriptionStmt',
  'DropSubscriptionStmt',
  // Their code may COMMIT.
  'CallStmt',
  'DoStmt',
]);

/** By the syntax tree of one statement. */
export function isSelfCommitting({ tag, fields }: Node): boolean {
  switch (tag) {
    case 'IndexStmt':
    case 'DropStmt':
      return fields['concurrent'] === true;
    case 'DiscardStmt':
      return fields['target'] === 'DISCARD_ALL';
    case 'AlterTableStmt':
      return listOf(fields['cmds']).some((command) => detachesConcurrently(command));
    default:
      return ALWAYS.has(tag);
  }
}

function detachesConcurrently(command: unknown): boolean {
  const fields = fieldsOf(command, 'AlterTableCmd');
  const subtype = textOf(fields?.['subtype']);
  if (subtype === 'AT_DetachPartitionFinalize') return true;
  return subtype === 'AT_DetachPartition' && nodeOf(fields?.['def'])?.fields['concurrent'] === true;
}

/**
 * By the first words only, for texts that were not parsed. It errs towards true: any index, any partition detached and
 * any change of a database counts.
 */
export function maySelfCommit(text: string, options?: LexerOptions): boolean {
  return statementHeads(text, options).some(({ words }) => {
    const [first = '', second = '', third = ''] = words;
    switch (first) {
      case 'VACUUM':
      case 'ANALYZE':
      case 'ANALYSE':
      case 'CLUSTER':
      case 'REINDEX':
      case 'CALL':
      case 'DO':
        return true;
      case 'DISCARD':
        return second === 'ALL';
      case 'CREATE':
        return /^(?:DATABASE|TABLESPACE|SUBSCRIPTION|INDEX)$/.test(second === 'UNIQUE' ? third : second);
      case 'DROP':
        return /^(?:DATABASE|TABLESPACE|SUBSCRIPTION|INDEX)$/.test(second);
      case 'ALTER':
        return /^(?:DATABASE|SUBSCRIPTION|SYSTEM|TABLE)$/.test(second);
      default:
        return false;
    }
  });
}
