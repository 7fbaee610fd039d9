import { describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** What the primary does, after which a standby is promoted. */
const ENDS: readonly (readonly [name: string, end: (lab: FailoverLab) => Promise<void>])[] = [
  [
    'every process of the primary is killed',
    async (lab) => {
      await lab.primary.kill();
    },
  ],
  [
    'the postmaster alone is killed',
    async (lab) => {
      await lab.primary.killPostmasterOnly();
    },
  ],
  [
    'the primary is stopped fast',
    async (lab) => {
      await lab.primary.stop('fast');
    },
  ],
  [
    'the primary is stopped at once',
    async (lab) => {
      await lab.primary.stop('immediate');
    },
  ],
  [
    'its connections are reset and it refuses new ones',
    async (lab) => {
      await lab.proxy.refuse();
      lab.proxy.cut();
    },
  ],
  [
    'its connections end in order and it refuses new ones',
    async (lab) => {
      await lab.proxy.refuse();
      lab.proxy.fin();
    },
  ],
  [
    'it crashes as another backend is killed, and does not come back',
    async (lab) => {
      const victim = await lab.stock();
      const { rows } = await victim.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      lab.primary.killBackend(rows[0]!.pid);
      await waitFor(() => victim.seen.ends > 0);
      await lab.primary.kill();
    },
  ],
];

describe('the primary is lost', () => {
  const lab = FailoverLab.forThisSuite();

  it.each(ENDS)('keeps idle, open, working and committing sessions when %s', async (_name, end) => {
    const [idle, open, working, reading, failed] = (await Promise.all(
      Array.from({ length: 5 }, async () => await lab.connect()),
    )) as [WatchedClient, WatchedClient, WatchedClient, WatchedClient, WatchedClient];
    for (const [i, client] of [open, working, failed].entries()) {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', [`before ${i}`]);
    }
    expect(await settle(failed.query('SELECT 1 / 0'))).toMatchObject({ error: { code: '22012' } });
    const pending = working.query(`INSERT INTO note SELECT 'worked' FROM pg_sleep(0.3)`);
    const read = reading.query(`SELECT 'read' AS what FROM (SELECT pg_sleep(0.3)) AS slept`);
    void read.catch(() => undefined);
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 2;
    });
    await lab.shipAll();
    await end(lab);
    await lab.cluster.failover();
    expect((await pending).rowCount).toBe(1);
    await working.query('COMMIT');
    await open.query(`INSERT INTO note VALUES ('open')`);
    await open.query('COMMIT');
    await idle.query(`INSERT INTO note VALUES ('idle')`);
    expect((await failed.query('COMMIT')).command).toBe('ROLLBACK');
    expect(await lab.notes()).toEqual(['before 0', 'before 1', 'idle', 'open', 'worked']);
    // A call of a function that nobody knows to be harmless may be run again only if it is proved to read.
    const { value, error } = await settle(read);
    if (error === undefined) expect(value?.rows).toEqual([{ what: 'read' }]);
    else expect(error.code).toBe('08007');
    for (const client of [idle, open, working, reading, failed]) expect(client.seen.isQuiet).toBe(true);
  });
});
