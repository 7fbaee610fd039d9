import { describe, expect, it } from 'vitest';
import { serialize } from 'pg-protocol';
import { queryWithToken, TokenMessages } from '../../../../src/pg/token/token-messages.ts';

const KEY = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const OTHER = Buffer.from('ffeeddccbbaa99887766554433221100', 'hex');
const SQL = { put: 'SELECT put($1)', insert: 'INSERT $1, $2' };

/** Letters of the messages. */
function letters(bytes: Buffer): string {
  let all = '';
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1))
    all += String.fromCharCode(bytes[at]!);
  return all;
}

/** Portal, statement and the values of each Bind that has any. */
function binds(bytes: Buffer): { portal: string; statement: string; values: Buffer[]; formats: number[] }[] {
  const found = [];
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) {
    if (bytes[at] !== 0x42) continue;
    let next = at + 5;
    const text = (): string => {
      const end = bytes.indexOf(0, next);
      const value = bytes.toString('utf8', next, end);
      next = end + 1;
      return value;
    };
    const portal = text();
    const statement = text();
    const number = (): number => {
      next += 2;
      return bytes.readUInt16BE(next - 2);
    };
    const formats = Array.from({ length: number() }, number);
    const values = Array.from({ length: number() }, () => {
      const length = bytes.readUInt32BE(next);
      next += 4 + length;
      return bytes.subarray(next - length, next);
    });
    if (values.length > 0) found.push({ portal, statement, values, formats });
  }
  return found;
}

describe('the messages that carry a token', () => {
  it('prepare its statement once', () => {
    const messages = new TokenMessages(SQL, true);
    expect(letters(messages.unit(KEY, false))).toBe('CPBES');
    expect(letters(messages.unit(KEY, false))).toBe('BES');
  });

  it('prepare it again where it may be gone', () => {
    const messages = new TokenMessages(SQL, true);
    messages.unit(KEY, false);
    messages.statementMayBeGone();
    expect(letters(messages.unit(KEY, false))).toBe('CPBES');
    expect(letters(messages.unit(KEY, false))).toBe('BES');
  });

  it('prepare it each time behind a pooler', () => {
    const messages = new TokenMessages(SQL, false);
    messages.unit(KEY, false);
    expect(letters(messages.unit(KEY, false))).toBe('CPBES');
  });

  it('have the key, in binary, where it belongs: with and without the Parse, in either portal', () => {
    const messages = new TokenMessages(SQL, true);
    const own = Buffer.concat([serialize.bind(), serialize.execute(), serialize.sync()]);
    for (const key of [KEY, OTHER, KEY]) {
      const named = { portal: 'holdfast_token', statement: 'holdfast_token', values: [key], formats: [1] };
      const unnamed = { ...named, portal: '' };
      expect(binds(messages.unit(key, false))).toEqual([unnamed]);
      expect(binds(messages.behind(own, key, true, false))).toEqual([unnamed]);
      expect(binds(messages.behind(own, key, false, false))).toEqual([named]);
      expect(binds(messages.behindQuery('WITH', key, false))).toEqual([unnamed]);
    }
  });

  it('have the milliseconds of the key, too, behind a statement that changes rows', () => {
    const messages = new TokenMessages(SQL, true);
    const own = Buffer.concat([serialize.bind(), serialize.execute(), serialize.sync()]);
    for (const key of [KEY, OTHER, KEY]) {
      const millis = Buffer.concat([Buffer.alloc(2), key.subarray(0, 6)]);
      const unnamed = {
        portal: '',
        statement: 'holdfast_new_token',
        values: [key, millis],
        formats: [1, 1],
      };
      expect(binds(messages.behind(own, key, true, true))).toEqual([unnamed]);
      expect(binds(messages.behind(own, key, false, true))).toEqual([
        { ...unnamed, portal: 'holdfast_token' },
      ]);
      expect(binds(messages.behindQuery('INSERT', key, true))).toEqual([unnamed]);
      expect(binds(messages.unit(key, true))).toEqual([unnamed]);
    }
  });

  it('prepare each statement when it is first needed, and both where they may be gone', () => {
    const messages = new TokenMessages(SQL, true);
    const sync = serialize.sync();
    const all = (): string[] =>
      [true, false, true, false].map((changesRows) => letters(messages.behind(sync, KEY, true, changesRows)));
    expect(all()).toEqual(['CPBES', 'CPBES', 'BES', 'BES']);
    messages.statementMayBeGone();
    expect(all()).toEqual(['CPBES', 'CPBES', 'BES', 'BES']);
  });

  it('stand in front of the one Sync', () => {
    const messages = new TokenMessages(SQL, true);
    const own = Buffer.concat([
      serialize.parse({ text: 'INSERT' }),
      serialize.bind(),
      serialize.execute(),
      serialize.sync(),
    ]);
    expect(letters(messages.behind(own, KEY, true, false))).toBe('PBECPBES');
    expect(letters(messages.behind(own, KEY, true, false))).toBe('PBEBES');
    expect(letters(messages.behindQuery('INSERT', KEY, false))).toBe('PBDEBES');
  });
});

describe('the token as a statement of the application’s string', () => {
  const text = (bytes: Buffer): string => {
    expect(bytes[0]).toBe(0x51);
    expect(bytes.readUInt32BE(1)).toBe(bytes.length - 1);
    return bytes.toString('utf8', 5, bytes.length - 1);
  };

  it('has its key as a literal', () => {
    expect(new TokenMessages(SQL, true).statement(KEY)).toBe(
      `SELECT put('00112233-4455-6677-8899-aabbccddeeff')`,
    );
  });

  it('stands at the end, out of the reach of a comment', () => {
    expect(text(queryWithToken('a; b -- c', 9, 'TOKEN'))).toBe('a; b -- c\n;TOKEN');
  });

  it('stands in front of the COMMIT, whatever characters lie in front of that', () => {
    expect(text(queryWithToken(`a 'ä€😀'; COMMIT`, 10, 'TOKEN'))).toBe(`a 'ä€😀'; \n;TOKEN;COMMIT`);
  });
});
