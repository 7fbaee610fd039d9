import { describe, expect, it } from 'vitest';
import { bodyless, commandComplete, errorResponse } from '../../../../src/pg/backend-messages.ts';
import { isForApplication, UnitToken, type UnitTokenShape } from '../../../../src/pg/token/unit-token.ts';

const KEY = Buffer.alloc(16, 7);

function tokenOf(shape: UnitTokenShape): UnitToken {
  return new UnitToken(KEY, shape);
}

/** A DataRow with one column in text. */
function row(value: string | null): Buffer {
  const bytes = Buffer.alloc(11 + (value ?? '').length, value ?? '');
  bytes.write('D', 'latin1');
  bytes.writeUInt32BE(bytes.length - 1, 1);
  bytes.writeUInt16BE(1, 5);
  bytes.writeInt32BE(value === null ? -1 : value.length, 7);
  return bytes;
}

/** By the letter of each message, which of these the application sees. `E` is an error with this code. */
function visible(token: UnitToken, letters: string, code = '23505'): string {
  let seen = '';
  for (const letter of letters) {
    const bytes =
      letter === 'C' ? commandComplete('INSERT 0 1')
      : letter === 'E' ? errorResponse(new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', code], ['M', 'no']]))
      : letter === 'D' ? row('t')
      : bodyless(letter.charCodeAt(0)); // prettier-ignore
    if (token.isVisible(letter.charCodeAt(0), bytes, 0, bytes.length)) seen += letter;
  }
  return seen;
}

describe('which messages of an answer are the application’s', () => {
  it.each<[title: string, shape: UnitTokenShape, answer: string, seen: string]>([
    ['extended, one Execute', { position: 'inside', visible: 1 }, '12TDDC2DC', '12TDDC'],
    ['two Executes', { position: 'inside', visible: 2 }, '12C2DC2DC', '12C2DC'],
    ['its rows were limited', { position: 'inside', visible: 1 }, '2DDs2DC', '2DDs'],
    ['nothing to execute', { position: 'inside', visible: 1 }, '12nI2DC', '12nI'],
    ['the token is prepared with it', { position: 'inside', visible: 1 }, '2C312DC', '2C'],
    ['a Query, converted', { position: 'inside', visible: 1, isConverted: true }, '12nC2DC', 'C'],
    [
      'a Query with rows, converted',
      { position: 'inside', visible: 1, isConverted: true },
      '12TDDC312DC',
      'TDDC',
    ],
    ['a notice among it', { position: 'inside', visible: 1, isConverted: true }, '12nNC2DC', 'NC'],
    [
      'every message is counted',
      { position: 'inside', visible: 5, countsAll: true },
      '12TDDsC2DC',
      '12TDDsC',
    ],
    ['parameters are described', { position: 'inside', visible: 4, countsAll: true }, '1tTnC2DC', '1tTnC'],
    ['in a string', { position: 'in-string', visible: 2 }, 'TDCCTDC', 'TDCC'],
    ['in a string, in front of its COMMIT', { position: 'in-string', visible: 1 }, 'CTDCC', 'CC'],
    ['in a string that begins with its COMMIT', { position: 'in-string', visible: 0 }, 'TDCCTDC', 'CTDC'],
    ['an empty string in front', { position: 'in-string', visible: 1 }, 'ITDC', 'I'],
    ['COPY TO in a string', { position: 'in-string', visible: 2 }, 'HddcCCTDC', 'HddcCC'],
  ])('%s', (_title, shape, answer, seen) => {
    const token = tokenOf(shape);
    expect(visible(token, answer)).toBe(seen);
    expect(token.refusal).toBeNull();
    expect(token.isReached).toBe(true);
  });

  it.each<[title: string, shape: UnitTokenShape, answer: string, seen: string]>([
    ['an error in front of the token', { position: 'inside', visible: 1 }, '12E', '12E'],
    ['an error of the second Execute', { position: 'inside', visible: 2 }, '12C2E', '12C2E'],
    ['an error in a string', { position: 'in-string', visible: 2 }, 'CE', 'CE'],
  ])('%s is the application’s, and the rest is not reached', (_title, shape, answer, seen) => {
    const token = tokenOf(shape);
    expect(visible(token, answer)).toBe(seen);
    expect(token.refusal).toBeNull();
    expect(token.isReached).toBe(false);
  });

  it.each<[title: string, shape: UnitTokenShape, answer: string, seen: string]>([
    ['by the extended protocol', { position: 'inside', visible: 1 }, '2C2DCE', '2CE'],
    ['in front of a COMMIT in a string', { position: 'in-string', visible: 1 }, 'CTDCE', 'CE'],
    // There the tag comes only behind the commit.
    ['at the end of a string', { position: 'in-string', visible: 1 }, 'CTDE', 'CE'],
  ])('a deferred constraint fails at the commit: %s', (_title, shape, answer, seen) => {
    const token = tokenOf(shape);
    expect(visible(token, answer, '23503')).toBe(seen);
    expect(token.refusal).toBeNull();
    expect(token.isReached).toBe(true);
  });

  it.each<[title: string, shape: UnitTokenShape, answer: string, seen: string]>([
    ['at its Bind', { position: 'inside', visible: 1 }, '2CE', '2C'],
    ['at its Execute', { position: 'inside', visible: 1 }, '2C2E', '2C'],
    ['in a string', { position: 'in-string', visible: 1 }, 'CTE', 'C'],
  ])('the server does not take the token: %s', (_title, shape, answer, seen) => {
    const token = tokenOf(shape);
    expect(visible(token, answer, '42501')).toBe(seen);
    expect(token.refusal?.code).toBe('42501');
    expect(token.refusal?.message.toString('latin1')).toContain('42501');
    expect(visible(token, 'CTDC')).toBe('');
  });

  it.each([
    ['t', true],
    [null, false],
  ])('its row says whether there was anything to commit: %j', (value, expected) => {
    const token = tokenOf({ position: 'inside', visible: 1 });
    visible(token, '2C');
    expect(token.wasWritten).toBeNull();
    const bytes = row(value);
    expect(token.isVisible(0x44, bytes, 0, bytes.length)).toBe(false);
    expect(token.wasWritten).toBe(expected);
  });

  it('a unit that is closed later: what was asked until then is the application’s', () => {
    const token = tokenOf({ position: 'inside', visible: null, countsAll: true });
    expect(visible(token, '12TDDs')).toBe('12TDDs');
    expect(token.isReached).toBe(false);
    token.follows(5);
    expect(visible(token, 'C2DC')).toBe('C');
    expect(token.isReached).toBe(true);
  });

  it('a unit that is closed when all in front of the token is answered', () => {
    const token = tokenOf({ position: 'inside', visible: null, countsAll: true });
    expect(visible(token, '12nC')).toBe('12nC');
    token.follows(4);
    expect(token.isReached).toBe(true);
    expect(visible(token, '2DC')).toBe('');
  });

  it('a token in front has an answer of its own: when it is refused, nothing of the COMMIT is shown', () => {
    const token = tokenOf({ position: 'in-front', visible: 0 });
    expect(visible(token, 'C')).toBe('C');
    token.refused({ code: '40001', message: Buffer.alloc(0) });
    expect(visible(token, 'C')).toBe('');
  });
});

it.each([
  ['40001', true], ['40P01', true], ['53100', true], ['55P03', true], ['57014', true],
  ['23505', false], ['25006', false], ['26000', false], ['42501', false], ['57P01', false], ['HF001', false],
])('%s is the application’s business: %s', (code, expected) => {
  expect(isForApplication({ code, message: Buffer.alloc(0) })).toBe(expected);
}); // prettier-ignore
