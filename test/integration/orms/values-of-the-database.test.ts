import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { waitFor } from '../../support/wait-for.ts';
import { settingsOf } from './application.ts';
import {
  ITEM_APPLICATIONS,
  ITEM_TABLE,
  itemOf,
  type Item,
  type ItemApplication,
  type ItemRow,
} from './item-applications.ts';

/** All of them at once: one kill in the middle of a transaction of each, and sequences that they share. */
describe.each([
  { replication: 'asynchronous', synchronous: false, tokens: true },
  { replication: 'synchronous', synchronous: true, tokens: false },
])('each ORM, on $replication replication,', ({ synchronous, tokens }) => {
  const lab = FailoverLab.forThisSuite({ setUp: ITEM_TABLE, synchronous, tokens });

  async function storedOf(name: string): Promise<Item[]> {
    const { rows } = await lab.primary.query<ItemRow>(
      'SELECT * FROM item WHERE starts_with(text, $1) ORDER BY id',
      [name],
    );
    return rows.map(itemOf);
  }

  it('commits with the ids, defaults and times that it was given before the primary was killed', async () => {
    const applications: [string, ItemApplication][] = [];
    for (const [name, open] of Object.entries(ITEM_APPLICATIONS))
      applications.push([name, await open(settingsOf(lab))]);
    const { failover } = lab.pool();
    const before = failover!.snapshot();
    // The standby gets nothing of what follows: its sequences will give again what these transactions were given.
    if (!synchronous) await lab.primary.freezeWalSender();
    const held: Record<string, Item[]> = {};
    const read: Record<string, Item[]> = {};
    let halfway = 0;
    let isReplaced = false;
    const works = applications.map(async ([name, application]) => {
      await application.transaction(async (items) => {
        const [first] = await items.add([{ text: `${name} 1` }]);
        const two = await items.add([
          { text: `${name} 2`, parent: first!.id },
          { text: `${name} 3`, parent: first!.id },
        ]);
        halfway++;
        await waitFor(() => isReplaced, { timeoutMillis: 30_000 });
        const last = await items.add([{ text: `${name} 4`, parent: two[1]!.id }]);
        held[name] = [first!, ...two, ...last];
        read[name] = await items.read(name);
      });
    });
    await waitFor(() => halfway === applications.length);
    if (synchronous) await lab.shipAll();
    await lab.primary.kill();
    await lab.cluster.failover();
    isReplaced = true;
    const outcomes = await Promise.allSettled(works);
    expect(outcomes.map((outcome, i) => [applications[i]![0], reasonOf(outcome)])).toEqual(
      applications.map(([name]) => [name, null]),
    );
    for (const [name] of applications) {
      expect(held[name]).toHaveLength(4);
      expect(read[name], `what ${name} reads`).toEqual(held[name]);
      expect(await storedOf(name), `what ${name} has stored`).toEqual(held[name]);
      const { code, state, createdAt, notedAt } = held[name]![0]!;
      expect({ code, state }).toEqual({ code: expect.stringMatching(/^[0-9a-f-]{36}$/), state: 'new' });
      expect([createdAt, notedAt]).toEqual([expect.any(Date), expect.any(Date)]);
    }
    const { rows } = await lab.primary.query<{ next: number; last: number }>(
      `SELECT nextval('item_id_seq')::int AS next, max(id) AS last FROM item`,
    );
    expect(rows[0]!.next).toBeGreaterThan(rows[0]!.last);
    const after = failover!.snapshot();
    expect({
      replays: after.replays - before.replays,
      diverged: after.replaysDiverged - before.replaysDiverged,
    }).toEqual({ replays: applications.length, diverged: 0 });
    if (tokens) {
      const put = await lab.primary.query('SELECT FROM holdfast.token WHERE NOT fenced');
      expect(put.rowCount).toBe(applications.length);
    }
    await Promise.all(
      applications.map(async ([, application]) => {
        await application.close();
      }),
    );
  });
});

function reasonOf(outcome: PromiseSettledResult<void>): string | null {
  return outcome.status === 'rejected' ? String(outcome.reason) : null;
}
