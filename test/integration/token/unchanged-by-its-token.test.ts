import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import holdfast from '../../../src/pg.ts';
import { createTokenObjectsSql } from '../../../src/pg/token/token-objects.ts';
import { fieldsOf } from '../../support/drivers.ts';
import { PostgresNode } from '../../support/postgres-node.ts';
import { SCHEMA, STATEMENTS } from './statements-with-and-without.ts';

/** How the text is given to `query`: by itself, with parameters, by name. */
const FORMS: readonly { readonly name: string; readonly query: (text: string) => pg.QueryConfig }[] = [
  { name: 'as a Query', query: (text) => ({ text }) },
  {
    name: 'by the extended protocol',
    // Stock pg waits for ever where the copy protocol begins behind a Sync.
    query: (text) =>
      (/from stdin/i.test(text) ? { text } : { text, values: [], queryMode: 'extended' }) as pg.QueryConfig,
  },
];

/** What an application can see of one statement: in order, and without what is another one each time. */
type Seen = Record<string, unknown>;

async function run(
  owner: pg.Client,
  client: pg.Client,
  form: (text: string) => pg.QueryConfig,
  script: string,
): Promise<unknown[]> {
  await client.query('ROLLBACK').catch(() => undefined);
  await owner.query(SCHEMA);
  await client.query('SET search_path = work, public');
  const { rows: processes } = await client.query('SELECT pg_backend_pid() AS pid');
  const seen: unknown[] = [];
  const onNotice = (notice: unknown): void => {
    seen.push({ notice: withoutPlace(fieldsOf(notice as Error)) });
  };
  client.on('notice', onNotice);
  for (const text of script.split(';;;')) {
    seen.push(
      await client.query(form(text)).then(
        (result) => ({ results: [result].flat().map(resultOf) }),
        (error: unknown) => ({ error: withoutPlace(fieldsOf(error as Error)) }),
      ),
    );
    const { rows } = await client
      .query(`SELECT pg_catalog.current_setting('work.x', true) AS x`)
      .catch(() => ({ rows: ['failed'] }));
    seen.push(rows);
  }
  client.off('notice', onNotice);
  await client.query('ROLLBACK').catch(() => undefined);
  await client.query('RESET ALL; SET search_path = work, public; CLOSE ALL');
  const left = await client
    .query(
      `SELECT 't' AS "table", array_agg(t.*::text ORDER BY id) AS rows FROM t UNION ALL SELECT 'child', array_agg(child.*::text) FROM child
     UNION ALL SELECT 'loud', array_agg(loud.*::text) FROM loud UNION ALL SELECT 'late', array_agg(late.*::text) FROM late
     UNION ALL SELECT 'catalogue', array_agg(relname::text || relkind ORDER BY relname) FROM pg_class WHERE relnamespace = 'work'::regnamespace`,
    )
    .catch((error: unknown) => ({ rows: [(error as Error).message] }));
  seen.push(left.rows);
  // A token is never in the way of an ordinary error.
  const after = await client.query('SELECT pg_backend_pid() AS pid');
  seen.push(after.rows[0]?.pid === processes[0]?.pid ? 'the same process' : 'another process');
  return seen;
}

function resultOf({ command, rowCount, rows, fields }: pg.QueryResult): Seen {
  return {
    command,
    rowCount,
    rows,
    fields: fields.map(({ name, dataTypeID, dataTypeSize, dataTypeModifier, format }) => ({
      name,
      dataTypeID: dataTypeID < 16_384 ? dataTypeID : 0,
      dataTypeSize,
      dataTypeModifier,
      format,
    })),
  };
}

/** Where in the server's source it was raised is nobody's business; the protocol tells how long the message was. */
function withoutPlace(error: Seen): Seen {
  return { ...error, file: null, line: null, routine: null, length: null };
}

describe.each((process.env['V'] ?? '15,18').split(','))(
  'a statement with its token, PostgreSQL %s',
  (version) => {
    let node: PostgresNode;
    let owning: pg.Client | null = null;
    let isOwning = false;
    const clients = new Map<typeof pg.Client, pg.Client>();

    beforeAll(async () => {
      node = await PostgresNode.create({ version, settings: { max_prepared_transactions: 5 } });
      await node.start();
      await node.query(createTokenObjectsSql({ schema: 'holdfast' }));
    }, 60_000);

    afterEach(async ({ task }) => {
      // What went wrong once must not be held against the next statement.
      if (task.result?.state === 'fail') await hangUp();
    });

    afterAll(async () => {
      await hangUp();
      if (isOwning) await owning?.end();
      await node.destroy();
    });

    async function hangUp(): Promise<void> {
      const open = [...clients.values()];
      clients.clear();
      await node.query(
        `SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'same'`,
      );
      for (const client of open) client.end().catch(() => undefined);
    }

    /** Makes the schema, so that the others have defined nothing themselves. */
    async function owner(): Promise<pg.Client> {
      owning ??= new pg.Client(node.superuserConfig({ application_name: 'owner' }));
      if (!isOwning) await owning.connect();
      isOwning = true;
      return owning;
    }

    async function client(of: typeof pg.Client): Promise<pg.Client> {
      let made = clients.get(of);
      if (made === undefined) {
        made = new of(
          node.superuserConfig({ application_name: 'same', failover: { commitOutcome: 'token' } } as object),
        );
        made.on('error', () => undefined);
        await made.connect();
        clients.set(of, made);
      }
      return made;
    }

    for (const { name, query } of FORMS) {
      describe(name, () => {
        it.each(STATEMENTS.map((text) => [text]))('%j', { timeout: 6_000 }, async (text) => {
          const expected = await run(await owner(), await client(pg.Client), query, text);
          expect(await run(await owner(), await client(holdfast.Client), query, text)).toEqual(expected);
        });
      });
    }
  },
);
