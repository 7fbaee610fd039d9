import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';

describe('review: the deposed primary comes back, writable', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  it('F4: a new session does not write to it', async () => {
    const old = lab.primary;
    const first = await lab.connect();
    await first.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await first.query(`INSERT INTO note VALUES ('b')`);
    await old.start();
    const second = await lab.connect();
    await second.query(`INSERT INTO note VALUES ('c')`);
    await first.query(`INSERT INTO note VALUES ('d')`);
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
  });
});
