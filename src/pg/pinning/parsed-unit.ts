import type { PgUnit } from '../pg-unit.ts';
import { parse } from '../sql/parser.ts';
import { readAnswers, type GivenAnswer } from './given-answer.ts';
import { readWireStatement, type WireStatement } from './wire-statement.ts';

/** At this length parsing holds up the process for some 50 ms. */
const MAX_CHARACTERS = 262_144;

/** One statement of a unit, parsed. */
export interface ParsedStatement {
  readonly tree: unknown;
  readonly answer: GivenAnswer | null;
}

/** What a unit runs, parsed, with what it has given. */
export interface ParsedUnit {
  readonly wire: WireStatement;
  readonly statements: readonly ParsedStatement[];
}

/** @returns a string: why nothing can be said of it */
export function parseUnit(unit: PgUnit, bytes: Buffer): ParsedUnit | string {
  const wire = readWireStatement(
    bytes,
    (name) => unit.nameUses?.find((use) => use.name === name)?.statement?.parseMessage,
  );
  if (typeof wire === 'string') return wire;
  const outcome = parse(wire.text, MAX_CHARACTERS);
  if (outcome.kind === 'not-understood') return outcome.reason;
  const answers = unit.answer === null ? [] : readAnswers(unit.answer);
  const isWhole = answers.length === outcome.statements.length;
  if (answers.length > 0 && !isWhole) return 'its results can’t be told apart';
  const statements = outcome.statements.map((tree, index) => ({ tree, answer: answers[index] ?? null }));
  return { wire, statements };
}
