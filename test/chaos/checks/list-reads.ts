import type { Append, ListRead, Transaction, Violation } from '../transaction.ts';
import { isSnapshotIsolated } from '../transaction.ts';

/** The lists of the whole history, in the end. */
export type Lists = ReadonlyMap<number, readonly number[]>;

/**
 * What one committed transaction may read, without regard to the order of transactions: nothing of a transaction that
 * failed (G1a), nothing in between two writes of one transaction (G1b), its own writes, and no value twice.
 */
export function checkListReads(
  transactions: readonly Transaction[],
  committed: ReadonlySet<Transaction>,
): Violation[] {
  const writers = new Map<number, { readonly writer: Transaction; readonly isLast: boolean }>();
  for (const writer of transactions) {
    const last = new Map<number, number>();
    for (const step of writer.observations) if (step.kind === 'append') last.set(step.key, step.value);
    for (const step of writer.observations) {
      if (step.kind === 'append')
        writers.set(step.value, { writer, isLast: last.get(step.key) === step.value });
    }
  }
  const violations: Violation[] = [];
  for (const reader of committed) {
    const report = (rule: string, { key, list }: ListRead, what: string): void => {
      violations.push({
        rule,
        text: `${reader.marker} (${reader.isolation}) read [${list.join()}] from list ${key}: ${what}`,
      });
    };
    for (const step of reader.observations) {
      if (step.kind !== 'list-read') continue;
      const { list } = step;
      if (new Set(list).size < list.length) report('duplicated element', step, 'a value is there twice');
      for (const value of list) {
        const found = writers.get(value);
        if (found === undefined) report('phantom element', step, `nobody has appended ${value}`);
        else if (!committed.has(found.writer) && found.writer !== reader)
          report('G1a', step, `${value} is of ${found.writer.marker}, which failed`);
      }
      const last = writers.get(list.at(-1) ?? Number.NaN);
      if (last !== undefined && last.writer !== reader && !last.isLast)
        report('G1b', step, `${last.writer.marker} has appended more behind ${list.at(-1)!}`);
    }
    for (const problem of internalProblems(reader)) report('internal', problem.read, problem.what);
  }
  return violations;
}

/** Where a transaction contradicts itself: it must see its own appends, and with a snapshot nothing else that is new. */
function internalProblems(transaction: Transaction): { readonly read: ListRead; readonly what: string }[] {
  const problems: { read: ListRead; what: string }[] = [];
  const seen = new Map<number, ListRead>();
  const behind = new Map<number, number[]>();
  for (const step of transaction.observations) {
    if (step.kind === 'append') note(behind, step);
    if (step.kind !== 'list-read') continue;
    const before = seen.get(step.key);
    const own = behind.get(step.key) ?? [];
    const rest = step.list.slice(0, step.list.length - own.length);
    if (!equal(step.list.slice(rest.length), own)) {
      problems.push({ read: step, what: `it had appended [${own.join()}]` });
    } else if (before !== undefined) {
      const mustBeEqual = isSnapshotIsolated(transaction) || before.locked;
      const base = before.list;
      if (mustBeEqual ? !equal(rest, base) : !equal(rest.slice(0, base.length), base))
        problems.push({ read: step, what: `it had read [${base.join()}] before` });
    }
    // What it has appended is part of what it has now read.
    seen.set(step.key, step);
    behind.delete(step.key);
  }
  return problems;
}

function note(appended: Map<number, number[]>, { key, value }: Append): void {
  appended.set(key, [...(appended.get(key) ?? []), value]);
}

export function equal(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((value, index) => value === other[index]);
}
