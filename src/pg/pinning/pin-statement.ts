import { fieldsOf, listOf, nodeOf, type Fields } from '../sql/syntax-tree.ts';
import { pinInsert } from './pin-insert.ts';
import { pinSelect } from './pin-select.ts';
import { pinUpdate } from './pin-update.ts';
import { NOTHING_TO_PIN, unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { pinReturned } from './pin-targets.ts';

/**
 * Gives a statement the values that the application has seen of its first run, in place of what would make new ones.
 * Pure: everything is in the input, and the tree in it is changed.
 */
export function pinStatement(input: PinningInput): StatementPins {
  const node = nodeOf(input.tree);
  if (node === undefined) return NOTHING_TO_PIN;
  switch (node.tag) {
    case 'InsertStmt':
      if (writesInWith(node.fields)) return unpinned(WRITES_IN_WITH);
      return pinReturned(node.fields, pinInsert(node.fields, input), input);
    case 'UpdateStmt':
      if (writesInWith(node.fields)) return unpinned(WRITES_IN_WITH);
      return pinReturned(node.fields, pinUpdate(node.fields, input), input);
    case 'SelectStmt':
      if (writesInWith(node.fields)) return unpinned(WRITES_IN_WITH);
      return pinSelect(node.fields, input);
    case 'DeleteStmt':
      return pinReturned(node.fields, NOTHING_TO_PIN, input);
    case 'MergeStmt':
      return unpinned('the values that a MERGE makes can’t be told apart');
    default:
      return NOTHING_TO_PIN;
  }
}

const WRITES_IN_WITH = 'it writes within WITH';

function writesInWith(statement: Fields): boolean {
  return listOf(fieldsOf(statement['withClause'], 'WithClause')?.['ctes']).some((cte) => {
    const query = nodeOf(fieldsOf(cte, 'CommonTableExpr')?.['ctequery']);
    return query !== undefined && query.tag !== 'SelectStmt';
  });
}
