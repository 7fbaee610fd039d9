import { describe, expect, it } from 'vitest';
import { parseSearchPath } from '../../../../src/pg/sql/search-path.ts';

describe('a search_path', () => {
  it.each<[string, string[], boolean]>([
    ['"$user", public', ['public'], true],
    ['', [], false],
    ['""', [], false],
    ['Public,"My ""Schema"""', ['public', 'My "Schema"'], false],
    [' a , b ', ['a', 'b'], false],
    ['pg_temp, pg_catalog', ['pg_catalog'], false],
  ])('%j', (value, schemas, includesUser) => {
    expect(parseSearchPath(value)).toEqual({ schemas, includesUser });
  });

  it.each(['a,', ',', 'a b', '"a', 'a,,b'])('%j is malformed', (value) => {
    expect(parseSearchPath(value)).toBeUndefined();
  });
});
