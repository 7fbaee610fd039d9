import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const READ = 'SELECT count(*) FROM note';

describe('the connection is lost behind a read and two writes of a pipeline that took effect', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each([
    ['no server is found any more', 'SELECT 1', true],
    ['the session can not be restored', 'SELECT pg_advisory_lock(7)', false],
  ])('and %s: the writes are not said not to have run', async (_why, before, isRefused) => {
    const client = await lab.connect({ pipeline: true, failover: { timeoutMillis: 1_000 } });
    for (const sql of [`INSERT INTO note VALUES ('before')`, READ, before, READ, READ])
      await client.query(sql);
    lab.proxy.onBackendMessage = () => 'drop';
    if (isRefused) await lab.proxy.refuse();
    const read = settle(client.query(READ));
    const writes = [
      settle(client.query(`INSERT INTO note VALUES ('a')`)),
      settle(client.query(`INSERT INTO note VALUES ('b')`)),
    ];
    await waitFor(async () => (await lab.notes()).length === 3, { message: 'the writes to take effect' });
    lab.proxy.onBackendMessage = undefined;
    lab.proxy.cut();
    for (const { error } of await Promise.all(writes)) {
      expect(error).toMatchObject({ kind: 'outcome-unknown', code: '08007', outcome: 'unknown' });
    }
    expect((await read).error).toBeDefined();
    expect(await lab.notes()).toEqual(['a', 'b', 'before']);
  });
});
