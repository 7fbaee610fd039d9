import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { waitFor } from '../../support/wait-for.ts';

describe.each(['14', '15', '16', '17', '18'])('a failover of PostgreSQL %s', (version) => {
  const lab = FailoverLab.forThisSuite({ version });

  it('in the middle of a transaction: state, named statement, cursor and savepoint are there again, and it commits', async () => {
    const client = await lab.connect();
    const major = async (): Promise<unknown> =>
      (await client.query(`SELECT current_setting('server_version_num')::int / 10000 AS major`)).rows[0]
        .major;
    expect(await major()).toBe(Number(version));
    await client.query(`SET app.tenant = 'mine'; SET TimeZone = 'Asia/Kathmandu'`);
    await client.query('LISTEN news');
    const note = (value: string): { name: string; text: string; values: string[] } => ({
      name: 'note',
      text: 'INSERT INTO note VALUES ($1)',
      values: [value],
    });
    await client.query(note('before'));
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query(note('a'));
    await client.query('SAVEPOINT one');
    await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    await client.query('ROLLBACK TO one');
    await client.query('DECLARE rest CURSOR FOR SELECT n FROM generate_series(1, 9) AS n');
    await client.query('FETCH 3 FROM rest');
    await lab.replacePrimary();
    expect((await client.query('FETCH 2 FROM rest')).rows).toEqual([{ n: 4 }, { n: 5 }]);
    await client.query(note('b'));
    const { rows } = await client.query(
      `SELECT current_setting('app.tenant') AS tenant, current_setting('TimeZone') AS zone,
         current_setting('transaction_isolation') AS level`,
    );
    expect(rows).toEqual([{ tenant: 'mine', zone: 'Asia/Kathmandu', level: 'repeatable read' }]);
    expect(await lab.notes()).toEqual(['before']);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'before']);
    const heard: (string | undefined)[] = [];
    client.on('notification', ({ payload }) => heard.push(payload));
    await (await lab.stock()).query(`NOTIFY news, 'hello'`);
    await waitFor(() => heard.length === 1);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('under a COMMIT whose answer is lost: it has taken effect, once', async () => {
    const client = await lab.connect();
    const outcomes: string[] = [];
    client.failover!.on('commitResolved', ({ outcome }) => outcomes.push(outcome));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const { proxy } = lab;
    const lost = onMessage(proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(proxy, from),
    );
    const pending = client.query('COMMIT');
    await lost;
    await lab.replacePrimary();
    await pending;
    expect(outcomes).toEqual(['committed']);
    expect(await lab.notes()).toEqual(['a']);

    // And one that never came to its server is run there.
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('b')`);
    const cut = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'cut-before');
    const again = client.query('COMMIT');
    await cut;
    await again;
    expect(outcomes).toEqual(['committed', 'not-committed']);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
