import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

const GIVEN_UP = `INSERT INTO note VALUES ('given up') RETURNING text`;
/** pg takes it for every query of the client, objects with a `submit` of their own too. */
const IMPATIENT: ClientConfig = { query_timeout: 300 };

/** Each gives the work to the client, and resolves with what the application was told. */
const WAYS: readonly (readonly [string, (client: WatchedClient) => Promise<Error>])[] = [
  [
    'a Query object',
    async (client) =>
      await new Promise((resolve) => {
        client.query(
          new pg.Query(GIVEN_UP, (error: Error | undefined) => {
            resolve(error!);
          }),
        );
      }),
  ],
  ['a cursor', async (client) => await rejectionOf(client.query(new Cursor(GIVEN_UP)).read(1))],
  [
    'a query stream',
    async (client) => {
      const stream = client.query(new QueryStream(GIVEN_UP)) as QueryStream & { readonly cursor: Cursor };
      stream.on('error', () => undefined).resume();
      // The stream itself tells it behind the next ReadyForQuery only.
      const [error] = (await once(stream.cursor, 'error')) as [Error];
      return error;
    },
  ],
  [
    'a COPY FROM STDIN',
    async (client) =>
      await rejectionOf(
        pipeline(Readable.from(['given up\n']), client.query(copyFrom('COPY note FROM STDIN'))),
      ),
  ],
];

/** Rule R15 for what pg itself does not make a Query of: its `query_timeout` holds for these too. */
describe('the application gives up on an object of its own during a failover', () => {
  const lab = FailoverLab.forThisSuite();
  /** Texts that reached the new primary. */
  let sent: string[];
  beforeEach(() => {
    sent = [];
  });

  async function killPrimary(): Promise<void> {
    for (const proxy of lab.standbyProxies) {
      proxy.onFrontendMessage = (type, body) => {
        if (type === 'Q' || type === 'P' || type === 'd') sent.push(body.toString());
        return undefined;
      };
    }
    await lab.killPrimary();
  }

  /** A failover that another session has seen through: whatever was to be sent has been sent by then. */
  async function failOver(): Promise<void> {
    await lab.cluster.failover();
    const other = await lab.connect();
    await other.query('SELECT 1');
  }

  it.each(WAYS)('%s is never sent', async (_way, run) => {
    const client = await lab.connect(IMPATIENT);
    await killPrimary();
    expect((await run(client)).message).toBe('Query read timeout');
    await failOver();
    const patient = { text: `INSERT INTO note VALUES ('later')`, query_timeout: 30_000 };
    await client.query(patient);
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(WAYS)('%s inside a transaction, which is not committed', async (_way, run) => {
    const client = await lab.connect(IMPATIENT);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killPrimary();
    expect((await run(client)).message).toBe('Query read timeout');
    await failOver();
    const patient = (text: string): pg.QueryConfig => ({ text, query_timeout: 30_000 }) as pg.QueryConfig;
    expect((await settle(client.query(patient('COMMIT')))).error).toMatchObject({ code: '40001' });
    await client.query(patient(`INSERT INTO note VALUES ('later')`));
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
    expect(client.seen.isQuiet).toBe(true);
  });
});
