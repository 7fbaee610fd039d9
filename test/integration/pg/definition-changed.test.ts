import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('a function that only read has come to write, and nobody has told the driver (R2, R6)', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('finds out what became of its COMMIT, and runs nothing twice', async () => {
    const other = await lab.stock();
    await other.query(reading('touch'));
    const client = await lab.connect();
    await client.query('SELECT touch()');
    await client.query('SELECT touch()');
    await other.query(writing('touch'));
    await client.query('BEGIN');
    await client.query('SELECT touch()');
    // Behind any definition all is looked up again: from here on the driver knows that the function writes.
    await (await lab.connect()).query('CREATE TABLE unrelated ()');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
    const pending = settle(client.query('COMMIT'));
    await lost;
    expect((await pending).value?.command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['once']);
  });

  it.each([
    ['in this process', () => lab.connect()],
    ['by somebody else', () => lab.stock()],
  ])(
    'does not run a statement twice that was proved to read a moment before: changed %s',
    async (_who, connect) => {
      const client = await lab.connect();
      await client.query(reading('act'));
      await client.query('SELECT act()');
      await client.query('SELECT act()');
      const other = await connect();
      await other.query(writing('act'));
      const lost = onMessage(lab.proxy, { from: 'server', type: 'T', text: 'act' }, 'cut-before');
      const pending = settle(client.query('SELECT act()'));
      await lost;
      expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await lab.notes()).toEqual(['once']);
    },
  );

  it('does not call a COMMIT done that never arrived, if no server is found any more', async () => {
    const other = await lab.stock();
    await other.query(reading('ended'));
    const client = await lab.connect({ failover: { timeoutMillis: 800 } });
    await client.query('SELECT ended()');
    await client.query('SELECT ended()');
    await other.query(writing('ended'));
    await client.query('BEGIN');
    await client.query('SELECT ended()');
    await lab.proxy.refuse();
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const pending = settle(client.query('COMMIT'));
    await lost;
    lab.proxy.cut();
    expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    expect(await lab.notes()).toEqual([]);
  });

  it('does not call it done either if something behind it dooms the session', async () => {
    const other = await lab.stock();
    await other.query(reading('piped'));
    const client = await lab.connect({ pipeline: true }); // Missing in @types/pg.
    await client.query('SELECT piped()');
    await client.query('SELECT piped()');
    await other.query(writing('piped'));
    await client.query('BEGIN');
    await client.query('SELECT piped()');
    let dropped = 0;
    lab.proxy.onFrontendMessage = () => {
      dropped++;
      return 'drop';
    };
    const pending = [settle(client.query('COMMIT')), settle(client.query('BEGIN; COMMIT; BEGIN'))];
    await waitFor(() => dropped === 2);
    lab.proxy.onFrontendMessage = undefined;
    lab.proxy.cut();
    const [first] = await Promise.all(pending);
    expect(first!.error).toBeDefined();
    expect(await lab.notes()).toEqual([]);
  });
});

describe('a standby that is behind still shows the old definition', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  it('which decides nothing about what ran on the primary', async () => {
    const [standby] = lab.cluster.standbys;
    const other = await lab.stock();
    await other.query(reading('behind'));
    await lab.cluster.waitForReplay();
    const client = await lab.connect();
    const reader = await lab.connect({
      connectionString: lab.connectionString().replace('read-write', 'standby'),
    });
    for (const one of [client, client, reader]) await one.query('SELECT behind()');
    await standby!.query('SELECT pg_wal_replay_pause()');
    try {
      await other.query(writing('behind'));
      await lab.proxy.refuse();
      const lost = onMessage(lab.proxy, { from: 'server', type: 'T', text: 'behind' }, 'cut-before');
      const pending = settle(client.query('SELECT behind()'));
      await lost;
      // Meanwhile the reader recovers, and learns from its standby what it says: that is younger than the loss.
      const readerLost = onMessage(
        lab.proxyOf(standby!),
        { from: 'server', type: 'T', text: 'behind' },
        'cut-before',
      );
      const read = settle(reader.query('SELECT behind()'));
      await readerLost;
      expect((await read).error).toBeUndefined();
      await lab.proxy.pass();
      expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await lab.notes()).toEqual(['once']);
    } finally {
      await standby!.query('SELECT pg_wal_replay_resume()');
    }
  });
});

function reading(name: string): string {
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM note'`;
}

function writing(name: string): string {
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS void LANGUAGE sql AS $$INSERT INTO note VALUES ('once')$$`;
}
