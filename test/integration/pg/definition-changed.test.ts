import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

describe('a function that only read has come to write, and nobody has told the driver (R2, R6)', () => {
  let lab: FailoverLab;
  beforeAll(async () => {
    lab = await FailoverLab.start({ standbys: 0 });
  });
  beforeEach(async () => {
    await lab.ready();
  });
  afterAll(async () => {
    await lab.stop();
  });

  it('answers its COMMIT as unknown, and runs nothing twice', async () => {
    const other = await lab.stock();
    await other.query(`CREATE FUNCTION touch() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM note'`);
    const client = await lab.connect();
    await client.query('SELECT touch()');
    await client.query('SELECT touch()');
    await other.query(
      `CREATE OR REPLACE FUNCTION touch() RETURNS void LANGUAGE sql AS $$INSERT INTO note VALUES ('once')$$`,
    );
    await client.query('BEGIN');
    await client.query('SELECT touch()');
    // Behind any definition all is looked up again: from here on the driver knows that the function writes.
    await (await lab.connect()).query('CREATE TABLE unrelated ()');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
    const pending = settle(client.query('COMMIT'));
    await lost;
    expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    expect(await lab.notes()).toEqual(['once']);
  });

  it.each([
    ['in this process', () => lab.connect()],
    ['by somebody else', () => lab.stock()],
  ])(
    'does not run a statement twice that was proved to read a moment before: changed %s',
    async (_who, connect) => {
      const client = await lab.connect();
      await client.query(
        `CREATE OR REPLACE FUNCTION act() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM note'`,
      );
      await client.query('SELECT act()');
      await client.query('SELECT act()');
      const other = await connect();
      await other.query(
        `CREATE OR REPLACE FUNCTION act() RETURNS void LANGUAGE sql AS $$INSERT INTO note VALUES ('once')$$`,
      );
      const lost = onMessage(lab.proxy, { from: 'server', type: 'T', text: 'act' }, 'cut-before');
      const pending = settle(client.query('SELECT act()'));
      await lost;
      expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await lab.notes()).toEqual(['once']);
    },
  );
});
