import { parse } from './parser.ts';
import type { ReferencedNames } from './referenced-names.ts';
import { referencedNamesOf } from './referenced-names.ts';
import { isSelfCommitting, maySelfCommit } from './self-committing-command.ts';
import type { SessionEffect } from './session-effect.ts';
import { sessionEffectsOf } from './session-effect.ts';
import type { StatementKind, StatementShape } from './statement-kind.ts';
import { shapeOf } from './statement-kind.ts';
import type { Node } from './syntax-tree.ts';
import { nodeOf } from './syntax-tree.ts';

/**
 * What can be known of a text from its syntax alone, all its statements taken together. Flags are true if they are true
 * of any statement.
 *
 * Of a text that was not understood everything is assumed that could do harm, and `effects` are not known.
 */
export interface StatementFacts extends Omit<StatementShape, 'kind' | 'opaque' | 'explain'> {
  /** Why the text was not understood; null if it was. */
  readonly notUnderstood: string | null;
  /** Statements that are not empty. 0 for blanks and comments, and for a text that was not understood. */
  readonly statementCount: number;
  /** Of each statement. */
  readonly kinds: readonly StatementKind[];
  /** Of the only statement. Of several the one that matters most; a text of blanks is a read. */
  readonly kind: StatementKind;
  /** Why nothing can be known of the code that a statement runs (CALL, DO, EXECUTE, DDL); else null. */
  readonly opaque: string | null;
  /** `analyze` if any statement runs what it explains. */
  readonly explain: StatementShape['explain'];
  /** Commits by itself, whatever is sent around it: VACUUM, CREATE INDEX CONCURRENTLY, CALL, DO … */
  readonly selfCommitting: boolean;
  /** What the catalogue has to be asked about. Definitions are left out, they are `opaque`. */
  readonly names: ReferencedNames;
  /** In the order of the statements. */
  readonly effects: readonly SessionEffect[];
}

export interface StatementFactsOptions {
  /**
   * The session's `standard_conforming_strings`. Default true. The grammar knows only that; while it is off, a text
   * with a backslash is not understood.
   */
  readonly standardConformingStrings?: boolean;
}

/** What matters most comes first. */
const PRECEDENCE: readonly StatementKind[] = [
  'unknown',
  'copy',
  'transaction-control',
  'utility',
  'write',
  'session',
  'read-candidate',
];
const NO_NAMES: ReferencedNames = referencedNamesOf([]);

/** Never throws. Without `loadParser()` nothing is understood. Costs a parse: 10–50 µs for what an ORM sends. */
export function statementFacts(text: string, options: StatementFactsOptions = {}): StatementFacts {
  if (options.standardConformingStrings === false && text.includes('\\')) {
    return notUnderstoodFacts(text, 'a backslash while standard_conforming_strings is off', options);
  }
  const outcome = parse(text);
  if (outcome.kind === 'not-understood') return notUnderstoodFacts(text, outcome.reason, options);
  const statements: Node[] = [];
  for (const statement of outcome.statements) {
    const node = nodeOf(statement);
    if (node === undefined) return notUnderstoodFacts(text, 'the syntax tree has an unknown form', options);
    statements.push(node);
  }
  return factsOf(statements);
}

function factsOf(statements: readonly Node[]): StatementFacts {
  const shapes = statements.map((statement) => shapeOf(statement));
  const kinds = shapes.map(({ kind }) => kind);
  const some = (flag: (shape: StatementShape) => boolean): boolean => shapes.some(flag);
  return {
    notUnderstood: null,
    statementCount: statements.length,
    kinds,
    kind: PRECEDENCE.find((kind) => kinds.includes(kind)) ?? 'read-candidate',
    ddl: some(({ ddl }) => ddl),
    opaque: shapes.find(({ opaque }) => opaque !== null)?.opaque ?? null,
    lockingClause: some(({ lockingClause }) => lockingClause),
    skipLockedOrNowait: some(({ skipLockedOrNowait }) => skipLockedOrNowait),
    dataModifyingCte: some(({ dataModifyingCte }) => dataModifyingCte),
    selectInto: some(({ selectInto }) => selectInto),
    explain: some(({ explain }) => explain === 'analyze')
      ? 'analyze'
      : some(({ explain }) => explain === 'plain')
        ? 'plain'
        : 'none',
    orderSensitive: some(({ orderSensitive }) => orderSensitive),
    selfCommitting: statements.some((statement) => isSelfCommitting(statement)),
    outsideEffects: some(({ outsideEffects }) => outsideEffects),
    names: referencedNamesOf(
      statements.filter((statement, index) => asksCatalogue(statement, shapes[index])),
    ),
    effects: statements.flatMap((statement, index) =>
      sessionEffectsOf(statement, shapes[index]?.explain ?? 'none'),
    ),
  };
}

/** Statements whose own syntax names what they run. */
function asksCatalogue({ tag }: Node, shape: StatementShape | undefined): boolean {
  if (shape === undefined || shape.opaque !== null) return false;
  return shape.kind === 'read-candidate' || shape.kind === 'write' || shape.kind === 'copy'
    ? true
    : tag === 'ExplainStmt' || tag === 'DeclareCursorStmt';
}

function notUnderstoodFacts(text: string, reason: string, options: StatementFactsOptions): StatementFacts {
  return {
    notUnderstood: reason,
    statementCount: 0,
    kinds: [],
    kind: 'unknown',
    ddl: false,
    opaque: reason,
    lockingClause: false,
    skipLockedOrNowait: false,
    dataModifyingCte: false,
    selectInto: false,
    explain: 'none',
    orderSensitive: true,
    selfCommitting: maySelfCommit(text, options),
    // All other ways out of the database need something that the catalogue shows.
    outsideEffects: /\bprogram\b/i.test(text) || /\bcopy\b/i.test(text),
    names: NO_NAMES,
    effects: [],
  };
}
