import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';

describe('the statement_timeout of one session ends a question of the driver’s', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: `CREATE FUNCTION harmless() RETURNS int LANGUAGE plpgsql AS
      $$DECLARE one int; BEGIN EXECUTE 'SELECT 1' INTO one; RETURN one; END$$`,
  });

  it('which does not make another one be refused', async () => {
    const hasty = await lab.connect();
    const cancelled = new Promise<void>((resolve) => {
      lab.proxy.onBackendMessage = (type, body) => {
        if (type === 'E' && body.includes('57014')) resolve();
        return undefined;
      };
    });
    // The driver's first question about the whole database reads it; the statements of the application do not.
    await lab.primary.withClient(async (superuser) => {
      await superuser.query('BEGIN; LOCK TABLE pg_policy IN ACCESS EXCLUSIVE MODE');
      await hasty.query(`SET statement_timeout = '100ms'`);
      await settle(hasty.query('SELECT harmless()'));
      await cancelled;
      await superuser.query('ROLLBACK');
    });
    await hasty.end();
    const client = await lab.connect();
    await client.query('SELECT harmless()');
    // The driver judges it, and reads the session back, behind some of these.
    for (let count = 0; count < 10; count++) await client.query('SELECT 1');
    lab.proxy.cut();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
