import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf } from '../../support/settle.ts';

const XID = 'FUNCTION pg_catalog.pg_current_xact_id_if_assigned()';

describe('a COMMIT is repeated behind one whose outcome is unknown', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('is never answered with success, which a server gives outside of a transaction', async () => {
    await lab.primary.query(`REVOKE EXECUTE ON ${XID} FROM PUBLIC`); // Then no COMMIT can be resolved.
    try {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const cut = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'cut-before');
      const first = await rejectionOf(client.query('COMMIT'));
      await cut;
      expect(first).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
        code: '08007',
        kind: 'outcome-unknown',
      });
      expect(await lab.notes()).toEqual([]);
      // What is no repetition goes on.
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['b']);
    } finally {
      await lab.primary.query(`GRANT EXECUTE ON ${XID} TO PUBLIC`);
    }
  });
});
