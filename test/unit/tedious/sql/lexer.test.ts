import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenize } from '../../../../src/tedious/sql/lexer.ts';

function words(sql: string): string[] {
  return tokenize(sql).flatMap((token) => (token.kind === 'word' ? [token.text] : []));
}

describe('the T-SQL lexer', () => {
  it.each([
    ['keywords, in whatever case', 'Commit tran', ['COMMIT', 'TRAN']],
    ['nothing in strings', `print 'commit ''tran''' + N'rollback'`, ['PRINT']],
    ['nothing in names', 'select [commit]]], "rollback""" from t', ['SELECT', 'FROM', 'T']],
    [
      'nothing in comments, which nest',
      '/* a /* commit */ commit */ select 1 -- commit\n from t',
      ['SELECT', 'FROM', 'T'],
    ],
    ['nothing in variables', 'select @commit, @@TRANCOUNT', ['SELECT']],
    ['names of temporary tables', 'select 1 from #t', ['SELECT', 'FROM', '#T']],
    ['no words in numbers', 'select 0x0A, 1e5, $1', ['SELECT']],
    ['names with more than letters in them', 'select a$b#c_1 from ü', ['SELECT', 'A$B#C_1', 'FROM', 'Ü']],
    ['what is not closed to its end', `select 'commit`, ['SELECT']],
    ['the same for a comment', 'select 1 /* commit', ['SELECT']],
  ])('finds %s', (_name, sql, expected) => {
    expect(words(sql)).toEqual(expected);
  });

  it('never fails, and its tokens stand one behind the other', () => {
    const pieces = fc.constantFrom(
      `'`,
      '"',
      '[',
      ']',
      '/*',
      '*/',
      '--',
      '\n',
      'commit',
      '@',
      '#',
      '1',
      ';',
      ' ',
      'N',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const sql = parts.join('');
        let at = 0;
        for (const { start, end } of tokenize(sql)) {
          expect(start).toBeGreaterThanOrEqual(at);
          expect(end).toBeGreaterThan(start);
          at = end;
        }
        expect(at).toBeLessThanOrEqual(sql.length);
      }),
    );
  });
});
