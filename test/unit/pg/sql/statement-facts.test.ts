import { beforeAll, describe, expect, it } from 'vitest';
import { loadParser, parserReady } from '../../../../src/pg/sql/parser.ts';
import type { SessionEffect } from '../../../../src/pg/sql/session-effect.ts';
import type { StatementFacts } from '../../../../src/pg/sql/statement-facts.ts';
import { statementFacts } from '../../../../src/pg/sql/statement-facts.ts';
import type { StatementKind } from '../../../../src/pg/sql/statement-kind.ts';

describe('before the parser is loaded', () => {
  it('nothing is understood, and the worst is assumed', () => {
    expect(parserReady()).toBe(false);
    const facts = statementFacts('vacuum');
    expect(facts).toMatchObject({
      kind: 'unknown',
      notUnderstood: 'the parser is not loaded',
      orderSensitive: true,
      selfCommitting: true,
    });
  });
});

describe('with the parser', () => {
  beforeAll(loadParser);

  describe('the kind of a statement', () => {
    it.each<[StatementKind, string]>([
      ['read-candidate', ''],
      ['read-candidate', '-- nothing'],
      ['read-candidate', 'select 1'],
      ['read-candidate', 'table t'],
      ['read-candidate', 'values (1)'],
      ['read-candidate', 'with x as (select 1) select * from x'],
      ['read-candidate', 'select 1 union select 2'],
      ['read-candidate', '(select 1)'],
      ['read-candidate', 'show all'],
      ['read-candidate', 'explain select 1'],
      ['utility', 'explain insert into t values (1)'],
      ['utility', 'explain analyze select 1'],
      ['utility', 'explain (analyze false) select 1'],
      ['write', 'explain analyze insert into t values (1)'],
      ['write', 'explain (verbose, analyze) delete from t'],
      ['write', 'insert into t values (1)'],
      ['write', 'update t set a = 1'],
      ['write', 'delete from t'],
      ['write', 'merge into t using s on t.a = s.a when matched then delete'],
      ['write', 'truncate t'],
      ['write', 'select * from t for update'],
      ['write', 'select * from (select * from t for share) x'],
      ['write', 'with x as (delete from t returning *) select * from x'],
      ['write', 'select * from t where a in (with x as (update t set a = 1 returning a) select a from x)'],
      ['write', 'select 1 into t'],
      ['transaction-control', 'begin'],
      ['transaction-control', 'start transaction read only'],
      ['transaction-control', 'commit and chain'],
      ['transaction-control', 'rollback to s'],
      ['transaction-control', "prepare transaction 'x'"],
      ['transaction-control', "commit prepared 'x'"],
      ['session', 'set a.b = 1'],
      ['session', 'reset all'],
      ['session', 'discard all'],
      ['session', 'listen c'],
      ['session', 'unlisten *'],
      ['session', 'prepare p as select 1'],
      ['session', 'deallocate p'],
      ['session', "load 'x'"],
      ['session', 'set transaction read only'],
      ['copy', 'copy t from stdin'],
      ['copy', "copy t to '/tmp/x'"],
      ['copy', "copy (select 1) to program 'x'"],
      ['copy', 'copy (insert into t values (1) returning a) to stdout'],
      ['copy', 'copy (select 1 from t for update) to stdout'],
      ['copy', 'copy (with w as (delete from t returning a) select * from w) to stdout'],
      ['read-candidate', 'copy (select 1) to stdout'],
      ['read-candidate', 'copy t (a) to stdout (format csv, header)'],
      ['utility', 'vacuum'],
      ['utility', 'do $$ begin end $$'],
      ['utility', 'call p()'],
      ['utility', 'execute p'],
      ['utility', 'fetch c'],
      ['utility', 'declare c cursor for select 1'],
      ['utility', 'create table t (a int)'],
      ['utility', 'create table t as select 1'],
      ['utility', 'notify c'],
      ['utility', 'lock table t'],
      ['unknown', 'selec 1'],
      ['unknown', "select 'a"],
      ['unknown', 'select 1\0; delete from t'],
      ['write', 'select 1; delete from t'],
      ['transaction-control', 'begin; delete from t; commit'],
      ['copy', 'begin; copy t from stdin; commit'],
    ])('%s: %j', (kind, text) => {
      expect(statementFacts(text).kind).toBe(kind);
    });
  });

  describe('flags', () => {
    const flags = (text: string): Partial<StatementFacts> => statementFacts(text);

    it.each([
      'select * from t for update',
      'select * from t for no key update of t',
      'select * from t for share',
      'select * from (select * from t for key share) x',
    ])('a locking clause: %j', (text) => {
      expect(flags(text)).toMatchObject({
        lockingClause: true,
        skipLockedOrNowait: false,
        orderSensitive: false,
      });
    });

    it.each([
      'select * from t for update skip locked',
      'select * from t for update nowait',
      'with x as (select * from t for update skip locked limit 1) delete from t using x where t.id = x.id',
      'update t set a = 1 where id = (select id from t limit 1 for update skip locked)',
      'lock table t nowait',
    ])('does not wait for locks: %j', (text) => {
      expect(flags(text)).toMatchObject({ skipLockedOrNowait: true, orderSensitive: true });
    });

    it.each([
      'select pg_try_advisory_lock(1)',
      'select pg_try_advisory_xact_lock_shared(1, 2)',
      'select pg_catalog.pg_try_advisory_lock(1)',
      'select pg_advisory_unlock(1)',
      'rollback to savepoint s',
      'begin isolation level serializable read only deferrable',
      'set transaction deferrable',
      'set session characteristics as transaction deferrable',
      'alter table t add column b int',
      'create index on t (a)',
      'truncate t',
      'selec 1',
    ])('depends on the moment: %j', (text) => {
      expect(flags(text).orderSensitive).toBe(true);
    });

    it.each([
      'select 1',
      'rollback',
      'begin not deferrable',
      'select pg_advisory_lock(1)',
      'insert into t values (1)',
    ])('does not depend on the moment: %j', (text) => {
      expect(flags(text).orderSensitive).toBe(false);
    });

    it.each([
      'vacuum',
      'vacuum full t',
      'analyze',
      'create index concurrently on t (a)',
      'create unique index concurrently i on t (a)',
      'drop index concurrently i',
      'reindex table concurrently t',
      'reindex schema public',
      'create database d',
      'drop database d',
      "create tablespace s location '/x'",
      'drop tablespace s',
      'alter system set work_mem = 1',
      'alter table t detach partition p concurrently',
      'alter table t detach partition p finalize',
      'cluster t',
      "create subscription s connection '' publication p",
      'alter subscription s enable',
      'drop subscription s',
      'discard all',
      'call p()',
      'do $$ begin end $$',
      'select 1; vacuum',
    ])('commits by itself: %j', (text) => {
      expect(flags(text).selfCommitting).toBe(true);
    });

    it.each([
      'create index on t (a)',
      'drop index i',
      'alter table t detach partition p',
      'discard temp',
      'commit',
      'drop table t',
    ])('does not commit by itself: %j', (text) => {
      expect(flags(text).selfCommitting).toBe(false);
    });

    it.each([
      "copy t from program 'x'",
      "copy t to program 'x'",
      "copy t to '/tmp/x'",
      "select dblink_exec('x', 'y')",
      "select lo_export(1, 'x')",
      'drop subscription s',
    ])('acts outside: %j', (text) => {
      expect(flags(text).outsideEffects).toBe(true);
    });

    it.each(['copy t to stdout', 'copy t from stdin', "copy t from '/tmp/x'", 'insert into t values (1)'])(
      'does not act outside: %j',
      (text) => {
        expect(flags(text).outsideEffects).toBe(false);
      },
    );

    it('of several statements are joined', () => {
      expect(
        statementFacts("select 1; ; begin; set a.b = 'c'; select * from t for update nowait"),
      ).toMatchObject({
        statementCount: 4,
        kinds: ['read-candidate', 'transaction-control', 'session', 'write'],
        orderSensitive: true,
        effects: [{ kind: 'set', name: 'a.b', local: false, value: 'c' }],
      });
    });

    it.each([
      ['do $$ begin end $$', 'DO runs a block of code'],
      ['execute p', 'EXECUTE runs a statement prepared before'],
      ['explain analyze execute p', 'EXECUTE runs a statement prepared before'],
      ['create table t (a int)', 'CreateStmt may run triggers and functions of the catalogue'],
    ])('opaque: %j', (text, reason) => {
      expect(statementFacts(text).opaque).toBe(reason);
    });
  });

  describe('what is not understood', () => {
    it.each([
      ['a', 'the text does not parse'],
      [`select ${'1+'.repeat(20_000)}1`, 'the text is longer than 32768 characters'],
      [`select ${'1+'.repeat(12_000)}1`, 'the text is too deeply nested'],
      ['select 1\0', 'the text contains a NUL character'],
    ])('%.20s…', (text, reason) => {
      expect(statementFacts(text)).toMatchObject({ kind: 'unknown', notUnderstood: reason, opaque: reason });
    });

    it('is a text with a backslash while standard_conforming_strings is off', () => {
      const text = "select '\\'; delete from t; --'";
      expect(statementFacts(text).kind).toBe('write');
      expect(statementFacts(text, { standardConformingStrings: false }).kind).toBe('unknown');
      expect(statementFacts('select 1', { standardConformingStrings: false }).kind).toBe('read-candidate');
    });
  });

  describe('effects on the session', () => {
    it.each<[string, SessionEffect[]]>([
      ["set App.Tenant = 'a'", [{ kind: 'set', name: 'app.tenant', local: false, value: 'a' }]],
      ['set local work_mem to 64', [{ kind: 'set', name: 'work_mem', local: true, value: '64' }]],
      ['set session x = on', [{ kind: 'set', name: 'x', local: false, value: 'on' }]],
      ['set x = -1.5', [{ kind: 'set', name: 'x', local: false, value: '-1.5' }]],
      ['set x to default', [{ kind: 'set', name: 'x', local: false, value: null }]],
      [
        'set search_path to a, "B c", "$user"',
        [{ kind: 'set', name: 'search_path', local: false, value: 'a, "B c", "$user"' }],
      ],
      ['set datestyle to iso, dmy', [{ kind: 'set', name: 'datestyle', local: false, value: 'iso, dmy' }]],
      ["set schema 'x'", [{ kind: 'set', name: 'search_path', local: false, value: 'x' }]],
      ["set names 'utf8'", [{ kind: 'set', name: 'client_encoding', local: false, value: 'utf8' }]],
      ["set time zone 'UTC'", [{ kind: 'set', name: 'timezone', local: false, value: 'UTC' }]],
      [
        "set time zone interval '1' hour to minute",
        [{ kind: 'set', name: 'timezone', local: false, value: null }],
      ],
      ['set time zone local', [{ kind: 'set', name: 'timezone', local: false, value: null }]],
      [
        'set session characteristics as transaction isolation level serializable, read only, not deferrable',
        [
          { kind: 'set', name: 'default_transaction_isolation', local: false, value: 'serializable' },
          { kind: 'set', name: 'default_transaction_read_only', local: false, value: 'on' },
          { kind: 'set', name: 'default_transaction_deferrable', local: false, value: 'off' },
        ],
      ],
      ['set transaction isolation level serializable', [{ kind: 'set-transaction', snapshot: false }]],
      ["set transaction snapshot '1-1'", [{ kind: 'set-transaction', snapshot: true }]],
      ['reset app.tenant', [{ kind: 'reset', name: 'app.tenant' }]],
      ['reset all', [{ kind: 'reset', name: 'all' }]],
      ['set role r', [{ kind: 'set-role', local: false, role: 'r' }]],
      ['set local role none', [{ kind: 'set-role', local: true, role: 'none' }]],
      ['reset role', [{ kind: 'reset', name: 'role' }]],
      ['set session authorization u', [{ kind: 'set-session-authorization', local: false, user: 'u' }]],
      ['reset session authorization', [{ kind: 'reset', name: 'session_authorization' }]],
      [
        "select set_config('App.X', 'y', true)",
        [{ kind: 'set-config', name: 'app.x', value: 'y', local: true }],
      ],
      [
        "select pg_catalog.set_config('a.b'::text, $1, false)",
        [{ kind: 'set-config', name: 'a.b', value: null, local: false }],
      ],
      ["select set_config($1, 'y', $2)", [{ kind: 'set-config', name: null, value: 'y', local: null }]],
      [
        "select set_config('a.' || 'b', 'y', false)",
        [{ kind: 'set-config', name: null, value: 'y', local: false }],
      ],
      [
        "select set_config(is_local => true, setting_name => 'a', new_value => 'b')",
        [{ kind: 'set-config', name: null, value: null, local: null }],
      ],
      [
        "select 1 where exists (select set_config('a.b', 'c', false))",
        [{ kind: 'set-config', name: 'a.b', value: 'c', local: false }],
      ],
      ["explain select set_config('a.b', 'c', false)", []],
      [
        "explain analyze select set_config('a.b', 'c', false)",
        [{ kind: 'set-config', name: 'a.b', value: 'c', local: false }],
      ],
      [
        "insert into t select set_config('a.b', 'c', false)",
        [{ kind: 'set-config', name: 'a.b', value: 'c', local: false }],
      ],
      ["create view v as select set_config('a.b', 'c', false)", []],
      ["prepare p as select set_config('a.b', 'c', false)", [{ kind: 'prepare', name: 'p' }]],
      ['discard all', [{ kind: 'discard', target: 'all' }]],
      ['discard temporary', [{ kind: 'discard', target: 'temp' }]],
      ['discard sequences', [{ kind: 'discard', target: 'sequences' }]],
      ['listen "C"', [{ kind: 'listen', channel: 'C' }]],
      ['unlisten c', [{ kind: 'unlisten', channel: 'c' }]],
      ['unlisten *', [{ kind: 'unlisten', channel: '*' }]],
      ['deallocate prepare p', [{ kind: 'deallocate', name: 'p' }]],
      ['deallocate all', [{ kind: 'deallocate', name: 'all' }]],
      ['create temp table t (a int)', [{ kind: 'temp-table' }]],
      ['create table pg_temp.t (a int)', [{ kind: 'temp-table' }]],
      ['create temporary view v as select 1', [{ kind: 'temp-table' }]],
      ['create temp sequence s', [{ kind: 'temp-table' }]],
      ['create temp table t as select 1', [{ kind: 'temp-table' }]],
      ['select 1 into temp t', [{ kind: 'temp-table' }]],
      ['create function pg_temp.f() returns int language sql return 1', [{ kind: 'temp-table' }]],
      ["create type pg_temp.e as enum ('a')", [{ kind: 'temp-table' }]],
      ['create domain pg_temp.d as int', [{ kind: 'temp-table' }]],
      ['create table t (a int)', []],
      ['select pg_advisory_lock(1)', [{ kind: 'advisory-lock', session: true, try: false }]],
      ['select pg_try_advisory_lock_shared(1)', [{ kind: 'advisory-lock', session: true, try: true }]],
      ['select pg_advisory_xact_lock(1)', [{ kind: 'advisory-lock', session: false, try: false }]],
      ['select pg_advisory_unlock_all()', [{ kind: 'advisory-unlock' }]],
      ['declare c cursor with hold for select 1', [{ kind: 'hold-cursor', name: 'c' }]],
      ['declare c cursor without hold for select 1', []],
      ['close c', [{ kind: 'close-cursor', name: 'c' }]],
      ['close all', [{ kind: 'close-cursor', name: 'all' }]],
      ["load 'x'", [{ kind: 'load' }]],
      ['select setseed(0.5)', [{ kind: 'setseed' }]],
      ['set seed to 0.5', [{ kind: 'setseed' }]],
      ['select 1', []],
    ])('%j', (text, effects) => {
      expect(statementFacts(text).effects).toEqual(effects);
    });
  });

  describe('the names in a statement', () => {
    it('are those of relations, functions, operators, types and attributes', () => {
      const { names } = statementFacts(
        'with c as (select 1) select t.a, f(x, 1), (x).g, s.h(), x::uuid, x + 1, x operator(s.-) 2 from t join s.u using (id), c',
      );
      expect(names.read).toEqual([
        { schema: null, name: 't', optional: false },
        { schema: 's', name: 'u', optional: false },
        { schema: null, name: 'c', optional: true },
      ]);
      expect(names.functions).toEqual([
        { schema: null, name: 'f', arity: 2, optional: false },
        { schema: null, name: 'g', arity: 1, optional: true },
        { schema: 's', name: 'h', arity: 0, optional: false },
      ]);
      expect(names.operators.map(({ schema, name }) => [schema, name])).toEqual(
        expect.arrayContaining([
          [null, '='],
          [null, '+'],
          ['s', '-'],
        ]),
      );
      expect(names.types).toEqual([{ schema: null, name: 'uuid' }]);
      expect(names.attributes).toEqual(['a']);
      expect(names.unknownSyntax).toEqual([]);
    });

    it.each<[string, string[]]>([
      ['select a between 1 and 2', ['>=', '<=']],
      ['select a not between 1 and 2', ['<', '>']],
      ['select case a when 1 then 2 end', ['=']],
      ['select a in (1, 2)', ['=']],
      ['select a not in (1, 2)', ['<>']],
      ['select a in (select 1)', ['=']],
      ['select a > all (select 1)', ['>', '=']],
      ['select a is distinct from b, nullif(a, b)', ['=']],
      ["select a like 'b', a ilike 'b'", ['~~', '~~*']],
      ['select * from a natural join b', ['=']],
      ['select 1 order by 1 using >', ['>']],
      ['select -a', ['-']],
    ])('operators of %j', (text, operators) => {
      expect(
        statementFacts(text)
          .names.operators.map(({ name }) => name)
          .sort(),
      ).toEqual([...operators].sort());
    });

    it.each<[string, string[][], string[]]>([
      ['insert into t select * from s', [['t', 'insert']], ['s']],
      ['insert into t values (1) on conflict do nothing', [['t', 'modify']], []],
      ['update t set a = s.b from s', [['t', 'modify']], ['s']],
      ['delete from t using t as u', [['t', 'modify']], ['t']],
      ['copy t from stdin', [['t', 'insert']], []],
      ['copy t to stdout', [], ['t']],
      [
        'truncate t, u',
        [
          ['t', 'modify'],
          ['u', 'modify'],
        ],
        [],
      ],
      ['select * from t for update of t', [], ['t']],
      ['select 1 into t from s', [], ['s']],
      ['explain insert into t select * from s', [['t', 'insert']], ['s']],
      ['declare c cursor for select * from t', [], ['t']],
      ['create table t as select * from s', [], []],
      ['prepare p as select * from t', [], []],
    ])('relations of %j', (text, written, read) => {
      const { names } = statementFacts(text);
      expect(names.written.map(({ name, mode }) => [name, mode])).toEqual(written);
      expect(names.read.map(({ name }) => name)).toEqual(read);
    });

    it('counts the arguments of a function as the server does', () => {
      const { names } = statementFacts(
        'select count(*), percentile_cont(0.5) within group (order by a), f(variadic b), g(a => 1)',
      );
      expect(names.functions.map(({ name, arity }) => [name, arity])).toEqual([
        ['count', 0],
        ['percentile_cont', 2],
        ['f', 1],
        ['g', 1],
      ]);
    });

    it('shows syntax that nobody has looked at', () => {
      expect(statementFacts('truncate t cascade').names.unknownSyntax).toEqual(['TRUNCATE … CASCADE']);
    });
  });
});
