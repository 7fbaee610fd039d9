import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CatalogueCache } from '../../../src/pg/sql/catalogue.ts';
import type { DatabaseTraits } from '../../../src/pg/sql/database-traits.ts';
import { databaseTraits } from '../../../src/pg/sql/database-traits.ts';
import { loadParser } from '../../../src/pg/sql/parser.ts';
import { statementFacts } from '../../../src/pg/sql/statement-facts.ts';
import type { StatementVerdict } from '../../../src/pg/sql/statement-verdict.ts';
import { PostgresNode } from '../../support/postgres-node.ts';
import { TextSqlRunner } from '../../support/text-sql-runner.ts';
import { FUNCTIONS_SCHEMA } from './classifier-functions.ts';
import { SCHEMA, SINCE_18, SUPERUSER_SCHEMA } from './classifier-schema.ts';
import type { Judged } from './classifier-statements.ts';
import { STATEMENTS } from './classifier-statements.ts';

const PATH = '"$user", public';
const session = { searchPath: PATH, temporaryObjects: false };

beforeAll(loadParser);

describe.each(['14', '15', '16', '17', '18'])('the classifier on PostgreSQL %s', (version) => {
  const statements = STATEMENTS.filter(({ since = 0 }) => since <= Number(version));
  let node: PostgresNode;
  let client: pg.Client;
  let superuser: pg.Client;
  let runner: TextSqlRunner;
  let traits: DatabaseTraits;

  beforeAll(async () => {
    node = await PostgresNode.create({ version });
    await node.start();
    client = new pg.Client(node.connectionConfig());
    superuser = new pg.Client(node.superuserConfig());
    await client.connect();
    await superuser.connect();
    await client.query(SCHEMA);
    await client.query(FUNCTIONS_SCHEMA);
    if (version === '18') await client.query(SINCE_18);
    await superuser.query(SUPERUSER_SCHEMA);
    runner = new TextSqlRunner(client);
    traits = await databaseTraits(runner);
  });

  afterAll(async () => {
    await client.end();
    await superuser.end();
    await node.destroy();
  });

  function cacheWith(more: ConstructorParameters<typeof CatalogueCache>[0] = {}): CatalogueCache {
    const cache = new CatalogueCache(more);
    cache.useTraits(traits);
    return cache;
  }

  /** The verdict on each statement, those of one search_path asked for together. */
  async function verdictsOn(judged: readonly Judged[]): Promise<Map<Judged, StatementVerdict>> {
    const cache = cacheWith();
    const verdicts = new Map<Judged, StatementVerdict>();
    for (const path of new Set(judged.map(({ searchPath = PATH }) => searchPath))) {
      const there = judged.filter(({ searchPath = PATH }) => searchPath === path);
      const texts = there.map(({ text }) => text);
      const found = await cache.resolve(texts, { searchPath: path, temporaryObjects: false }, runner);
      found.forEach((verdict, index) => verdicts.set(there[index]!, verdict));
    }
    return verdicts;
  }

  it('says of each statement what is true of it', async () => {
    const wrong: string[] = [];
    for (const [{ text, read, safe }, verdict] of await verdictsOn(statements)) {
      const isRight =
        verdict.read === (read ?? verdict.read) && verdict.sessionSafe === (safe ?? verdict.sessionSafe);
      if (!isRight) wrong.push(`${text}: ${JSON.stringify(verdict)}`);
    }
    expect(wrong).toEqual([]);
  });

  it('calls nothing a read that writes, and nothing safe that leaves an unseen trace', async () => {
    const wrong: string[] = [];
    for (const [judged, { read, sessionSafe }] of await verdictsOn(statements)) {
      if (read === 'unproved' && !sessionSafe) continue;
      // Row-level security is for others than superusers and owners.
      for (const role of ['postgres', 'visitor']) {
        const { failed, wrote, touched } = await happens(superuser, judged, role);
        if (read === 'proved' && failed && role === 'postgres') wrong.push(`fails: ${judged.text}`);
        if (read === 'proved' && (wrote || touched)) wrong.push(`no read: ${judged.text}`);
        const isSeen = statementFacts(judged.text).effects.length > 0;
        if (sessionSafe && touched && !isSeen) wrong.push(`not safe: ${judged.text}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('needs three round trips for any number of plain statements, and then none', async () => {
    const plain = new pg.Client(node.superuserConfig({ database: 'postgres' }));
    await plain.connect();
    try {
      await plain.query('create table plain (id int, name text); create table other (id int)');
      const there = new TextSqlRunner(plain);
      const cache = cacheWith();
      const texts = [
        'select * from plain where id = 1',
        'select count(*) from other',
        "select lower('A') || 'b'",
      ];
      const verdicts = await cache.resolve(texts, session, there);
      expect(verdicts.map(({ read }) => read)).toEqual(['proved', 'proved', 'proved']);
      expect(there.runs).toBe(3);
      await cache.resolve([...texts, 'select name from other join plain using (id)'], session, there);
      // A new text of known names.
      expect(there.runs).toBe(3);
      await cache.resolve(['select p.name from plain p'], session, there);
      expect(there.runs).toBe(5);
      expect(cache.peek(texts[0]!, session)?.read).toBe('proved');
    } finally {
      await plain.end();
    }
  });

  it('forgets what may have changed', async () => {
    let now = 0;
    const cache = cacheWith({ now: () => now });
    const text = 'select * from changing';
    const [missing] = await cache.resolve([text], session, runner);
    expect(missing).toMatchObject({ read: 'unproved', reason: 'the relation changing is not found' });
    await client.query('create view changing as select id from plain');
    cache.invalidate();
    expect(cache.peek(text, session)).toBeUndefined();
    expect(await cache.resolve([text], session, runner)).toMatchObject([{ read: 'proved' }]);
    await client.query('create or replace view changing as select hit() as id');
    now = 59_999;
    expect(cache.peek(text, session)?.read).toBe('proved');
    now = 60_000;
    expect(cache.peek(text, session)).toBeUndefined();
    expect(await cache.resolve([text], session, runner)).toMatchObject([{ read: 'unproved' }]);
    await client.query('drop view changing');
  });

  it('believes nothing of a session that has temporary objects', async () => {
    const cache = cacheWith();
    const text = 'select * from plain';
    expect(await cache.resolve([text], session, runner)).toMatchObject([{ read: 'proved' }]);
    await client.query('create temp view plain as select touch() as id');
    try {
      expect(cache.peek(text, { ...session, temporaryObjects: true })).toMatchObject({
        read: 'unproved',
        sessionSafe: false,
      });
      expect(cache.peek('select 1', { ...session, temporaryObjects: true })?.read).toBe('proved');
    } finally {
      await client.query('drop view pg_temp.plain');
    }
  });

  it('says which effects may reach out of the database', async () => {
    const cache = cacheWith();
    const outside = async (text: string): Promise<boolean | undefined> =>
      (await cache.resolve([text], session, runner))[0]?.outsideEffects;
    expect(await outside('select * from behind_foreign')).toBe(true);
    expect(await outside('insert into partly_foreign values (1)')).toBe(true);
    expect(await outside('insert into plain (id) values (5)')).toBe(false);
    expect(await outside("copy plain to program 'cat'")).toBe(true);
    // There is a foreign server in the database.
    expect(await outside('do $$ begin end $$')).toBe(true);
    // Its body was looked into.
    expect(await outside('select hit()')).toBe(false);
    cache.useTraits({ ...traits, reaching: [], reachesOutside: false });
    expect(await outside('do $$ begin end $$')).toBe(false);
    expect(await outside('select * from behind_foreign')).toBe(true);
  });

  it('sees what depends on the moment within functions', async () => {
    const cache = cacheWith();
    const verdicts = await cache.resolve(
      ['select skips_locked()', 'select hit()', 'do $$ begin end $$', 'update stamped set name = null'],
      session,
      runner,
    );
    expect(verdicts.map(({ orderSensitive }) => orderSensitive)).toEqual([true, false, true, false]);
  });

  it('is not fooled by a search_path that puts operators before those of the server', async () => {
    await superuser.query(`
      create schema evil;
      create function evil.never(oid, oid) returns boolean language sql as 'select false';
      create operator evil.= (leftarg = oid, rightarg = oid, function = evil.never);
      create function evil.never(name, name) returns boolean language sql as 'select false';
      create operator evil.= (leftarg = name, rightarg = name, function = evil.never);`);
    await superuser.query('set search_path to evil, public, pg_catalog');
    const there = new TextSqlRunner(superuser);
    try {
      expect(await cacheWith().resolve(['select * from public.hitting'], session, there)).toMatchObject([
        { read: 'unproved' },
      ]);
      expect(await cacheWith().resolve(['select * from above'], session, there)).toMatchObject([
        { read: 'proved' },
      ]);
    } finally {
      await superuser.query('reset search_path; drop schema evil cascade');
    }
  });

  it('gives unproved verdicts where the catalogue refuses to answer', async () => {
    const cache = cacheWith();
    await client.query('begin');
    await client.query('select 1/0').catch(() => undefined);
    const [verdict] = await cache.resolve(['select * from plain'], session, runner);
    await client.query('rollback');
    expect(verdict).toMatchObject({ read: 'unproved', reason: "the catalogue can't be read (25P02)" });
    expect(await cache.resolve(['select * from plain'], session, runner)).toMatchObject([{ read: 'proved' }]);
  });

  it('knows the traits of the database', () => {
    expect(traits).toEqual({
      reaching: ['files', 'file_fdw'],
      reachesOutside: true,
      hasDeferrableTriggers: false,
      hasWriteRules: true,
      customSettings: ['app.other', 'app.tenant', 'app.touched'],
      dynamicSetConfig: false,
    });
  });
});

interface Happened {
  readonly failed: boolean;
  readonly wrote: boolean;
  readonly touched: boolean;
}

/** Runs it for real, in a transaction that is rolled back. */
async function happens(
  client: pg.Client,
  { text, searchPath = PATH }: Judged,
  role: string,
): Promise<Happened> {
  const path = searchPath === '' ? "''" : searchPath;
  await client.query(
    `begin; set local search_path to ${path}; set local app.touched to 'no'; set local role ${role}`,
  );
  try {
    await client.query(text);
    const { rows } = await client.query<{ wrote: boolean; touched: boolean }>(`
      select pg_current_xact_id_if_assigned() is not null or (select count(*) from public.log) > 0 as wrote,
        current_setting('app.touched') = 'yes' as touched`);
    return { failed: false, ...rows[0]! };
  } catch {
    return { failed: true, wrote: false, touched: false };
  } finally {
    await client.query('rollback');
  }
}
