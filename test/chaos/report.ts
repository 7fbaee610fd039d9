import type { EpisodeResult } from './episode.ts';

/** What the last line tells, in this order. */
export interface Summary {
  readonly failovers: number;
  readonly transactions: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly reportedLost: number;
  readonly duplicated: number;
  readonly unknown: number;
  readonly applicationErrors: number;
  readonly cycles: number;
  readonly violations: number;
}

export const NOTHING: Summary = {
  failovers: 0,
  transactions: 0,
  acknowledged: 0,
  lost: 0,
  reportedLost: 0,
  duplicated: 0,
  unknown: 0,
  applicationErrors: 0,
  cycles: 0,
  violations: 0,
};

export function addUp(summary: Summary, result: EpisodeResult): Summary {
  const counts: Summary = { ...result, violations: result.violations.length };
  const sum: Record<string, number> = {};
  for (const name of Object.keys(NOTHING) as (keyof Summary)[]) sum[name] = summary[name] + counts[name];
  return sum as unknown as Summary;
}

export function lastLine(summary: Summary): string {
  return JSON.stringify(summary);
}
