import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';

const SESSIONS = 50;

interface Item {
  readonly id: number;
  readonly amount: number;
}

/** Review C: on a promoted standby rows come in another order, as its free space is found in another one. */
describe('rows without an order are read after own writes, and the primary is lost', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `
        CREATE TABLE item (id int, owner int, amount int);
        INSERT INTO item SELECT n, n % 100, 0 FROM generate_series(1, 20000) AS n;
        DELETE FROM item WHERE id % 3 = 0`,
  });
  beforeAll(async () => {
    await lab.primary.query('VACUUM item');
  });

  it(`replays ${SESSIONS} such transactions without calling one of them different`, async () => {
    const clients = await Promise.all(Array.from({ length: SESSIONS }, async () => await lab.connect()));
    const read = (owner: number) => ({
      text: 'SELECT id, amount FROM item WHERE owner = $1',
      values: [owner],
    });
    const given = await Promise.all(
      clients.map(async (client, i) => {
        const owner = 1000 + i;
        await client.query('BEGIN');
        for (let n = 0; n < 3; n++) await client.query('INSERT INTO item VALUES ($1, $2, 0)', [n, owner]);
        await client.query(read(owner));
        await client.query('UPDATE item SET amount = amount + 1 WHERE owner = $1 AND id = 1', [owner]);
        await client.query(read(owner));
        await client.query('SAVEPOINT s');
        await client.query('INSERT INTO item VALUES (99, $1, 0)', [owner]);
        await client.query('ROLLBACK TO s');
        await client.query('INSERT INTO item VALUES (3, $1, 0) RETURNING id', [owner]);
        return (await client.query<Item>(read(owner))).rows.map(({ id }) => id);
      }),
    );
    await lab.replacePrimary();
    const orders: number[][] = [];
    const results = await Promise.all(
      clients.map(
        async (client, i) =>
          await settle(
            (async () => {
              const { rows } = await client.query<Item>(read(1000 + i));
              orders[i] = rows.map(({ id }) => id);
              await client.query('COMMIT');
              return rows.map(({ id, amount }) => `${id}:${amount}`).sort();
            })(),
          ),
      ),
    );
    expect(results).toEqual(clients.map(() => ({ value: ['0:0', '1:1', '2:0', '3:0'] })));
    // Else it would prove nothing: the same rows came in another order than they were given before.
    expect(orders.filter((ids, i) => ids.join() !== given[i]!.join()).length).toBeGreaterThan(0);
    const { rows } = await lab.primary.query(
      'SELECT count(*)::int AS count, sum(amount)::int AS sum FROM item WHERE owner >= 1000',
    );
    expect(rows).toEqual([{ count: 4 * SESSIONS, sum: SESSIONS }]);
    expect(clients[0]!.failover!.snapshot()).toMatchObject({ replaysDiverged: 0 });
  });
});
