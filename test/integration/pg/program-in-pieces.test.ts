import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

/** Appends a line to a file in the server's data directory: no ROLLBACK takes it back. */
const WAY = ` TO PROGRAM 'cat >> acted-outside'`;

describe('a function puts COPY … TO PROGRAM together, the end of it first (A7)', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  beforeEach(async () => {
    // A superuser's: the application itself may run no programs.
    await lab.primary
      .query(`CREATE OR REPLACE FUNCTION act() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$
      DECLARE how text := $x$${WAY}$x$;
      BEGIN EXECUTE 'COPY (SELECT 1)' || how; RETURN 1; END$$`);
  });

  async function forget(): Promise<void> {
    await lab.primary.query(`COPY (SELECT) TO PROGRAM 'rm -f acted-outside; cat > /dev/null'`);
  }

  async function timesActed(): Promise<number> {
    const { rows } = await lab.primary.query<{ text: string | null }>(
      `SELECT pg_read_file('acted-outside', true) AS text`,
    );
    return rows[0]?.text?.trim().split('\n').length ?? 0;
  }

  it.each([
    ['known', 2],
    ['not known yet', 0],
  ])('which is not replayed, the function being %s', async (_what, times) => {
    const client = await lab.connect();
    for (let count = 0; count < times; count++) await client.query('SELECT act()');
    await forget();
    await client.query('BEGIN');
    await client.query('SELECT act()');
    lab.proxy.cut();
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ kind: 'transaction-not-replayable' });
    expect(await timesActed()).toBe(1);
  });

  it('which is not run again if it was in flight', async () => {
    const client = await lab.connect();
    await client.query('SELECT act()');
    await client.query('SELECT 1');
    await forget();
    await client.query('BEGIN');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'SELECT' }, 'cut-before');
    const pending = settle(client.query('SELECT act()'));
    await lost;
    expect((await pending).error).toBeDefined();
    expect(await timesActed()).toBe(1);
  });
});
