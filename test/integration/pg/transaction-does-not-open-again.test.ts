import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

/** Review A2: if the unit that opens the transaction fails on the new server, the rest would run in autocommit. */
describe('the transaction can not be opened on the new server', () => {
  const lab = FailoverLab.forThisSuite();
  beforeEach(async () => {
    await lab.primary.query(`
      CREATE OR REPLACE FUNCTION only_on_the_old_server() RETURNS void LANGUAGE plpgsql AS $$
      BEGIN
        IF current_setting('port') <> '${lab.primary.port}' THEN RAISE 'this is another server'; END IF;
      END $$`);
  });

  it('writes nothing if the string that held BEGIN fails', async () => {
    const client = await lab.connect();
    await client.query('SELECT only_on_the_old_server(); BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query(`INSERT INTO note VALUES ('b')`);
    await lab.replacePrimary();
    const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('c')`));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged', outcome: 'rolled-back' });
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('d')`))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('writes nothing before BEGIN has been answered, and begins again if its answer never comes', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.killPrimary();
    const next = lab.proxyOf(lab.cluster.standbys[0]!);
    // The replayed BEGIN never arrives: what follows it would run outside any transaction.
    const swallowed = onMessage(next, { from: 'client', type: 'Q', text: 'BEGIN' }, () => 'cut-before');
    await lab.cluster.failover();
    const pending = client.query(`INSERT INTO note VALUES ('b')`);
    await swallowed;
    await pending;
    expect(await lab.notes()).toEqual([]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('begins again after a named BEGIN that the new server does not have', async () => {
    const client = await lab.connect();
    await client.query({ name: 'start', text: 'BEGIN' });
    await client.query('COMMIT');
    await client.query({ name: 'start', text: 'BEGIN' });
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual([]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('stops a replay whose transaction ends too early', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('SELECT only_on_the_old_server()');
    await client.query(`INSERT INTO note VALUES ('b')`);
    await lab.replacePrimary();
    const { error } = await settle(client.query('COMMIT'));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged', outcome: 'rolled-back' });
    expect(await lab.notes()).toEqual([]);
    // The error went to the COMMIT, which has ended the transaction with that (A13).
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });
});
