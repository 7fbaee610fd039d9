import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { statementHeads } from '../../../../src/pg/sql/leading-keywords.ts';
import { tokens } from '../../../../src/pg/sql/lexer.ts';
import { loadParser, parse } from '../../../../src/pg/sql/parser.ts';

function pieces(text: string, standardConformingStrings = true): string[] {
  return [...tokens(text, { standardConformingStrings })].map(({ start, end }) => text.slice(start, end));
}

describe('the lexer finds where strings, names and comments end', () => {
  it.each<[string, string[]]>([
    ['select 1', ['select', '1']],
    ["'a''b;' x", ["'a''b;'", 'x']],
    ["'a\\' x", ["'a\\'", 'x']],
    ["E'a\\'b' x", ["E'a\\'b'", 'x']],
    ["e'a\\\\' x", ["e'a\\\\'", 'x']],
    ["E'a' -- c\n 'b\\'; c' x", ["E'a' -- c\n 'b\\'; c'", 'x']],
    ["E'a' 'b\\' x", ["E'a'", "'b\\'", 'x']],
    ["E'a'\n\n-- c\n'\\'' x", ["E'a'\n\n-- c\n'\\''", 'x']],
    ["fee'a\\' x", ['fee', "'a\\'", 'x']],
    ["U&'a\\' x", ["U&'a\\'", 'x']],
    ['u&"a;""b" x', ['u&"a;""b"', 'x']],
    ["u & 'a'", ['u', '&', "'a'"]],
    ["B'01' x'ff' N'a\\'", ["B'01'", "x'ff'", "N'a\\'"]],
    ['"a""b;" x', ['"a""b;"', 'x']],
    ['$$ ; $$ x', ['$$ ; $$', 'x']],
    ['$a$ $$ ; $b$ $a$ x', ['$a$ $$ ; $b$ $a$', 'x']],
    ['a$$ ; b$$', ['a$$', ';', 'b$$']],
    ['$1$$;$$', ['$1', '$$;$$']],
    ['$1a', ['$1', 'a']],
    ['1$$;$$', ['1', '$$;$$']],
    ['$é$;$é$ x', ['$é$;$é$', 'x']],
    ['a /* /* ; */ ; */ b', ['a', 'b']],
    ['a -- ; \n b', ['a', 'b']],
    ['a -- ; \r b', ['a', 'b']],
    ['1+--;\n2', ['1', '+', '2']],
    ['a*/**/b', ['a', '*', 'b']],
    ['a/*', ['a']],
    ["'never ends; commit", ["'never ends; commit"]],
    ['$x$ never ends', ['$x$ never ends']],
    ['1.5e3 .5 1_000 0x1F', ['1.5', 'e3', '.5', '1_000', '0', 'x1F']],
    ['(a,b);', ['(', 'a', ',', 'b', ')', ';']],
    ['commit\u00a0work', ['commit\u00a0work']],
  ])('%j', (text, expected) => {
    expect(pieces(text)).toEqual(expected);
  });

  it.each<[string, string[]]>([
    ["'a\\' ; ' x", ["'a\\' ; '", 'x']],
    ["N'a\\' ; ' x", ["N'a\\' ; '", 'x']],
    ["B'a\\' x", ["B'a\\'", 'x']],
    ["'a'\n'b\\'' x", ["'a'\n'b\\''", 'x']],
  ])('while standard_conforming_strings is off: %j', (text, expected) => {
    expect(pieces(text, false)).toEqual(expected);
  });
});

describe('the heads of statements', () => {
  it.each<[string, string[][]]>([
    ['', [[]]],
    ['select 1', [['SELECT']]],
    ['/* c */ begin;', [['BEGIN'], []]],
    ['alter table a.b add c int', [['ALTER', 'TABLE', 'A']]],
    ['rollback and no chain ; commit', [['ROLLBACK', 'AND', 'NO', 'CHAIN'], ['COMMIT']]],
    [
      'start transaction isolation level read committed read only',
      [['START', 'TRANSACTION', 'ISOLATION', 'LEVEL', 'READ', 'COMMITTED']],
    ],
    ['(select 1)', [[]]],
    [
      'create rule r as on insert to t do (delete from a; delete from b); x',
      [['CREATE', 'RULE', 'R', 'AS', 'ON', 'INSERT'], ['X']],
    ],
    ['commıt', [['COMMıT']]],
  ])('%j', (text, expected) => {
    expect(statementHeads(text).map(({ words }) => words)).toEqual(expected);
  });
});

/** Pieces that are statements of their own, harmless to each other when joined. */
const STATEMENTS = [
  'select 1',
  'COMMIT',
  "insert into t values ('a;b', E'c\\';', $$;$$, $t$ ; $$ $t$)",
  'select "a;b" from "t" -- ; end\n',
  'select /* ; /* commit; */ */ 1',
  "select E'a'\n'b\\';'",
  "select U&'\\0441;', B'01', X'ff', N'x;'",
  'create rule r as on insert to t do (delete from a; delete from b)',
  "do $do$ begin raise notice ';'; end $do$",
  'select a$b, 1.5e3, $1, (x).y, t.*',
  'begin isolation level serializable, read only',
  '',
  ' -- only a comment; \n',
];
const SEPARATORS = [';', ' ; ', ';;', ' ;\n', ';/* ; */'];

describe('any text', () => {
  beforeAll(loadParser);

  it('has tokens that are in order, do not overlap and do not pass its end', () => {
    const alphabet = fc.constantFrom(...Array.from('\'"$E eUu&\\;-/*\n(),.a1_é\0'));
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: alphabet })),
        fc.boolean(),
        (text, standard) => {
          let last = 0;
          for (const { start, end } of tokens(text, { standardConformingStrings: standard })) {
            expect(start).toBeGreaterThanOrEqual(last);
            expect(end).toBeGreaterThan(start);
            expect(end).toBeLessThanOrEqual(text.length);
            last = end;
          }
          statementHeads(text);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('that PostgreSQL parses has as many statements as PostgreSQL counts', () => {
    const script = fc
      .array(fc.tuple(fc.constantFrom(...STATEMENTS), fc.constantFrom(...SEPARATORS)), { maxLength: 8 })
      .map((parts) => parts.map(([statement, separator]) => statement + separator).join(''));
    fc.assert(
      fc.property(script, (text) => {
        const parsed = parse(text);
        if (parsed.kind !== 'parsed') throw new Error(parsed.reason);
        expect(statementHeads(text).filter(({ isEmpty }) => !isEmpty)).toHaveLength(parsed.statements.length);
      }),
      { numRuns: 500 },
    );
  });

  it('made of random pieces has as many statements as PostgreSQL counts, if PostgreSQL parses it', () => {
    const piece = fc.constantFrom(
      ...[
        "'",
        '"',
        '$$',
        '$a$',
        'E',
        'e',
        "E'",
        "U&'",
        'x',
        '\\',
        ';',
        '--',
        '\n',
        '/*',
        '*/',
        '(',
        ')',
        ' ',
        '1',
        '$1',
        'select',
      ],
    );
    let understood = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (parts) => {
        const text = `select ${parts.join('')}`;
        const parsed = parse(text);
        if (parsed.kind !== 'parsed') return;
        understood += 1;
        expect(statementHeads(text).filter(({ isEmpty }) => !isEmpty)).toHaveLength(parsed.statements.length);
      }),
      { numRuns: 5000 },
    );
    expect(understood).toBeGreaterThan(100);
  });
});
