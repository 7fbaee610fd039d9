import { describe, expect, it } from 'vitest';
import type { LostCommit } from '../../../src/events.ts';
import { FailoverLab } from '../../support/failover-lab.ts';

describe('R9: a write whose token was refused, and that was acknowledged without one', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true });

  it('is not called lost because its first token is not there', async () => {
    const client = await lab.connect({ failover: { positionIntervalMillis: 3_600_000 } });
    const lost: LostCommit[] = [];
    client.failover!.on('lostCommit', (event) => lost.push(event));
    // Judged before, so that it counts as a write.
    await client.query('INSERT INTO note VALUES ($1)', ['a']);
    await client.query('INSERT INTO note VALUES ($1)', ['a']);
    await lab.primary.query(
      'REVOKE EXECUTE ON FUNCTION holdfast.put_token(uuid) FROM PUBLIC; REVOKE INSERT (token) ON holdfast.new_token FROM PUBLIC',
    );
    await client.query('INSERT INTO note VALUES ($1)', ['b']);
    await lab.primary.query(
      'GRANT EXECUTE ON FUNCTION holdfast.put_token(uuid) TO PUBLIC; GRANT INSERT (token) ON holdfast.new_token TO PUBLIC',
    );
    expect(await lab.notes()).toEqual(['a', 'a', 'b']);
    await lab.replacePrimary();
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['a', 'a', 'b']);
    expect(lost.map(({ outcome, reason }) => `${outcome} ${reason}`)).toEqual(['unknown no-mark']);
  });
});
