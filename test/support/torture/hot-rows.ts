import { setTimeout as sleep } from 'node:timers/promises';
import type { FailoverLab, WatchedClient } from '../failover-lab.ts';
import { settle } from '../settle.ts';
import { waitFor } from '../wait-for.ts';

export interface HotRowsOptions {
  readonly sessions: number;
  /** How many rows all of them read and write. */
  readonly rows: number;
  readonly forUpdate: boolean;
  /** Default 3. */
  readonly rounds?: number;
}

export interface HotRowsMeasure {
  /** Transactions that had read and were open when the server died. */
  readonly open: number;
  /** Those of them that got ReplayDivergedError. */
  readonly diverged: number;
  /** Any other error. */
  readonly unexpected: readonly string[];
}

/** How long a transaction stays open, as in facts/design-review B. */
const TRANSACTION_MILLIS = 10;

/**
 * Sessions read a row, think, and add one to it, again and again, when the server crashes and recovers in place: what a
 * transaction had read may have been changed by another one's commit since.
 */
export async function measureHotRows(lab: FailoverLab, options: HotRowsOptions): Promise<HotRowsMeasure> {
  const { sessions, rows, forUpdate, rounds = 3 } = options;
  await lab.primary.query(`DROP TABLE IF EXISTS hot`);
  await lab.primary.query(`CREATE TABLE hot AS SELECT id, 0 AS n FROM generate_series(1, ${rows}) AS id`);
  await lab.primary.query(`ALTER TABLE hot ADD PRIMARY KEY (id); GRANT ALL ON hot TO app`);
  const clients = await Promise.all(Array.from({ length: sessions }, async () => await lab.connect()));
  const read = `SELECT n FROM hot WHERE id = $1${forUpdate ? ' FOR UPDATE' : ''}`;
  let open = 0;
  let diverged = 0;
  const unexpected: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const state = { stopped: false, hasRead: new Set<WatchedClient>(), finished: 0 };
    const before = clients[0]!.failover!.snapshot().replaysDiverged;
    const transact = async (client: WatchedClient, id: number): Promise<void> => {
      await client.query('BEGIN');
      await client.query(read, [id]);
      state.hasRead.add(client);
      await sleep(TRANSACTION_MILLIS);
      await client.query('UPDATE hot SET n = n + 1 WHERE id = $1', [id]);
      await client.query('COMMIT');
    };
    const work = clients.map(async (client) => {
      while (!state.stopped) {
        const id = 1 + Math.floor(Math.random() * rows);
        const { error } = await settle(transact(client, id));
        state.hasRead.delete(client);
        state.finished++;
        if (error === undefined) continue;
        if (error.kind !== 'replay-diverged') unexpected.push(`${error.code ?? ''} ${error.message}`);
        await client.query('ROLLBACK');
      }
    });
    const progress = async (count: number): Promise<void> => {
      const from = state.finished;
      await waitFor(() => state.finished >= from + count, {
        timeoutMillis: 30_000,
        message: 'transactions to finish',
      });
    };
    await progress(sessions * 3);
    await lab.primary.kill();
    // Only now: some answers were still on their way when it died.
    open += state.hasRead.size;
    await lab.primary.start();
    await progress(sessions);
    state.stopped = true;
    await Promise.all(work);
    diverged += clients[0]!.failover!.snapshot().replaysDiverged - before;
  }
  await lab.hangUp();
  return { open, diverged, unexpected };
}
