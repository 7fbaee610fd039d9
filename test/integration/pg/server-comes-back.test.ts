import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('the server comes back by itself', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  const RESTARTS: readonly (readonly [name: string, restart: (lab: FailoverLab) => Promise<void>])[] = [
    [
      'after it was killed',
      async ({ primary }) => {
        await primary.kill();
        await primary.start();
      },
    ],
    [
      'after a fast stop',
      async ({ primary }) => {
        await primary.stop('fast');
        await primary.start();
      },
    ],
    [
      'after an immediate stop',
      async ({ primary }) => {
        await primary.stop('immediate');
        await primary.start();
      },
    ],
    [
      'after a crash of another backend (57P02)',
      async (lab_) => {
        const victim = await lab_.stock();
        const { rows } = await victim.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        lab_.primary.killBackend(rows[0]!.pid);
        await waitFor(() => victim.seen.ends > 0);
      },
    ],
    [
      'after a recovery during which it takes no connections (57P03)',
      async (lab_) => {
        const { primary } = lab_;
        await primary.query('CREATE TABLE fill AS SELECT FROM generate_series(1, 500000)');
        await primary.kill();
        const codes = new Set<string>();
        await primary.start({ wait: false });
        await waitFor(
          async () => {
            const { value, error } = await settle(lab_.stock());
            codes.add(error?.code ?? '');
            return value;
          },
          { intervalMillis: 1 },
        );
        expect(codes).toContain('57P03');
        await primary.query('DROP TABLE fill');
      },
    ],
  ];

  it.each(RESTARTS)('keeps an open transaction and an idle session %s', async (_name, restart) => {
    const [open, idle] = [await lab.connect(), await lab.connect()];
    await open.query('BEGIN');
    await open.query(`INSERT INTO note VALUES ('a')`);
    const pending = open.query(`INSERT INTO note SELECT 'b' FROM pg_sleep(0.3)`);
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await restart(lab);
    expect((await pending).rowCount).toBe(1);
    await open.query('COMMIT');
    await idle.query(`INSERT INTO note VALUES ('idle')`);
    expect(await lab.notes()).toEqual(['a', 'b', 'idle']);
    for (const client of [open, idle]) expect(client.seen.isQuiet).toBe(true);
  });
});
