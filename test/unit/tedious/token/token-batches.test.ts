import { describe, expect, it } from 'vitest';
import type { BatchResult } from '../../../../src/tedious/link/batch.ts';
import { statementFacts } from '../../../../src/tedious/sql/statement-facts.ts';
import { readStatements } from '../../../../src/tedious/sql/statements.ts';
import { tokenize } from '../../../../src/tedious/sql/lexer.ts';
import {
  commitBatch,
  moveWatermark,
  presenceQuestion,
  purgeSome,
  readTime,
  readTombstone,
  timeQuestion,
  tokenPresence,
  tokensFoundQuestion,
  tombstoneQuestion,
} from '../../../../src/tedious/token/token-batches.ts';
import {
  createTokenTablesSql,
  dropTokenTablesSql,
  tokenTable,
} from '../../../../src/tedious/token/token-objects.ts';

const KEY = '0190a1b2c3d47000800000000000000f';

/** The answer to a batch: one column of rows, and numbers of errors. */
function answer(rows: readonly (string | null)[], ...numbers: readonly number[]): BatchResult {
  const errors = numbers.map((number) => ({
    number,
    state: 1,
    class: 14,
    message: '',
    serverName: '',
    procedure: '',
    line: 1,
  }));
  return { rows: rows.map((value) => [value]), errors };
}

function kinds(sql: string): string[] {
  return readStatements(tokenize(sql)).map(({ kind }) => kind);
}

describe('the batch in the place of a COMMIT', () => {
  it('writes the token only for the outermost, and commits only with it', () => {
    expect(commitBatch('holdfast', KEY)).toBe(
      `IF @@TRANCOUNT = 1 INSERT INTO [holdfast].[commit_token] ([token]) VALUES (0x${KEY});IF @@ERROR = 0 COMMIT TRANSACTION`,
    );
  });
});

describe('the question what became of a token', () => {
  const question = tombstoneQuestion('holdfast', KEY, 500);

  it('waits no longer than it may, in READ COMMITTED, and once', () => {
    expect(question).toMatch(
      /^SET XACT_ABORT OFF;SET LOCK_TIMEOUT 500;SET TRANSACTION ISOLATION LEVEL READ COMMITTED;INSERT /,
    );
    expect(question).toContain('IF @@ERROR <> 1222 SELECT');
    expect(kinds(question)).toEqual('SET SET SET INSERT IF SELECT'.split(' '));
  });

  it('looks at the mark behind the INSERT, and takes one that is missing for too high', () => {
    expect(question.indexOf('commit_token_watermark')).toBeGreaterThan(question.indexOf('INSERT'));
    expect(question).toContain(`[below] <= 0x${KEY}) THEN N'fenced' ELSE N'purged'`);
  });

  it('says that its row is a tombstone', () => {
    expect(question).toContain(`([token], [kind]) VALUES (0x${KEY}, 1)`);
  });

  it.each([
    ['the key was there', answer(['committed'], 2627), { kind: 'committed' }],
    ['the same with a unique index', answer(['committed'], 2601), { kind: 'committed' }],
    ['a tombstone was there', answer(['fenced'], 2627), { kind: 'fenced' }],
    ['it is ours', answer(['fenced']), { kind: 'fenced' }],
    ['whoever has it lives', answer([], 1222), { kind: 'live' }],
    ['it was purged', answer(['purged']), { kind: 'unknown', reason: 'token-too-old' }],
    [
      'it was deleted while it was looked at',
      answer([], 2627),
      { kind: 'unknown', reason: 'token-not-answered' },
    ],
    ['no table', answer([], 208), { kind: 'unknown', reason: 'token-unavailable' }],
    ['no permission', answer([], 229), { kind: 'unknown', reason: 'token-unavailable' }],
    ['anything else', answer([], 9002), { kind: 'unknown', reason: 'token-refused-9002' }],
    [
      'an error besides',
      answer(['committed'], 2627, 9002),
      { kind: 'unknown', reason: 'token-refused-9002' },
    ],
    ['found without the error', answer(['committed']), { kind: 'unknown', reason: 'token-not-answered' }],
    ['nothing', answer([]), { kind: 'unknown', reason: 'token-not-answered' }],
  ])('%s', (_name, result, expected) => {
    expect(readTombstone(result)).toEqual(expected);
  });
});

describe('what the driver asks of the tables', () => {
  it('reads only', () => {
    for (const sql of [
      presenceQuestion('holdfast'),
      timeQuestion('holdfast'),
      tokensFoundQuestion('holdfast', [KEY, KEY]),
    ]) {
      expect(statementFacts(sql, 'batch').isRead).toBe(true);
    }
  });

  it.each([
    [answer(['present']), 'present'],
    [answer(['absent']), 'absent'],
    [answer(['refused']), 'refused'],
    [answer([]), 'refused'],
    [answer(['present'], 229), 'refused'],
  ])('whether they are there: %j', (result, expected) => {
    expect(tokenPresence(result)).toBe(expected);
  });

  it.each([
    [
      [['1700000000000', '018bcfe5680000000000000000000000']],
      { serverMillis: 1_700_000_000_000, watermarkMillis: 0x018bcfe56800 },
    ],
    [
      [['1700000000000', '0X018BCFE56800']],
      { serverMillis: 1_700_000_000_000, watermarkMillis: 0x018bcfe56800 },
    ],
    [[['1', '\\x000000000000']], { serverMillis: 1, watermarkMillis: 0 }],
    [[['1', null]], null],
    [[['x', '00']], null],
    [[], null],
  ])('the time: %j', (rows, expected) => {
    expect(readTime({ rows, errors: [] })).toEqual(expected);
  });

  it('an error is no time', () => {
    expect(readTime(answer(['1'], 208))).toBeNull();
  });

  it('the mark only goes up', () => {
    expect(moveWatermark('holdfast', KEY)).toContain(
      `SET [below] = 0x${KEY} WHERE [id] = 1 AND [below] < 0x${KEY}`,
    );
  });

  it('a purge deletes no tombstones, and few rows at once', () => {
    expect(purgeSome('holdfast', KEY, 1_000)).toContain(
      `DELETE TOP (1000) FROM [holdfast].[commit_token] WHERE [token] < 0x${KEY} AND [kind] = 0;`,
    );
  });
});

describe('the tables', () => {
  it('are made if they are not there', () => {
    const sql = createTokenTablesSql('holdfast');
    expect(kinds(sql)).toEqual('IF EXEC IF CREATE IF BEGIN CREATE INSERT END'.split(' '));
    expect(sql).toContain('[token] binary(16) NOT NULL PRIMARY KEY');
    expect(sql).not.toMatch(/IGNORE_DUP_KEY|\bGO\b/);
    expect(dropTokenTablesSql('holdfast')).toMatch(/DROP TABLE IF EXISTS \[holdfast\]\.\[commit_token\];/);
  });

  it('have names of which nothing can get out', () => {
    const odd = `a]b'c`;
    expect(tokenTable(odd)).toBe(`[a]]b'c].[commit_token]`);
    const sql = createTokenTablesSql(odd);
    expect(sql).toContain(`SCHEMA_ID(N'a]b''c')`);
    expect(sql).toContain(`EXEC (N'CREATE SCHEMA [a]]b''c]')`);
    expect(sql).toContain(`OBJECT_ID(N'[a]]b''c].[commit_token]', N'U')`);
    expect(kinds(sql)).toEqual(kinds(createTokenTablesSql('holdfast')));
  });
});
