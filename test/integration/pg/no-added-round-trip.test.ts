import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION } from '../../support/postgres-template.ts';

const SIMPLE = ['BEGIN', `INSERT INTO note VALUES ('a')`, 'COMMIT'];
const WITH_PARAMETERS = ['BEGIN', { text: 'INSERT INTO note VALUES ($1)', values: ['b'] }, 'COMMIT'];
const READING = ['BEGIN', { text: 'SELECT text FROM note WHERE text = $1', values: ['b'] }, 'COMMIT'];

describe('a transaction takes as many flights over the network as with stock pg (R6)', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  /** How often the direction on the wire turns from the server's to the client's. */
  async function flightsOf(
    make: typeof pg.Client,
    work: readonly (string | pg.QueryConfig)[],
  ): Promise<number> {
    const { host, port } = lab.proxy;
    const client = new make({ ...APPLICATION, host, port });
    await client.connect();
    const run = async (): Promise<void> => {
      for (const one of work) await client.query(one as string);
    };
    // The driver judges statements that it has not seen before when the session is idle for the first time.
    await run();
    await run();
    let flights = 0;
    let isServersTurn = true;
    lab.proxy.onFrontendMessage = () => {
      if (isServersTurn) flights++;
      isServersTurn = false;
      return undefined;
    };
    lab.proxy.onBackendMessage = () => {
      isServersTurn = true;
      return undefined;
    };
    await run();
    lab.proxy.onFrontendMessage = undefined;
    lab.proxy.onBackendMessage = undefined;
    await client.end();
    return flights;
  }

  it.each([
    ['simple queries', SIMPLE],
    ['parameters', WITH_PARAMETERS],
    ['only reads', READING],
  ])('%s', async (_what, work) => {
    expect(await flightsOf(pg.Client, work)).toBe(3);
    expect(await flightsOf(Client, work)).toBe(3);
  });
});
