import type { LossWindow, RegisterRead, Transaction, Violation } from '../transaction.ts';
import { mayBeLost } from './lists.ts';

/** A version of a register, and the marker of the transaction that has made it. */
export interface RegisterVersion {
  readonly key: number;
  readonly version: number;
  readonly value: string;
}

export interface Registers {
  /** What each of them is in the end. Version 0 is the one that nobody has made. */
  readonly current: readonly RegisterVersion[];
  /** All versions that were made, as each writer has noted its own. */
  readonly made: readonly RegisterVersion[];
}

interface Sighting {
  readonly at: number;
  readonly version: number;
  readonly who: string;
}

/**
 * Registers that are changed by compare-and-set alone: each version is made once, from the one before it. Reads give a
 * value with its version, and never an older version than anybody was told of before the read was sent.
 */
export function checkRegisters(
  history: readonly Transaction[],
  { current, made }: Registers,
  losses: readonly LossWindow[] = [],
): Violation[] {
  const violations: Violation[] = [];
  for (const { key, version, value } of current) {
    const versions = made.filter((one) => one.key === key).sort((one, other) => one.version - other.version);
    const gap = versions.findIndex((one, index) => one.version !== index + 1);
    if (gap >= 0)
      violations.push({
        rule: 'version',
        text: `register ${key}: version ${versions[gap]!.version} of ${versions[gap]!.value} in place of ${gap + 1}`,
      });
    const last = versions.at(-1);
    if (version !== (last?.version ?? 0) || (last !== undefined && value !== last.value))
      violations.push({
        rule: 'register',
        text: `register ${key} is version ${version} of ${value}, made was ${last?.version ?? 0} of ${last?.value ?? 'nobody'}`,
      });
    violations.push(...checkReads(history, key, versions, losses));
  }
  return violations;
}

function checkReads(
  history: readonly Transaction[],
  key: number,
  versions: readonly RegisterVersion[],
  losses: readonly LossWindow[],
): Violation[] {
  const violations: Violation[] = [];
  const makers = new Map(versions.map(({ version, value }) => [version, value]));
  const told: Sighting[] = [];
  const reads: { readonly transaction: Transaction; readonly read: RegisterRead }[] = [];
  for (const transaction of history) {
    const { marker, status, endedAt, observations } = transaction;
    if (status !== 'ok') continue;
    for (const step of observations) {
      if (step.kind === 'register-set' && step.key === key && makers.get(step.version) === marker)
        told.push({ at: endedAt, version: step.version, who: marker });
      if (step.kind !== 'register-read' || step.key !== key) continue;
      const maker = step.version === 0 ? step.value : makers.get(step.version);
      if (maker === step.value) {
        reads.push({ transaction, read: step });
        told.push({ at: step.answeredAt, version: step.version, who: marker });
      } else if (!mayBeLost(transaction, losses)) {
        violations.push({
          rule: 'register read',
          text: `${marker} read version ${step.version} of ${step.value} in register ${key}, which is of ${maker ?? 'nobody'}`,
        });
      }
    }
  }
  told.sort((one, other) => one.at - other.at);
  reads.sort((one, other) => one.read.sentAt - other.read.sentAt);
  let newest: Sighting | undefined;
  let next = 0;
  for (const { transaction, read } of reads) {
    for (; next < told.length && told[next]!.at < read.sentAt; next++)
      if (told[next]!.version > (newest?.version ?? 0)) newest = told[next]!;
    if (newest === undefined || read.version >= newest.version) continue;
    violations.push({
      rule: 'stale register',
      text:
        `${transaction.marker} read version ${read.version} of register ${key} at ${read.sentAt.toFixed(1)}, ` +
        `${newest.who} was told of ${newest.version} at ${newest.at.toFixed(1)}`,
    });
  }
  return violations;
}
