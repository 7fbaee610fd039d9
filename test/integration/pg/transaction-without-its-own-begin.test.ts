import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

/** Review A1: what was committed must never be written again, whatever the status byte says. */
describe('the primary is lost in a transaction that a COMMIT or ROLLBACK began', () => {
  const lab = FailoverLab.forThisSuite();

  it('goes on after COMMIT AND CHAIN', async () => {
    const client = await lab.connect();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query(`INSERT INTO note VALUES ('first')`);
    await client.query('COMMIT AND CHAIN');
    await client.query(`INSERT INTO note VALUES ('second')`);
    await lab.replacePrimary();
    const { rows } = await client.query(`SELECT current_setting('transaction_isolation') AS level`);
    expect(rows).toEqual([{ level: 'repeatable read' }]);
    expect(await lab.notes()).toEqual(['first']);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['first', 'second']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('goes on after COMMIT AND CHAIN, straight after it and twice', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('first')`);
    await client.query('COMMIT AND CHAIN');
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('second')`);
    await client.query('COMMIT AND CHAIN');
    await lab.cluster.rejoin(lab.cluster.nodes.find((node) => node !== lab.primary)!);
    await client.query(`INSERT INTO note VALUES ('third')`);
    await lab.replacePrimary();
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['first', 'second', 'third']);
  });

  it('does not write twice if COMMIT AND CHAIN was committed and its answer lost', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('first')`);
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = settle(client.query('COMMIT AND CHAIN'));
    await lost;
    await lab.replacePrimary();
    const { error } = await commit;
    expect(error).toMatchObject({ code: '08007', outcome: 'committed' });
    expect(await lab.notes()).toEqual(['first']);
  });

  it('goes on after ROLLBACK AND CHAIN', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('first')`);
    await client.query('ROLLBACK AND CHAIN');
    await client.query(`INSERT INTO note VALUES ('second')`);
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('third')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['second', 'third']);
  });

  it.each([
    ['COMMIT; BEGIN', `COMMIT; BEGIN`],
    [
      'INSERT; COMMIT; BEGIN; INSERT',
      `INSERT INTO note VALUES ('x'); COMMIT; BEGIN; INSERT INTO note VALUES ('y')`,
    ],
  ])('refuses to replay what began inside the string %s', async (_name, sql) => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('first')`);
    await client.query(sql);
    const committed = sql.includes('x') ? ['first', 'x'] : ['first'];
    await client.query(`INSERT INTO note VALUES ('second')`);
    await lab.replacePrimary();
    const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('third')`));
    expect(error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    expect(error.message).toMatch(/multi-statement string/);
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('fourth')`))).toMatchObject({
      code: '25P02',
    });
    await client.query('ROLLBACK');
    expect(await lab.notes()).toEqual(committed);
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual([...committed, 'later'].sort());
  });

  it.each([
    ['COMMIT; BEGIN', `COMMIT; BEGIN`, ['first']],
    ['INSERT; COMMIT', `INSERT INTO note VALUES ('x'); COMMIT`, ['first', 'x']],
    [
      'INSERT; COMMIT; BEGIN; INSERT',
      `INSERT INTO note VALUES ('x'); COMMIT; BEGIN; INSERT INTO note VALUES ('y')`,
      ['first', 'x'],
    ],
  ])(
    'does not write twice if the string %s had committed and its answer was lost',
    async (_name, sql, committed) => {
      const client = await lab.connect();
      await client.query('BEGIN');
      // With a parameter, so that no hidden message of the driver's comes behind its answer.
      await client.query('INSERT INTO note VALUES ($1)', ['first']);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const pending = settle(client.query(sql));
      await lost;
      await lab.replacePrimary();
      const { error } = await pending;
      expect(error).toMatchObject({ code: '08007' });
      // What it began may not go on in autocommit.
      const next = await settle(client.query(`INSERT INTO note VALUES ('second')`));
      await client.query('ROLLBACK');
      const begins = sql.includes('BEGIN');
      expect(next.error?.code).toBe(begins ? '25P02' : undefined);
      expect(await lab.notes()).toEqual(begins ? committed : [...committed, 'second'].sort());
    },
  );
});
