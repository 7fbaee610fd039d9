import { beforeAll, describe, expect, it } from 'vitest';
import { functionBody } from '../../../../src/pg/sql/function-body.ts';
import { loadParser } from '../../../../src/pg/sql/parser.ts';

function sql(body: string, options = ''): ReturnType<typeof functionBody> {
  return functionBody(`CREATE FUNCTION s.f() RETURNS int LANGUAGE sql ${options} AS $f$${body}$f$`, 's.f');
}

function plpgsql(body: string, returns = 'int'): ReturnType<typeof functionBody> {
  return functionBody(`CREATE FUNCTION s.f() RETURNS ${returns} LANGUAGE plpgsql AS $f$${body}$f$`, 's.f');
}

const UNSEEN = [{ unproved: 'runs the function s.f', unsafe: 'runs the function s.f', outside: 'unseen' }];

beforeAll(loadParser);

describe('the body of a function', () => {
  it('in SQL gives the names in its statements', () => {
    const { items, problems, searchPath } = sql('select * from t; select g(1)');
    expect(items.map(({ use, name }) => [use, name])).toEqual([
      ['read', 't'],
      ['function', 'g'],
    ]);
    expect(problems).toEqual([]);
    expect(searchPath).toBeNull();
  });

  it('in PL/pgSQL gives the names in its expressions and declarations', () => {
    const { items, problems } = plpgsql(
      'declare x mine; v int := g(); r s.t%rowtype; y u.c%type; z x%type; w int[]; begin w[h()] := 1; if k() then perform l(); end if; return m(); end',
    );
    expect(problems).toEqual([]);
    const names = items.map(
      ({ use, schema, name }) => `${use} ${schema === null ? '' : `${schema}.`}${name}`,
    );
    expect(names).toEqual(
      expect.arrayContaining([
        'type mine',
        'read s.t',
        'read u',
        ...['g', 'h', 'k', 'l', 'm'].map((name) => `function ${name}`),
      ]),
    );
  });

  it('of a trigger that sets a column has nothing against it', () => {
    const { problems } = plpgsql('begin new.updated_at := now(); return new; end', 'trigger');
    expect(problems).toEqual([]);
  });

  it('has the search_path that it sets for itself', () => {
    expect(sql('select 1', "SET search_path TO 'a', 'B'")).toMatchObject({
      searchPath: 'a, "B"',
      problems: [],
    });
  });

  it.each([
    ["begin execute 'select 1'; return 1; end"],
    ['begin call p(); return 1; end'],
    ['begin commit; return 1; end'],
    ['declare c refcursor; begin open c for select 1; return 1; end'],
    ['begin this is no plpgsql; end'],
    ['begin create table t (a int); return 1; end'],
    // The grammar takes variables of unknown types for records, and leaves out their defaults.
    ['declare x mine := g(); begin return 1; end'],
    ["declare x mine := 'a' <-> 'b'; begin return 1; end"],
    ['declare x mine := r.f; begin return 1; end'],
    ['declare x mine := (select 1); begin return 1; end'],
    ["declare x mine := 'a'::yours; begin return 1; end"],
    ['<<label>> begin return 1; end'],
  ])('hides what it does: %j', (body) => {
    expect(plpgsql(body).problems).toEqual(expect.arrayContaining(UNSEEN));
  });

  it.each([['this is no sql'], ['do $$ begin end $$'], ['commit'], ['truncate t cascade']])(
    'in SQL hides what it does: %j',
    (body) => {
      expect(sql(body).problems).toEqual(UNSEEN);
    },
  );

  it('hides what it does under settings that change how it reads', () => {
    expect(sql('select 1', "SET standard_conforming_strings TO 'off'").problems).toEqual(UNSEEN);
    expect(sql('select 1', 'SET search_path TO DEFAULT').problems).toEqual(UNSEEN);
  });

  it('may do to the transaction what it likes, but not to the session', () => {
    expect(sql("select set_config('a.b', 'c', true)").problems).toEqual([]);
    expect(sql("select set_config('a.b', 'c', false)").problems).toMatchObject([
      { unsafe: 'the function s.f changes the session' },
    ]);
    expect(sql('select pg_advisory_xact_lock(1)').problems).toEqual([]);
    expect(sql('select pg_advisory_lock(1)').problems).toMatchObject([
      { unsafe: 'the function s.f changes the session' },
    ]);
  });

  it('that writes is no read', () => {
    expect(sql('insert into t values (1)').problems).toEqual([
      { unproved: 'the function s.f writes', unsafe: null, outside: 'no' },
    ]);
    expect(sql('select 1 from t for update skip locked').problems).toMatchObject([
      { unsafe: null },
      { unsafe: null, orderSensitive: true },
    ]);
  });
});
