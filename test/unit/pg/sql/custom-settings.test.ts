import { describe, expect, it } from 'vitest';
import { settingsInCode } from '../../../../src/pg/sql/custom-settings.ts';

describe('the settings that code deals with', () => {
  it.each<[string, string[], boolean]>([
    ["perform set_config('App.tenant', $1, false)", ['app.tenant'], false],
    ["select pg_catalog.set_config ( E'a.b'::text , x, true)", ['a.b'], false],
    ["tenant = current_setting('app.tenant'::text, true)", ['app.tenant'], false],
    ["current_setting('work_mem')", [], false],
    ["set_config('work_mem', '1', false)", [], false],
    ['set_config(name, value, false)', [], true],
    ["set_config('app.' || name, value, false)", [], true],
    ["set_config(format('app.%s', x), value, false)", [], true],
    ['current_setting(name)', [], false],
    ['SET LOCAL app.x = 1; reset "app"."y"; set session a.b.c to 2', ['a.b.c', 'app.x', 'app.y'], false],
    ['update t set a.b = 1', ['a.b'], false],
    ["execute 'set app.x = ' || quote_literal(v)", ['app.x'], true],
    ["execute format('SET %I = %L', n, v)", [], true],
    ["execute 'update t set a = 1'", [], false],
    ['select 1', [], false],
  ])('%j', (body, names, isDynamic) => {
    const found = settingsInCode([body]);
    expect([...found.names].sort()).toEqual(names);
    expect(found.isDynamic).toBe(isDynamic);
  });
});
