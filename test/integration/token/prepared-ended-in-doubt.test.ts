import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, loseQuestions, onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

describe('a COMMIT PREPARED or ROLLBACK PREPARED is in flight', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true, settings: { max_prepared_transactions: 5 } });

  async function prepare(client: WatchedClient, identifier: string): Promise<void> {
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query(`/* 'no' */ PREPARE TRANSACTION '${identifier}'`);
  }

  for (const [command, written] of [
    ['COMMIT PREPARED', ['a']],
    ['ROLLBACK PREPARED', []],
  ] as const) {
    for (const [what, fault] of [
      ['never arrived', () => loseQuestions(lab.proxy)],
      [
        'took effect',
        () => onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) => loseAnswers(lab.proxy, from)),
      ],
    ] as const) {
      it(`${command} ${what}: it takes effect once`, async () => {
        const client = await lab.connect();
        await prepare(client, 'one');
        const lost = fault();
        const pending = settle(client.query(`${command} 'one'`));
        await lost;
        await lab.replacePrimary();
        expect((await pending).error).toBeUndefined();
        expect(await lab.notes()).toEqual(written);
        expect((await lab.primary.query('SELECT gid FROM pg_prepared_xacts')).rows).toEqual([]);
        await client.query('SELECT 1');
      });
    }
  }

  it('of a transaction that another process has prepared it is unknown', async () => {
    const other = await lab.stock();
    await other.query(`BEGIN; INSERT INTO note VALUES ('a'); PREPARE TRANSACTION 'two'`);
    const client = await lab.connect();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) => loseAnswers(lab.proxy, from));
    const pending = settle(client.query(`COMMIT PREPARED 'two'`));
    await lost;
    await lab.replacePrimary();
    expect((await pending).error).toMatchObject({ code: '08007', outcome: 'unknown' });
  });

  it('a PREPARE TRANSACTION whose answer is lost is found, and is not made twice', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'PREPARE' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const pending = settle(client.query(`PREPARE TRANSACTION 'three'`));
    await lost;
    await lab.replacePrimary();
    expect((await pending).value?.command).toBe('PREPARE');
    await client.query(`COMMIT PREPARED 'three'`);
    expect(await lab.notes()).toEqual(['a']);
  });

  it('a name that was used again stands for the tokens of the first no longer', async () => {
    const client = await lab.connect();
    await prepare(client, 'again');
    await client.query(`COMMIT PREPARED 'again'`);
    const other = await lab.stock();
    await other.query(`BEGIN; INSERT INTO note VALUES ('b'); PREPARE TRANSACTION 'again'`);
    const lost = loseQuestions(lab.proxy);
    const pending = settle(client.query(`COMMIT PREPARED 'again'`));
    await lost;
    await other.query(`ROLLBACK PREPARED 'again'`);
    await lab.replacePrimary();
    expect((await pending).error).toMatchObject({ code: '08007', outcome: 'unknown' });
    expect(await lab.notes()).toEqual(['a']);
  });
});
