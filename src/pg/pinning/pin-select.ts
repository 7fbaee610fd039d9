import { listOf, nodeOf, type Fields } from '../sql/syntax-tree.ts';
import { expressionFacts } from './made-values.ts';
import { pinTargets } from './pin-targets.ts';
import { NOTHING_TO_PIN, unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';

/** Pins what a SELECT made: `SELECT nextval('s')`, `now()`, `gen_random_uuid()`. */
export function pinSelect(statement: Fields, input: PinningInput): StatementPins {
  if (statement['op'] !== undefined && statement['op'] !== 'SETOP_NONE') {
    return hasMade(statement) ? unpinned('it puts several results together') : NOTHING_TO_PIN;
  }
  if (listOf(statement['valuesLists']).length > 0) {
    return hasMade(statement) ? unpinned('it is a list of VALUES') : NOTHING_TO_PIN;
  }
  const hasRows = listOf(statement['fromClause']).length > 0;
  const condition = expressionFacts(statement['whereClause']);
  if (condition.isMade || condition.hasNextval) return unpinned('its WHERE differs each time');
  return pinTargets(statement['targetList'], input, !hasRows);
}

function hasMade(statement: Fields): boolean {
  const facts = expressionFacts(
    nodeOf({ SelectStmt: statement }) === undefined ? null : { SelectStmt: statement },
  );
  return facts.isMade || facts.isConstant || facts.hasNextval;
}
