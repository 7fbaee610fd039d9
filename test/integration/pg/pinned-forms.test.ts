import type { CustomTypesConfig, QueryConfig } from 'pg';
import { describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

const SET_UP = `
  CREATE TYPE mood AS ENUM ('calm', 'wild');
  CREATE SEQUENCE ticket;
  CREATE TABLE item (
    id bigserial PRIMARY KEY,
    name text UNIQUE,
    at timestamptz NOT NULL DEFAULT now(),
    clock timestamptz NOT NULL DEFAULT clock_timestamp(),
    token uuid NOT NULL DEFAULT gen_random_uuid(),
    price float8 DEFAULT random());
  CREATE TABLE always (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text,
    "made At" timestamp(3) DEFAULT clock_timestamp(),
    long text GENERATED ALWAYS AS (name || '!') STORED);
  CREATE TABLE typed (
    id serial, moods mood[], mood mood DEFAULT 'calm', document jsonb, factor float8, numbers int[],
    tokens uuid[] DEFAULT ARRAY[gen_random_uuid(), gen_random_uuid()], "O'Brien \\ quote" text DEFAULT md5(random()::text));
`;

/** `binary` is what pg knows and its types don't. */
type Statement = (QueryConfig & { readonly binary?: boolean }) | string;

const FORMS: readonly (readonly [string, Statement])[] = [
  ['one row, a parameter', { text: 'INSERT INTO item (name) VALUES ($1) RETURNING id', values: ['a'] }],
  [
    'several rows',
    { text: 'INSERT INTO item (name) VALUES ($1), ($2), ($3) RETURNING *', values: ['a', 'b', 'c'] },
  ],
  ['a Query message', `INSERT INTO item (name) VALUES ('a\\''b'), (E'c\\nd') RETURNING id, name, clock`],
  [
    'a named statement',
    { name: 'n', text: 'INSERT INTO item (name) VALUES ($1) RETURNING *', values: ['a'] },
  ],
  [
    'a result in binary',
    { text: 'INSERT INTO item (name) VALUES ($1) RETURNING *', values: ['a'], binary: true },
  ],
  [
    'DEFAULT in some rows',
    `INSERT INTO item (id, name, at) VALUES (DEFAULT, 'a', DEFAULT), (1000, 'b', now()) RETURNING *`,
  ],
  ['DEFAULT VALUES', 'INSERT INTO item DEFAULT VALUES RETURNING *'],
  ['no list of columns', `INSERT INTO item VALUES (DEFAULT, 'a') RETURNING *`],
  [
    'names and aliases',
    `INSERT INTO public."item" AS i (name) VALUES ('a') RETURNING i.id AS "the Id", i.token t, 1 AS one`,
  ],
  [
    'columns and an expression',
    `INSERT INTO item (name) VALUES ('a') RETURNING id, now(), gen_random_uuid() AS made, price`,
  ],
  [
    'nextval in VALUES',
    `INSERT INTO item (id, name) VALUES (nextval('ticket'), 'a'), (nextval('item_id_seq'), 'b') RETURNING *`,
  ],
  [
    'nextval of a parameter',
    { text: 'INSERT INTO item (id, name) VALUES (nextval($1), $2) RETURNING *', values: ['ticket', 'a'] },
  ],
  [
    'expressions',
    `INSERT INTO item (name, clock) VALUES ('x' || gen_random_uuid(), clock_timestamp() - interval '1 day') RETURNING *`,
  ],
  [
    'GENERATED ALWAYS, a stored generated column',
    `INSERT INTO always (name) VALUES ('a'), ('b') RETURNING *`,
  ],
  [
    'OVERRIDING USER VALUE',
    `INSERT INTO always (id, name) OVERRIDING USER VALUE VALUES (7, 'a') RETURNING *`,
  ],
  ['GENERATED ALWAYS, no list of columns', `INSERT INTO always VALUES (DEFAULT, 'a') RETURNING *`],
  [
    'arrays, enums, JSON, float8',
    {
      text: `INSERT INTO typed (moods, mood, document, factor, numbers) VALUES ($1, 'wild', $2, $3, $4) RETURNING *`,
      values: ['{calm,wild}', { a: [1, '"'] }, 0.1 + 0.2, [1, 2]],
    },
  ],
  [
    'ON CONFLICT DO UPDATE that inserts',
    `INSERT INTO item (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET at = excluded.at RETURNING *`,
  ],
  [
    'ON CONFLICT DO UPDATE that finds a row',
    `INSERT INTO item (name) VALUES ('there') ON CONFLICT (name) DO UPDATE SET clock = clock_timestamp() RETURNING *`,
  ],
  [
    'ON CONFLICT DO UPDATE, both',
    `INSERT INTO item (name, price) VALUES ('there', 1), ('new', 2)
     ON CONFLICT (name) DO UPDATE SET clock = clock_timestamp(), price = item.price + excluded.price RETURNING *`,
  ],
  [
    'ON CONFLICT DO UPDATE to now()',
    `INSERT INTO item (name) VALUES ('there') ON CONFLICT (name) DO UPDATE SET at = now() RETURNING *`,
  ],
  ['ON CONFLICT DO NOTHING', `INSERT INTO item (name) VALUES ('new') ON CONFLICT DO NOTHING RETURNING id`],
  [
    'ON CONFLICT DO NOTHING that does nothing',
    `INSERT INTO item (name) VALUES ('there') ON CONFLICT DO NOTHING RETURNING id`,
  ],
  [
    'INSERT … SELECT, all',
    `INSERT INTO item (name) SELECT 's' || n FROM generate_series(1, 5) n RETURNING *`,
  ],
  [
    'INSERT … SELECT, the key alone',
    `INSERT INTO item (name) SELECT 's' || n FROM generate_series(1, 5) n ORDER BY n DESC RETURNING id`,
  ],
  ['INSERT … SELECT of literals', `INSERT INTO typed (mood, document) SELECT 'wild', '{"a":1}' RETURNING *`],
  [
    'INSERT … SELECT that makes',
    `INSERT INTO item (name, token) SELECT n::text, gen_random_uuid() FROM generate_series(1, 3) n RETURNING *`,
  ],
  [
    'unnest',
    {
      text: 'INSERT INTO item (name, price) SELECT * FROM unnest($1::text[], $2::float8[]) RETURNING id',
      values: [
        ['x', 'y', 'z'],
        [1, 2, 3],
      ],
    },
  ],
  ['WITH in front', `WITH n AS (SELECT 'w' AS name) INSERT INTO item (name) SELECT name FROM n RETURNING *`],
  ['UPDATE to now()', `UPDATE item SET at = now() WHERE name = 'there' RETURNING *`],
  [
    'UPDATE of one row',
    `UPDATE item SET token = gen_random_uuid(), clock = clock_timestamp() WHERE name = 'there' RETURNING token, clock`,
  ],
  ['UPDATE of several rows', `UPDATE item SET token = gen_random_uuid() RETURNING id, token`],
  [
    'UPDATE of several rows in binary',
    { text: `UPDATE item i SET token = gen_random_uuid() RETURNING i.*`, binary: true },
  ],
  ['UPDATE to DEFAULT', `UPDATE item SET clock = DEFAULT, at = DEFAULT WHERE name = 'there' RETURNING *`],
  [
    'UPDATE … FROM',
    `UPDATE item SET clock = clock_timestamp() FROM (VALUES ('there')) v(n) WHERE name = v.n RETURNING item.*`,
  ],
  ['DELETE', `DELETE FROM item WHERE name = 'there' RETURNING id, now()`],
  ['SELECT nextval', `SELECT nextval('ticket')`],
  ['SELECT nextval of a parameter', { text: 'SELECT nextval($1) AS id', values: ['ticket'] }],
  [
    'SELECT of a time',
    'SELECT now(), current_timestamp(3), localtimestamp, current_date, transaction_timestamp() AS t',
  ],
  [
    'SELECT of what is made',
    'SELECT gen_random_uuid(), random(), clock_timestamp() AS c, statement_timestamp(), md5(random()::text)',
  ],
  [
    'SELECT of what is made, in binary',
    { text: 'SELECT gen_random_uuid(), random(), now(), clock_timestamp(), 1::int', binary: true },
  ],
  ['now() in a query with rows', `SELECT name, now(), at <= now() AS past FROM item`],
  [
    'several statements in a text',
    `INSERT INTO item (name) VALUES ('a') RETURNING id; SELECT 1; INSERT INTO item (name) VALUES ('b') RETURNING *`,
  ],
  ['pg_backend_pid and the transaction’s number', 'SELECT pg_backend_pid(), txid_current()'],
];

/** These are not pinned: the reason is told. */
const REFUSED: readonly (readonly [string, Statement, RegExp])[] = [
  [
    'DO NOTHING with fewer rows',
    `INSERT INTO item (name) VALUES ('there'), ('new') ON CONFLICT DO NOTHING RETURNING id`,
    /INSERT INTO item; .*not as many rows/,
  ],
  [
    'UPDATE of several rows without their key',
    `UPDATE item SET token = gen_random_uuid() RETURNING token`,
    /UPDATE item; .*primary key/,
  ],
  ['nextval for rows', `SELECT name, nextval('ticket') FROM item`, /SELECT; .*differs from row to row/],
  [
    'a write within WITH',
    `WITH i AS (INSERT INTO item (name) VALUES ('a') RETURNING id) SELECT id FROM i`,
    /WITH .*within WITH/,
  ],
  [
    'MERGE',
    `MERGE INTO item USING (VALUES ('m')) v(n) ON name = n WHEN NOT MATCHED THEN INSERT (name) VALUES (n) RETURNING id`,
    /MERGE INTO item; .*MERGE/,
  ],
  [
    'a value that differs in WHERE',
    `SELECT id FROM generate_series(1, 2000) id WHERE random() < 0.5`,
    /SELECT; .*WHERE/,
  ],
  [
    'a sequence in an expression',
    `INSERT INTO item (name) VALUES ('n-' || nextval('ticket')) RETURNING name`,
    /INSERT INTO item; .*made from a sequence/,
  ],
];

type Row = Record<string, unknown>;

const AS_TEXT = { getTypeParser: () => (value: unknown) => value } as unknown as CustomTypesConfig;

function common(one: Row, given: Row): Row {
  return Object.fromEntries(Object.entries(one).filter(([name]) => name in given));
}

describe.each(['14', '17', '18'])('values that PostgreSQL %s made', (version) => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, version, setUp: SET_UP });

  async function begin(): Promise<WatchedClient> {
    await lab.primary.query(
      `TRUNCATE item; INSERT INTO item (name, price) VALUES ('there', 10), ('other', 20); TRUNCATE always, typed`,
    );
    const client = await lab.connect({ types: AS_TEXT });
    await client.query('BEGIN');
    return client;
  }

  /** What is stored, in the words of the server: only the columns that were given to the application count. */
  async function stored(given: readonly Row[]): Promise<unknown[]> {
    const client = await lab.stock({ types: AS_TEXT });
    const found: unknown[] = [];
    for (const row of given) {
      const table = 'made At' in row || 'long' in row ? 'always' : 'moods' in row ? 'typed' : 'item';
      const { rows } = await client.query<Row>(`SELECT * FROM ${table} WHERE id = $1`, [row['id']]);
      found.push(...rows.map((one) => ({ ...row, ...common(one, row) })));
    }
    return found;
  }

  it.each(FORMS)('%s: come again', async (_name, statement) => {
    const client = await begin();
    const { rows } = (await client.query(statement as QueryConfig)) as { rows: Row[] | undefined };
    const { replays } = client.failover!.snapshot();
    lab.proxy.cut();
    await client.query('SELECT 1');
    await client.query('COMMIT');
    expect(client.failover!.snapshot().replays).toBe(replays + 1);
    const given = (rows ?? []).filter((row) => typeof row['id'] === 'string' && 'name' in row);
    if (!JSON.stringify(statement).includes('DELETE')) expect(await stored(given)).toEqual(given);
    // What is drawn from here on is new.
    await client.query(
      `INSERT INTO item (name) VALUES ('later'); INSERT INTO always (name) VALUES ('later')`,
    );
  });

  it.each(REFUSED.filter(([name]) => name !== 'MERGE' || Number(version) >= 17))(
    '%s: are not pinned, and the reason is told',
    async (_name, statement, reason) => {
      const client = await begin();
      await client.query(statement as QueryConfig);
      lab.proxy.cut();
      const error = await rejectionOf(client.query('SELECT 1'));
      expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
      expect(String(error)).toMatch(reason);
    },
  );
});
