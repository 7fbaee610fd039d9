import QueryStream from 'pg-query-stream';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

const ROWS = 200_000;
const BATCH = 100;

describe('a query stream is read slowly while its primary is lost', () => {
  const lab = FailoverLab.forThisSuite();

  it.each([
    ['inside a transaction', 'BEGIN', 'replace'],
    ['outside of one', 'SELECT 1', 'replace'],
    ['inside a transaction, by a cut', 'BEGIN', 'cut'],
  ] as const)('%s: never more than a batch is fetched ahead', async (_what, before, how) => {
    const client = await lab.connect();
    await client.query(before);
    let fetched = 0;
    let executes = 0;
    for (const proxy of lab.proxies) {
      proxy.onBackendMessage = (type) => {
        if (type === 'D') fetched++;
        return undefined;
      };
      proxy.onFrontendMessage = (type) => {
        if (type === 'E') executes++;
        return undefined;
      };
    }
    const stream = client.query(
      new QueryStream(`SELECT n FROM generate_series(1, ${ROWS}) AS n`, [], { batchSize: BATCH }),
    );
    let given = 0;
    let mostBuffered = 0;
    for await (const row of stream) {
      given++;
      expect((row as { n: number }).n).toBe(given);
      mostBuffered = Math.max(mostBuffered, stream.readableLength);
      if (given === 550) {
        fetched = executes = 0;
        if (how === 'replace') await lab.replacePrimary();
        else lab.proxy.cut();
      }
      if (given === 1500) {
        // The replay fetches what was given once more, in the same portions, and then goes on at the reader's pace.
        await waitFor(() => fetched >= 1500, { message: 'the rows up to here' });
        expect(fetched).toBeLessThanOrEqual(1500 + 3 * BATCH);
        expect(executes).toBeLessThanOrEqual(fetched / BATCH + 10);
      }
      if (given === 2000) break;
    }
    expect(given).toBe(2000);
    expect(mostBuffered).toBeLessThanOrEqual(2 * BATCH);
    expect(fetched).toBeLessThanOrEqual(2000 + 3 * BATCH);
    if (before === 'BEGIN') await client.query('COMMIT');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
