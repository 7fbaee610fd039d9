import type { Client, Connection, QueryConfig, QueryResult, Submittable } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { beforeAll, describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { writeRawUnits, type Wire, type WireMessage } from '../../support/raw-units.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const SET_UP = `
  CREATE TABLE item (
    id bigserial PRIMARY KEY,
    name text UNIQUE,
    token uuid NOT NULL DEFAULT gen_random_uuid(),
    clock timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE TABLE seen (id serial PRIMARY KEY, name text, statement text);
  CREATE TABLE ruled (id serial PRIMARY KEY, name text);
  CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO seen (name) VALUES ('rule');
  CREATE TABLE watched (id serial PRIMARY KEY, name text);
  CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO seen (name, statement) VALUES (new.name, current_query()); RETURN new; END $$;
  CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION watch();
  CREATE VIEW shown AS SELECT id, name FROM item;
  CREATE VIEW put AS SELECT id, name FROM item;
  CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO item (name) VALUES (new.name); RETURN new; END $$;
  CREATE TRIGGER put INSTEAD OF INSERT ON put FOR EACH ROW EXECUTE FUNCTION put();
  CREATE TABLE secured (id serial PRIMARY KEY, name text);
  ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
  CREATE TABLE parted (id serial, name text) PARTITION BY LIST (name);
  CREATE TABLE part PARTITION OF parted DEFAULT;
  CREATE TABLE parent (id serial PRIMARY KEY, name text);
  CREATE TABLE child () INHERITS (parent);
  CREATE TABLE computed (
    id serial PRIMARY KEY, name text, twice text GENERATED ALWAYS AS (name || name) STORED,
    CHECK (name <> 'forbidden'));
`;
const ROLE = `
  CREATE ROLE writer LOGIN PASSWORD 'writer';
  GRANT INSERT ON item TO writer; GRANT USAGE ON SEQUENCE item_id_seq TO writer;
`;

/** `binary` is what pg knows and its types don't. */
type Statement = (QueryConfig & { readonly binary?: boolean }) | string;

const FORMS: readonly (readonly [string, Statement])[] = [
  [
    'an expression of the key',
    { text: 'INSERT INTO item (name) VALUES ($1) RETURNING id + 1 AS n', values: ['a'] },
  ],
  ['no RETURNING', { text: 'INSERT INTO item (name) VALUES ($1)', values: ['a'] }],
  ['no RETURNING, a Query message', `INSERT INTO item (name) VALUES ('a'), ('b'); -- done`],
  [
    'whether it was inserted',
    `INSERT INTO item (name) VALUES ('there') ON CONFLICT (name) DO UPDATE
     SET token = gen_random_uuid() RETURNING (xmax = 0) AS inserted`,
  ],
  [
    'INSERT … SELECT',
    { text: `INSERT INTO item (name) SELECT 's' || n FROM generate_series(1, $1::int) n`, values: [3] },
  ],
  ['UPDATE without its key', `UPDATE item SET token = gen_random_uuid()`],
  ['a part of the columns', { text: 'INSERT INTO item (name) VALUES ($1) RETURNING id', values: ['a'] }],
  [
    'a result in binary',
    { text: 'INSERT INTO item (name) VALUES ($1), ($2) RETURNING id', values: ['a', 'b'], binary: true },
  ],
  ['the time of the transaction', `INSERT INTO item (name) VALUES ('a') RETURNING now() AS at`],
  ['DEFAULT VALUES', 'INSERT INTO item DEFAULT VALUES'],
  [
    'nothing was to be done',
    { text: 'INSERT INTO item (name) VALUES ($1) ON CONFLICT DO NOTHING', values: ['there'] },
  ],
];

/** These go out as they are. */
const LEFT_ALONE: readonly (readonly [string, Statement])[] = [
  ['a table with a rule', `INSERT INTO ruled (name) VALUES ('r')`],
  ['a table with a trigger', `INSERT INTO watched (name) VALUES ('w')`],
  ['a partitioned table', `INSERT INTO parted (name) VALUES ('p')`],
  ['a table with children', `INSERT INTO parent (name) VALUES ('p')`],
  ['a view', `INSERT INTO shown (name) VALUES ('v')`],
  ['a view with INSTEAD OF', `INSERT INTO put (name) VALUES ('p')`],
  ['row level security', `INSERT INTO secured (name) VALUES ('s')`],
  ['a named statement', { name: 'n', text: 'INSERT INTO item (name) VALUES ($1)', values: ['a'] }],
  ['all columns are returned', `INSERT INTO item (name) VALUES ('a') RETURNING *`],
  [
    'a write within WITH',
    `WITH i AS (INSERT INTO item (name) VALUES ('a') RETURNING 1) SELECT count(*) FROM i`,
  ],
  ['two statements', `INSERT INTO item (name) VALUES ('a'); INSERT INTO item (name) VALUES ('b')`],
];

const ALL = 'SELECT id, name, token, clock::text FROM item ORDER BY id, name';
const ATTEMPTS = 10;

function shown({ command, rowCount, rows, fields }: QueryResult): unknown {
  return {
    command,
    rowCount,
    rows: rows as unknown[],
    fields: fields.map(({ name, dataTypeID, format }) => [name, dataTypeID, format]),
  };
}

/** What comes back for units written by hand, as far as it does not differ from one run to the next. */
async function written(client: Client, units: number, write: (wire: Wire) => void): Promise<string[]> {
  return (await writeRawUnits(client, units, write)).map(shapeOf);
}

function shapeOf({ name, status = '', text = '', code = '', fields = [] }: WireMessage): string {
  return `${name} ${status}${text}${code}${fields.map((field) => (typeof field === 'string' ? 'value' : (field as { name: string }).name)).join(',')}`;
}

function unnamed(text: string, values: string[], rows?: number): (wire: Wire) => void {
  return (wire) => {
    wire.parse({ text }, true);
    wire.bind({ values }, true);
    wire.describe({ type: 'P', name: '' }, true);
    wire.execute(rows === undefined ? {} : { rows }, true);
    wire.sync();
  };
}

const PLAIN = 'INSERT INTO item (name) VALUES ($1)';

/** How many statements of it go out with more columns, in how many units. */
const ON_THE_WIRE: readonly {
  readonly what: string;
  readonly write: (wire: Wire) => void;
  readonly recorded: number;
  readonly units?: number;
}[] = [
  { what: 'an INSERT', write: unnamed(PLAIN, ['a']), recorded: 1 },
  { what: 'an INSERT of nothing', write: unnamed(`${PLAIN} ON CONFLICT DO NOTHING`, ['there']), recorded: 1 },
  { what: 'an INSERT that returns', write: unnamed(`${PLAIN} RETURNING name, id`, ['a']), recorded: 1 },
  {
    what: 'a Query',
    write: (wire) => {
      wire.query(`INSERT INTO item (name) VALUES ('a'), ('b')`);
    },
    recorded: 1,
  },
  {
    what: 'a Query that returns',
    write: (wire) => {
      wire.query(`INSERT INTO item (name) VALUES ('a'), ('b') RETURNING name`);
    },
    recorded: 1,
  },
  { what: 'an error', write: unnamed(PLAIN, ['there']), recorded: 1 },
  {
    what: 'an error of a check',
    write: unnamed('INSERT INTO computed (name) VALUES ($1)', ['forbidden']),
    recorded: 1,
  },
  {
    what: 'a computed column',
    write: unnamed('INSERT INTO computed (name) VALUES ($1)', ['a']),
    recorded: 1,
  },
  {
    what: 'an UPDATE',
    write: unnamed('UPDATE item SET token = gen_random_uuid() WHERE name <> $1', ['a']),
    recorded: 1,
  },
  { what: 'a limit of rows', write: unnamed(`${PLAIN}, ('b') RETURNING name`, ['a'], 1), recorded: 0 },
  {
    what: 'a description of the statement',
    write: (wire) => {
      wire.parse({ text: PLAIN }, true);
      wire.describe({ type: 'S', name: '' }, true);
      wire.bind({ values: ['a'] }, true);
      wire.execute({}, true);
      wire.sync();
    },
    recorded: 0,
  },
  {
    what: 'no description',
    write: (wire) => {
      wire.parse({ text: PLAIN }, true);
      wire.bind({ values: ['a'] }, true);
      wire.execute({}, true);
      wire.sync();
    },
    recorded: 0,
  },
  {
    what: 'a pipeline: only the first of it',
    write: (wire) => {
      unnamed(PLAIN, ['a'])(wire);
      unnamed(PLAIN, ['b'])(wire);
      unnamed('SELECT $1', ['c'])(wire);
    },
    recorded: 1,
    units: 3,
  },
  {
    what: 'what was parsed, bound again in a pipeline',
    write: (wire) => {
      unnamed(PLAIN, ['a'])(wire);
      wire.bind({ values: ['b'] }, true);
      wire.describe({ type: 'P', name: '' }, true);
      wire.execute({}, true);
      wire.sync();
    },
    recorded: 1,
    units: 2,
  },
];

/** Runs what was parsed last once more, and tells what of rows and tags has come. */
function bindAgain(client: WatchedClient, values: string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const seen: string[] = [];
    client.query({
      submit(connection: Connection) {
        connection.bind({ values }, true);
        connection.describe({ type: 'P', name: '' }, true);
        connection.execute({}, true);
        connection.sync();
        return undefined;
      },
      handleRowDescription: () => seen.push('description'),
      handleDataRow: () => seen.push('row'),
      handleCommandComplete: ({ text }: { text: string }) => seen.push(text),
      handleReadyForQuery: () => {
        resolve(seen);
      },
      handleError: reject,
    } as unknown as Submittable);
  });
}

describe.each(['14', '18'])('values that nobody asked PostgreSQL %s for', (version) => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, version, setUp: SET_UP });

  beforeAll(async () => {
    await lab.primary.query(ROLE);
  });

  async function reset(): Promise<void> {
    await lab.primary.query(
      `TRUNCATE item, seen, ruled, watched, computed; INSERT INTO item (name) VALUES ('there'), ('other')`,
    );
  }

  function recorded(): { count: number } {
    const seen = { count: 0 };
    lab.proxy.onFrontendMessage = (_type, body) => {
      if (body.includes('holdfast_recorded_')) seen.count++;
      return undefined;
    };
    return seen;
  }

  /** Runs the text in transactions of its own until it is known. */
  async function warm(client: WatchedClient, statement: Statement): Promise<number> {
    const seen = recorded();
    for (let attempt = 0; attempt < ATTEMPTS && seen.count === 0; attempt++) {
      await client.query('BEGIN');
      await client.query(statement as QueryConfig);
      await client.query('ROLLBACK');
      await client.query('SELECT 1');
    }
    return seen.count;
  }

  function connectAsWriter(): Promise<WatchedClient> {
    const connectionString = lab.connectionString().replace(/\/\/[^@]*@/, '//writer:writer@');
    return lab.connect({ connectionString, failover: { recordGeneratedValues: true } });
  }

  it.each(FORMS)('%s: is given the same, and comes again', async (_name, statement) => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    const stock = await lab.stock();
    expect(await warm(client, statement)).toBe(1);
    await stock.query('BEGIN');
    const expected = await stock.query(statement as QueryConfig);
    await stock.query('ROLLBACK');
    await client.query('BEGIN');
    const before = recorded();
    const result = await client.query(statement as QueryConfig);
    expect(before.count).toBe(1);
    const { rows: written } = await client.query(ALL);
    expect(written).toHaveLength((await client.query(ALL)).rowCount ?? 0);
    const { replays } = client.failover!.snapshot();
    // Other values than the first time, if they were made again.
    await lab.primary.query(`SELECT nextval('item_id_seq') FROM generate_series(1, 5)`);
    lab.proxy.cut();
    expect((await client.query(ALL)).rows).toEqual(written);
    await client.query('COMMIT');
    expect(client.failover!.snapshot().replays).toBe(replays + 1);
    expect((await stock.query(ALL)).rows).toEqual(written);
    const given = shown(result) as { rows: unknown[] };
    const other = shown(expected) as { rows: unknown[] };
    expect({ ...given, rows: given.rows.length }).toEqual({ ...other, rows: other.rows.length });
    expect(given.rows.map((row) => Object.keys(row as object))).toEqual(
      other.rows.map((row) => Object.keys(row as object)),
    );
  });

  it.each(LEFT_ALONE)('%s: goes out as it is', async (_name, statement) => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    expect(await warm(client, statement)).toBe(0);
  });

  it('without the right to read them the statement goes out as it is', async () => {
    await reset();
    const client = await connectAsWriter();
    expect(await warm(client, FORMS[1]![1])).toBe(0);
  });

  it.each([
    ['a right that is lost meanwhile', 'REVOKE SELECT ON item FROM writer'],
    ['a column that is renamed meanwhile', 'ALTER TABLE item RENAME COLUMN clock TO watch'],
    [
      'row level security that is new',
      'ALTER TABLE item ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON item FOR INSERT WITH CHECK (true)',
    ],
  ])('%s: the statement succeeds all the same', async (_name, change) => {
    await reset();
    await lab.primary.query('GRANT SELECT ON item TO writer');
    const client = await connectAsWriter();
    const statement = FORMS[1]![1] as QueryConfig;
    const first = `INSERT INTO item (name) VALUES ('first')`;
    expect(await warm(client, first)).toBe(1);
    expect(await warm(client, statement)).toBe(1);
    await lab.primary.query(change);
    const { replays } = client.failover!.snapshot();
    await client.query('BEGIN');
    await client.query(first);
    expect(await client.query(statement)).toMatchObject({
      command: 'INSERT',
      rowCount: 1,
      rows: [],
      fields: [],
    });
    await client.query('COMMIT');
    // The server had refused both, and nobody was told.
    expect(client.failover!.snapshot().replays).toBe(replays + 2);
    await lab.primary.query(`
      ALTER TABLE item DISABLE ROW LEVEL SECURITY; DROP POLICY IF EXISTS p ON item;
      DO $$ BEGIN ALTER TABLE item RENAME COLUMN watch TO clock; EXCEPTION WHEN undefined_column THEN NULL; END $$`);
    const stock = await lab.stock();
    expect((await stock.query(`SELECT name FROM item WHERE name IN ('a', 'first')`)).rowCount).toBe(2);
  });

  it('errors are what they were, with their positions', async () => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    const stock = await lab.stock();
    const text = `INSERT INTO item (name) VALUES ($1::int::text)`;
    expect(await warm(client, { text, values: ['1'] })).toBe(1);
    const errors: unknown[] = [];
    for (const one of [client, stock]) {
      await one.query('BEGIN');
      errors.push(Object.entries(await rejectionOf(one.query(text, ['x']))));
      await one.query('ROLLBACK');
    }
    expect(errors[0]).toEqual(errors[1]);
  });

  it('the unnamed statement is what the application has parsed', async () => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    const { text, values } = FORMS[1]![1] as { text: string; values: string[] };
    expect(await warm(client, { text, values })).toBe(1);
    await client.query('BEGIN');
    const seen = recorded();
    await client.query(text, values);
    expect(seen.count).toBe(1);
    expect(await bindAgain(client, ['b'])).toEqual(['INSERT 0 1']);
    await client.query('ROLLBACK');
  });

  it.each(ON_THE_WIRE)(
    '$what: not a message more or less comes back',
    async ({ write, recorded: count, units = 1 }) => {
      await reset();
      const client = await lab.connect({ failover: { recordGeneratedValues: true } });
      const stock = await lab.stock();
      await stock.query('BEGIN');
      const expected = await written(stock, units, write);
      await stock.query('ROLLBACK');
      const seen = recorded();
      for (let attempt = 0; attempt < 5; attempt++) {
        seen.count = 0;
        await client.query('BEGIN');
        expect(await written(client, units, write)).toEqual(expected);
        await client.query('ROLLBACK');
        await client.query('SELECT 1');
      }
      expect(seen.count).toBe(count);
    },
  );

  it('COPY goes out as it is, and gives what it gave, behind a statement that records', async () => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    expect(await warm(client, FORMS[1]![1])).toBe(1);
    await client.query('BEGIN');
    await client.query(FORMS[1]![1] as QueryConfig);
    const lines: Buffer[] = [];
    for await (const chunk of client.query(copyTo('COPY (SELECT name FROM item ORDER BY name) TO STDOUT')))
      lines.push(chunk as Buffer);
    expect(Buffer.concat(lines).toString()).toBe('a\nother\nthere\n');
    await client.query('COMMIT');
  });

  it('a statement that fails in a savepoint leaves the session as it was', async () => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    const statement = FORMS[1]![1] as QueryConfig;
    expect(await warm(client, statement)).toBe(1);
    const { replays } = client.failover!.snapshot();
    await client.query('BEGIN');
    await client.query(statement);
    await client.query('SAVEPOINT s');
    await expect(client.query(statement)).rejects.toMatchObject({ code: '23505' });
    await client.query('ROLLBACK TO s');
    expect((await client.query(PLAIN, ['b'])).rowCount).toBe(1);
    await client.query('COMMIT');
    expect(client.failover!.snapshot().replays).toBe(replays);
    const { rows } = await lab.primary.query('SELECT name FROM item ORDER BY name');
    expect(rows).toEqual([{ name: 'a' }, { name: 'b' }, { name: 'other' }, { name: 'there' }]);
  });

  it('a session that could not go on over another connection records nothing', async () => {
    await reset();
    await lab.primary.query('GRANT SELECT ON item TO writer');
    const client = await connectAsWriter();
    const statement = FORMS[1]![1] as QueryConfig;
    expect(await warm(client, statement)).toBe(1);
    await client.query('SELECT pg_advisory_lock(1)');
    await client.query('SELECT 1');
    await lab.primary.query('REVOKE SELECT ON item FROM writer');
    await client.query('BEGIN');
    // A server would refuse the columns, and there would be no way back.
    expect((await client.query(statement)).rowCount).toBe(1);
    await client.query('COMMIT');
    await client.query('SELECT pg_advisory_unlock(1)');
  });

  it.each([true, false])(
    'what is parsed in its place is what is bound, with the option: %s',
    async (recordGeneratedValues) => {
      await reset();
      const client = await lab.connect({ failover: { recordGeneratedValues } });
      const { text, values } = FORMS[1]![1] as { text: string; values: string[] };
      expect(await warm(client, { text, values })).toBe(recordGeneratedValues ? 1 : 0);
      await client.query('BEGIN');
      await client.query(text, values);
      const parse = (wire: Wire): void => {
        wire.parse({ text: 'SELECT $1::text AS mine' }, true);
        wire.sync();
      };
      expect(await written(client, 1, parse)).toEqual(['parseComplete ', 'readyForQuery T']);
      expect(await bindAgain(client, ['b'])).toEqual(['description', 'row', 'SELECT 1']);
      await client.query('ROLLBACK');
    },
  );

  it('what is looked up in an idle moment does not take its place', async () => {
    await reset();
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    await client.query('SELECT 1');
    let asked = 0;
    lab.proxy.onFrontendMessage = (type, body) => {
      if (type === 'P' && body.includes('has_column_privilege')) asked++;
      return undefined;
    };
    await client.query('BEGIN');
    await client.query(`${PLAIN} RETURNING 1 AS other`, ['x']);
    await client.query({ name: 'end', text: 'COMMIT' });
    await waitFor(() => asked > 0, { message: 'the questions' });
    expect(await bindAgain(client, ['b'])).toEqual(['description', 'row', 'INSERT 0 1']);
  });

  it('nor does what is asked to find out what statements do, whether values are recorded or not', async () => {
    await reset();
    await lab.primary.query('CREATE TABLE fresh (name text); GRANT INSERT ON fresh TO PUBLIC');
    const client = await lab.connect();
    let asked = 0;
    lab.proxy.onFrontendMessage = (type, body) => {
      if (type === 'P' && body.includes('pg_catalog.pg_class')) asked++;
      return undefined;
    };
    // New, so that it has to be judged in front of what comes next.
    const parse = (wire: Wire): void => {
      wire.parse({ text: 'INSERT INTO fresh VALUES ($1) RETURNING 2 AS other' }, true);
      wire.sync();
    };
    expect(await written(client, 1, parse)).toEqual(['parseComplete ', 'readyForQuery I']);
    expect(await bindAgain(client, ['b'])).toEqual(['description', 'row', 'INSERT 0 1']);
    expect(asked).toBeGreaterThan(0);
  });

  it('is off unless it is switched on', async () => {
    await reset();
    const client = await lab.connect();
    expect(await warm(client, FORMS[1]![1])).toBe(0);
  });
});

describe('values that nobody asked for, on a standby', () => {
  const lab = FailoverLab.forThisSuite({ setUp: SET_UP });

  it('are the same, though its sequence is elsewhere', async () => {
    const client = await lab.connect({ failover: { recordGeneratedValues: true } });
    const insert = { text: 'INSERT INTO item (name) VALUES ($1)', values: ['a'] };
    const update = `UPDATE item SET token = gen_random_uuid() WHERE name = 'a'`;
    for (let attempt = 0; attempt < 3; attempt++) {
      await client.query('BEGIN');
      await client.query(insert);
      await client.query(update);
      await client.query('ROLLBACK');
      await client.query('SELECT 1');
    }
    await client.query('BEGIN');
    await client.query(insert);
    await client.query(update);
    const { rows: written } = await client.query(ALL);
    await lab.replacePrimary();
    expect((await client.query(ALL)).rows).toEqual(written);
    await client.query('COMMIT');
    const { replays } = client.failover!.snapshot();
    expect(replays).toBe(1);
    const stock = await lab.stock();
    expect((await stock.query(ALL)).rows).toEqual(written);
  });
});
