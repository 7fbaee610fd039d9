import { describe, expect, it } from 'vitest';
import type { Acknowledge } from '../../../src/options.ts';
import { AcknowledgeMode } from '../../../src/pg/acknowledge-mode.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { statementText } from '../../../src/pg/statement-text.ts';

const REPLICATED = `SET LOCAL holdfast.acknowledge = 'replicated'`;
const LOCAL = `SET LOCAL holdfast.acknowledge = 'local'`;
const DEFAULT = 'SET LOCAL holdfast.acknowledge TO DEFAULT';

function unitOf(text: string, about: Partial<PgUnit> = {}): PgUnit {
  return Object.assign(makeUnit(true, 0), { texts: [statementText(text)], completions: 1, ...about });
}

/** Runs them in one transaction. Returns whether its COMMIT is held. */
function isHeld(configured: Acknowledge, texts: readonly (string | PgUnit)[]): boolean {
  const mode = new AcknowledgeMode(configured);
  const run = (unit: PgUnit, wasOpen: boolean, ended: boolean): boolean =>
    mode.completed({ unit, wasOpen, ended });
  run(unitOf('BEGIN'), false, false);
  for (const one of texts) run(typeof one === 'string' ? unitOf(one) : one, true, false);
  const commit = unitOf('COMMIT', { committed: true });
  expect(mode.isReplicated(commit)).toBe(run(commit, true, true));
  // What it has asked for holds for itself alone.
  expect(run(unitOf('SELECT 1'), false, false)).toBe(configured === 'replicated');
  const last = new AcknowledgeMode(configured);
  last.completed({ unit: unitOf('BEGIN'), wasOpen: false, ended: false });
  for (const one of texts)
    last.completed({ unit: typeof one === 'string' ? unitOf(one) : one, wasOpen: true, ended: false });
  return last.completed({ unit: commit, wasOpen: true, ended: true });
}

describe('AcknowledgeMode', () => {
  it.each<[Acknowledge, string[], boolean]>([
    ['local', [], false],
    ['replicated', [], true],
    ['local', [REPLICATED], true],
    ['replicated', [LOCAL], false],
    ['replicated', [LOCAL, DEFAULT], true],
    ['local', [REPLICATED, DEFAULT], false],
    ['local', [REPLICATED, LOCAL], false],
    // Behind ROLLBACK TO the more careful one of what was asked for.
    ['local', ['SAVEPOINT s', REPLICATED, 'ROLLBACK TO s'], true],
    ['local', [REPLICATED, 'SAVEPOINT s', LOCAL, 'ROLLBACK TO s'], true],
    ['local', ['SAVEPOINT s', LOCAL, 'ROLLBACK TO s'], false],
    ['replicated', ['SAVEPOINT s', LOCAL, 'ROLLBACK TO s'], true],
    ['replicated', [LOCAL, 'SAVEPOINT s', 'ROLLBACK TO s'], true],
    ['local', ['SAVEPOINT s', 'ROLLBACK TO s'], false],
    ['local', ['SAVEPOINT s', 'ROLLBACK TO s', REPLICATED], true],
    ['replicated', ['SAVEPOINT s', 'ROLLBACK TO s', LOCAL], false],
    ['replicated', ['SAVEPOINT s', LOCAL, 'RELEASE s'], false],
  ])('%s, and %j: %s', (configured, texts, expected) => {
    expect(isHeld(configured, texts)).toBe(expected);
  });

  it('does not heed what has failed, or was only parsed', () => {
    expect(isHeld('local', [unitOf(REPLICATED, { error: '42601' })])).toBe(false);
    expect(isHeld('replicated', [unitOf(LOCAL, { error: '42601' })])).toBe(true);
    expect(isHeld('replicated', [unitOf(LOCAL, { completions: 0 })])).toBe(true);
  });

  it('heeds in a string that commits itself only what asks for more', () => {
    const completed = (configured: Acknowledge, setting: string): boolean => {
      const unit = unitOf(`BEGIN; ${setting}; INSERT INTO t VALUES (1); COMMIT`, { committed: true });
      return new AcknowledgeMode(configured).completed({ unit, wasOpen: false, ended: true });
    };
    expect(completed('local', REPLICATED)).toBe(true);
    expect(completed('replicated', LOCAL)).toBe(true);
  });

  it('begins anew behind COMMIT AND CHAIN, as PostgreSQL does', () => {
    const mode = new AcknowledgeMode('local');
    mode.completed({ unit: unitOf('BEGIN'), wasOpen: false, ended: false });
    mode.completed({ unit: unitOf(REPLICATED), wasOpen: true, ended: false });
    const chain = unitOf('COMMIT AND CHAIN', { committed: true });
    expect(mode.completed({ unit: chain, wasOpen: true, ended: true })).toBe(true);
    expect(mode.completed({ unit: unitOf('COMMIT'), wasOpen: true, ended: true })).toBe(false);
  });

  it('begins anew behind a transaction that ended unseen', () => {
    const mode = new AcknowledgeMode('local');
    mode.completed({ unit: unitOf('BEGIN'), wasOpen: false, ended: false });
    mode.completed({ unit: unitOf(REPLICATED), wasOpen: true, ended: false });
    expect(mode.completed({ unit: unitOf('INSERT'), wasOpen: false, ended: false })).toBe(false);
  });
});
