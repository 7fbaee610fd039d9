import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf } from '../../support/settle.ts';

/** In a failed transaction COMMIT rolls back, so that what is open behind it has an xid of its own. */
describe('a transaction stands behind a failed one, without a BEGIN that was sent alone', () => {
  const lab = FailoverLab.forThisSuite();

  it.each(['COMMIT AND CHAIN', 'ROLLBACK AND CHAIN', 'COMMIT; BEGIN', 'END; BEGIN', 'ROLLBACK; BEGIN'])(
    'and commits once, after %s, if the answer to its COMMIT is lost',
    async (end) => {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('of the failed one')`);
      await rejectionOf(client.query('SELECT 1 / 0'));
      await client.query(end);
      await client.query(`INSERT INTO note VALUES ('a')`);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const commit = client.query('COMMIT');
      await lost;
      await lab.replacePrimary();
      expect((await commit).command).toBe('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
    },
  );
});
