import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import { IDLE } from '../../../src/session/journal.ts';
import { endAnswer, errorAnswer, successAnswer } from '../../../src/pg/local-answers.ts';

/** The letters of the messages. */
function letters(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1))
    text += String.fromCharCode(bytes[at]!);
  return text;
}

const { parse, bind, describe: describeMessage, execute, close, sync, query } = serialize;
const extended = Buffer.concat([
  parse({ text: 'COMMIT' }),
  bind({}),
  describeMessage({ type: 'P' }),
  execute({}),
  sync(),
]);

describe('success in the place of the server', () => {
  it('has a message for each one of the application', () => {
    expect(letters(successAnswer(query('COMMIT'), 'COMMIT', 0))).toBe('CZ');
    expect(letters(successAnswer(extended, 'COMMIT', 0))).toBe('12nCZ');
    const named = Buffer.concat([
      parse({ name: 's', text: 'COMMIT' }),
      describeMessage({ type: 'S', name: 's' }),
      close({ type: 'S', name: 's' }),
      sync(),
    ]);
    expect(letters(successAnswer(named, 'COMMIT', 0))).toBe('1tn3Z');
  });

  it('leaves out what was given', () => {
    expect(letters(successAnswer(extended, 'COMMIT', 2))).toBe('nCZ');
    expect(letters(successAnswer(extended, 'COMMIT', 4))).toBe('Z');
    expect(letters(successAnswer(query('COMMIT'), 'COMMIT', 1))).toBe('Z');
  });

  it('says that no transaction is open', () => {
    const bytes = successAnswer(query('COMMIT'), 'COMMIT', 0);
    expect(bytes.at(-1)).toBe(IDLE);
    expect(bytes.toString('latin1')).toContain('COMMIT\0');
  });
});

describe('an error in the place of the server', () => {
  it('has its end with it, or later', () => {
    const error = { code: '08007', message: 'unknown', token: 'holdfast:1' };
    expect(letters(errorAnswer(error, 0x45))).toBe('EZ');
    expect(letters(errorAnswer(error, null))).toBe('E');
    expect(letters(endAnswer(0x49))).toBe('Z');
  });
});
