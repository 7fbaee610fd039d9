import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseTraits } from '../../../src/pg/sql/database-traits.ts';
import { waysOut } from '../../../src/pg/sql/ways-out.ts';
import { PostgresNode } from '../../support/postgres-node.ts';
import { TextSqlRunner } from '../../support/text-sql-runner.ts';

const BODY = 'a function that writes files or runs programs';

/** What is made, and what must be named then. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['create table plain (id int)', []],
  [`create function plain() returns int language plpgsql as 'begin return 1; end'`, []],
  ['create extension citext; create extension pgcrypto; create extension hstore', []],
  ['create extension file_fdw', ['file_fdw']],
  ['create extension file_fdw; create server files foreign data wrapper file_fdw', ['file_fdw', 'files']],
  ['create extension dblink', ['dblink']],
  [`create function c_of_ours(text) returns text language c as 'citext', 'citext_hash'`, ['a function in C']],
  [
    `create function copies() returns void language plpgsql as $$begin execute 'COPY
       (select 1) to PROGRAM ''cat'''; end$$`,
    [BODY],
  ],
  [`create function exports() returns int language sql as 'select lo_export(1, ''x'')'`, [BODY]],
  [`create function atomic() returns int language sql begin atomic select lo_export(1, 'x'); end`, [BODY]],
  [`create function says() returns text language sql as 'select ''the program of a copyist'''`, []],
  [
    `create language plshady handler plpgsql_call_handler; update pg_language set lanpltrusted = false where lanname = 'plshady'`,
    ['plshady'],
  ],
];

describe.each(['14', '15', '16', '17', '18'])(
  'what can act outside of a database of PostgreSQL %s',
  (version) => {
    let node: PostgresNode;

    beforeAll(async () => {
      node = await PostgresNode.create({ version });
      await node.start();
    });

    afterAll(async () => {
      await node.destroy();
    });

    it.each(CASES)('after %s', async (made, expected) => {
      await node.query('create database looked_at');
      const client = new pg.Client(node.superuserConfig({ database: 'looked_at' }));
      await client.connect();
      try {
        await client.query(made);
        // In the search_path of somebody who means ill.
        await client.query(`
        create schema evil;
        create function evil.never(oid, oid) returns boolean language sql as 'select false';
        create operator evil.>= (leftarg = oid, rightarg = oid, function = evil.never);
        set search_path to evil, pg_catalog`);
        const runner = new TextSqlRunner(client);
        const found = await waysOut(runner);
        expect([...found.reaching].sort()).toEqual(expected);
        expect(found.reachesOutside).toBe(expected.length > 0);
        const traits = await databaseTraits(runner);
        expect([...traits.reaching].sort()).toEqual(expected);
        expect(traits.reachesOutside).toBe(found.reachesOutside);
      } finally {
        await client.end();
        await node.query('drop database looked_at');
      }
    });
  },
);
