import type { PostgresNode } from '../postgres-node.ts';
import type { Entry, Ledger } from './ledger.ts';
import type { Blow } from './nemesis.ts';

export interface AuditOptions {
  /**
   * What the old primary itself acknowledged before another server took over may be lost: replication is asynchronous.
   * Without it that holds only for transactions with synchronous_commit=off.
   */
  readonly mayLose: boolean;
}

export interface TortureAudit {
  /** Each is a wrong answer of the driver. */
  readonly wrong: readonly string[];
  readonly committed: number;
  readonly absent: number;
  readonly unknown: number;
  /** Of the unknown ones, those that are there. */
  readonly unknownButThere: number;
  /** How often the driver had to find out about a COMMIT in doubt, by outcome and reason. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** Acknowledged by the old primary and lost with it, as asynchronous replication does. */
  readonly lostByTheServer: number;
}

/** Holds the rows of every transaction against what the application was told about it. */
export async function auditTorture(
  ledger: Ledger,
  node: PostgresNode,
  blows: readonly Blow[],
  { mayLose }: AuditOptions,
): Promise<TortureAudit> {
  const { rows } = await node.query<{ id: string; parts: number[] }>(
    'SELECT id, array_agg(part ORDER BY part) AS parts FROM entry GROUP BY id',
  );
  const there = new Map(rows.map(({ id, parts }) => [id, parts.join()]));
  const wrong: string[] = [];
  let lostByTheServer = 0;
  for (const entry of ledger.entries) {
    const parts = there.get(entry.id);
    const isThere = parts !== undefined;
    there.delete(entry.id);
    if (isThere && parts !== entry.parts.join()) {
      wrong.push(describe(entry, `has rows ${parts} in place of ${entry.parts.join()}`));
    } else if (entry.told === 'absent' && isThere) {
      wrong.push(describe(entry, 'is there'));
    } else if (entry.told === 'committed' && !isThere) {
      const isForgivable =
        !entry.isResolvedAsCommitted && (mayLose || !entry.isDurable) && wasHit(entry, blows);
      if (isForgivable) lostByTheServer++;
      else wrong.push(describe(entry, 'is not there'));
    }
  }
  for (const id of there.keys()) wrong.push(`${id} is there, and nobody wrote it`);
  wrong.push(...(await wrongTallies(node, ledger)));
  return {
    wrong,
    committed: ledger.count('committed'),
    absent: ledger.count('absent'),
    unknown: ledger.count('unknown'),
    unknownButThere: ledger.entries.filter(
      (entry) => entry.told === 'unknown' && rows.some(({ id }) => id === entry.id),
    ).length,
    verdicts: countVerdicts(ledger),
    lostByTheServer,
  };
}

/** A blow can take only what was acknowledged since it began and before another server had taken over (R12). */
function wasHit({ toldAt }: Entry, blows: readonly Blow[]): boolean {
  return blows.some(({ begunAt, overAt }) => begunAt <= toldAt && toldAt <= overAt);
}

/** Each row of `tally` counts the transactions that raised it: one that is replayed twice, or on stale data, shows. */
async function wrongTallies(node: PostgresNode, ledger: Ledger): Promise<string[]> {
  const { rows: present } = await node.query<{ id: string }>('SELECT DISTINCT id FROM entry');
  const ids = new Set(present.map(({ id }) => id));
  const expected = new Map<number, number>();
  for (const { id, slot } of ledger.entries) {
    if (slot !== null && ids.has(id)) expected.set(slot, (expected.get(slot) ?? 0) + 1);
  }
  const { rows } = await node.query<{ slot: number; n: number }>('SELECT slot, n FROM tally');
  return rows
    .filter(({ slot, n }) => n !== (expected.get(slot) ?? 0))
    .map(({ slot, n }) => `tally ${slot} is ${n} in place of ${expected.get(slot) ?? 0}`);
}

function countVerdicts(ledger: Ledger): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { verdict } of ledger.entries) {
    if (verdict === null) continue;
    const name = `${verdict.outcome}, ${verdict.reason}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function describe(entry: Entry, what: string): string {
  const { id, script, session, told, verdict, toldAt, words } = entry;
  const found = verdict === null ? 'no verdict' : `verdict ${verdict.outcome}, ${verdict.reason}`;
  return `${id} ${what}; ${script} of session ${session} was told ${told ?? 'nothing'} at ${toldAt.toFixed(0)} (${found}): ${words}`;
}
