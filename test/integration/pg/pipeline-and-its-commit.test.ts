import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/**
 * What went over the wire, as `client Q COMMIT` and `server D`, in its order. The answer to BEGIN is held until both
 * INSERTs are on the wire: that is what a pipeline is.
 */
function record(proxy: FailoverLab['proxy']): string[] {
  const wire: string[] = [];
  let inserts = 0;
  proxy.onFrontendMessage = (type, body) => {
    wire.push(`client ${type} ${type === 'Q' ? body.toString().replace('\0', '') : ''}`.trim());
    if (type === 'E' || body.includes('INSERT')) inserts++;
    if (inserts >= 2) setImmediate(() => { proxy.release(); }); // prettier-ignore
    return undefined;
  };
  proxy.onBackendMessage = (type, body) => {
    wire.push(`server ${type}`);
    return type === 'C' && body.includes('BEGIN') && inserts < 2 ? 'hold' : undefined;
  };
  return wire;
}

describe('a pipeline that holds a whole transaction (R6)', () => {
  const lab = FailoverLab.forThisSuite();

  it.each([
    ['simple queries', false],
    ['queries with values', true],
  ])('of %s sends its COMMIT only when the mark is in', async (_what, isExtended) => {
    const client = await lab.connect({ pipeline: true });
    await client.query('SELECT 1');
    const wire = record(lab.proxy);
    const insert = (text: string): Promise<unknown> =>
      isExtended
        ? client.query('INSERT INTO note VALUES ($1)', [text])
        : client.query(`INSERT INTO note VALUES ('${text}')`);
    const results = [client.query('BEGIN'), insert('a'), insert('b'), client.query('COMMIT')];
    await Promise.all(results);
    const commit = wire.indexOf('client Q COMMIT');
    const before = wire.slice(0, commit);
    // The application's statements have no rows: the one row is the mark's, and it came in front of the COMMIT.
    expect(wire.filter((one) => one === 'server D')).toHaveLength(1);
    expect(before.filter((one) => one === 'server D')).toHaveLength(1);
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('does not let its COMMIT out while the mark is on its way, however long that takes', async () => {
    const client = await lab.connect({ pipeline: true });
    await client.query('SELECT 1');
    const sent: string[] = [];
    lab.proxy.onFrontendMessage = (type, body) => {
      if (type === 'Q') sent.push(body.toString().replace('\0', ''));
      return undefined;
    };
    const held = onMessage(lab.proxy, { from: 'server', type: 'D' }, 'hold'); // The mark's row.
    const results = [
      client.query('BEGIN'),
      client.query(`INSERT INTO note VALUES ('a')`),
      client.query('COMMIT'),
      client.query(`INSERT INTO note VALUES ('behind')`),
    ];
    const connection = await held;
    // A whole other session's work later it is still not out.
    const other = await lab.connect();
    for (let i = 0; i < 5; i++) await other.query('SELECT 1');
    expect(sent).toContain(`INSERT INTO note VALUES ('a')`);
    expect(sent).not.toContain('COMMIT');
    expect(sent).not.toContain(`INSERT INTO note VALUES ('behind')`);
    connection.release();
    await Promise.all(results);
    expect(sent.indexOf('COMMIT')).toBeGreaterThan(sent.indexOf(`INSERT INTO note VALUES ('a')`));
    expect(await lab.notes()).toEqual(['a', 'behind']);
  });

  it.each([
    ['done', 'cut-before'],
    ['not done', 'drop'],
  ] as const)('whose primary is lost with the COMMIT, which was %s, commits once', async (_what, fate) => {
    const client = await lab.connect({ pipeline: true });
    await client.query('SELECT 1');
    const lost =
      fate === 'drop'
        ? onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop')
        : onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'hold');
    const results = [
      client.query('BEGIN'),
      client.query('INSERT INTO note VALUES ($1)', ['a']),
      client.query('INSERT INTO note VALUES ($1)', ['b']),
      client.query('COMMIT'),
    ];
    await lost;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const commands = (await Promise.all(results)).map(({ command }) => command);
    expect(commands).toEqual(['BEGIN', 'INSERT', 'INSERT', 'COMMIT']);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('whose primary is lost before anything was answered is begun anew, or says that nothing is known', async () => {
    const client = await lab.connect({ pipeline: true });
    await client.query('SELECT 1');
    const held = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'BEGIN' }, 'hold');
    const results = [
      client.query('BEGIN'),
      client.query('INSERT INTO note VALUES ($1)', ['a']),
      client.query('COMMIT'),
    ].map((one) => settle(one));
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const settled = await Promise.all(results);
    expect(settled.map(({ error }) => error?.message)).toEqual([undefined, undefined, undefined]);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('of many statements that are cut in the middle gives each its own answer', async () => {
    const client = await lab.connect({ pipeline: true });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const cut = onMessage(lab.proxy, { from: 'server', type: 'D', after: 100 }, 'cut-before');
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const results = numbers.map((n) => client.query<{ n: number }>('SELECT $1::int AS n', [n]));
    await cut;
    expect((await Promise.all(results)).map(({ rows }) => rows[0]!.n)).toEqual(numbers);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    await waitFor(() => client.getTransactionStatus() === 'I');
    expect(client.seen.isQuiet).toBe(true);
  });
});
