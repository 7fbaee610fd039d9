import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle, type Settled } from '../../support/settle.ts';

describe('a function that read came to write, ran in a transaction, and only reads again when that is lost', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  /** The driver has proved that the function only reads, when somebody makes it write. */
  async function becomeWriting(
    name: string,
    andThen = async (): Promise<void> => {},
  ): Promise<WatchedClient> {
    const other = await lab.stock();
    await other.query(reading(name));
    const client = await lab.connect();
    for (let count = 0; count < 3; count++) await client.query(`SELECT ${name}()`);
    await lab.shipAll();
    await andThen();
    await other.query(writing(name));
    return client;
  }

  async function beginAndWrite(client: WatchedClient, name: string): Promise<void> {
    await client.query('BEGIN');
    expect((await client.query(`SELECT ${name}()`)).rows).toEqual([{ [name]: 'once' }]);
  }

  /** The COMMIT was not heard by any server. */
  async function expectTruth({ error }: Settled<unknown>): Promise<void> {
    expect(await lab.notes()).toEqual(error === undefined ? ['once'] : []);
    if (error !== undefined) expect(error.code).toMatch(/^(40001|08...)$/);
  }

  async function commitAndLosePrimary(client: WatchedClient): Promise<void> {
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const pending = settle(client.query('COMMIT'));
    await lost;
    await lab.primary.kill();
    await lab.cluster.failover();
    await expectTruth(await pending);
  }

  it.each([
    ['in front of the COMMIT', false],
    ['behind a statement', true],
  ])('is not called committed if somebody has put it back: lost %s', async (_where, isBehindStatement) => {
    const client = await becomeWriting('restored');
    await beginAndWrite(client, 'restored');
    await (await lab.stock()).query(reading('restored'));
    if (isBehindStatement) await client.query('SELECT 1');
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const pending = settle(client.query('COMMIT'));
    await lost;
    lab.proxy.cut();
    await expectTruth(await pending);
  });

  it('is not called committed if the change was lost with the old primary', async () => {
    const client = await becomeWriting('behind', async () => {
      await lab.primary.freezeWalSender();
    });
    await beginAndWrite(client, 'behind');
    await commitAndLosePrimary(client);
  });

  it('is not called committed if it was a view that was lost with the old primary', async () => {
    const other = await lab.stock();
    await other.query(`CREATE VIEW seen AS SELECT max(text) AS seen FROM note; ${writing('writes')}`);
    const client = await lab.connect();
    for (let count = 0; count < 3; count++) await client.query('SELECT seen FROM seen');
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    await other.query('CREATE OR REPLACE VIEW seen AS SELECT writes() AS seen');
    await client.query('BEGIN');
    expect((await client.query('SELECT seen FROM seen')).rows).toEqual([{ seen: 'once' }]);
    await commitAndLosePrimary(client);
  });

  it('does not go on as if it had been replayed', async () => {
    const client = await becomeWriting('open');
    await beginAndWrite(client, 'open');
    await (await lab.stock()).query(reading('open'));
    lab.proxy.cut();
    const next = await settle(client.query('SELECT 1'));
    await expectTruth(next.error === undefined ? await settle(client.query('COMMIT')) : next);
  });
});

function reading(name: string): string {
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS text LANGUAGE sql AS 'SELECT max(text) FROM note'`;
}

function writing(name: string): string {
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS text LANGUAGE sql AS
    $$INSERT INTO note VALUES ('once') RETURNING text$$`;
}
