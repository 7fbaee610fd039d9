import type { LostCommit } from '../../src/events.ts';
import type { Client, Pool } from '../../src/pg.ts';
import type { FailoverLab } from './failover-lab.ts';

/** The events of one client or pool, in order. */
export function lostOf(application: Client | Pool): LostCommit[] {
  const lost: LostCommit[] = [];
  application.failover!.on('lostCommit', (event) => lost.push(event));
  return lost;
}

/** From now on nothing reaches the standbys any more; then the primary dies, and one of them takes its place. */
export async function loseFromHere(lab: FailoverLab, work: () => Promise<unknown>): Promise<void> {
  await lab.shipAll();
  await lab.primary.freezeWalSender();
  await work();
  await lab.primary.kill();
  await lab.cluster.failover();
}

/** Writes these notes in one transaction. */
export async function transaction(client: Client, ...notes: readonly string[]): Promise<void> {
  await client.query('BEGIN');
  for (const note of notes) await client.query('INSERT INTO note VALUES ($1)', [note]);
  await client.query('COMMIT');
}
