import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDone, readMessage, returnValueName } from '../../../../src/tedious/wire/read-token.ts';
import { ENVIRONMENT, TOKEN } from '../../../../src/tedious/wire/token-kind.ts';
import { TokenWalker } from '../../../../src/tedious/wire/token-walker.ts';
import { doneToken, environmentToken, messageToken } from '../../../../src/tedious/wire/write-token.ts';

const MESSAGE_OF_SERVER = {
  number: 2627,
  state: 1,
  class: 14,
  message: 'Violation of a key ü',
  serverName: 'server',
  procedure: 'p',
  line: 7,
};

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function shortText(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'utf16le')]);
}

/** A column of a type, with what its TYPE_INFO has behind the type's byte. */
function column(name: string, typeInfo: readonly number[], tableName?: string): Buffer {
  const table =
    tableName === undefined
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([1]), u16(tableName.length), Buffer.from(tableName, 'utf16le')]);
  return Buffer.concat([u32(0), u16(9), Buffer.from(typeInfo), table, shortText(name)]);
}

const COLLATION = [9, 4, 208, 0, 52];
const COLUMNS = [
  column('id', [0x38]), // int
  column('n', [0x26, 8]), // bigint, may be null
  column('d', [0x6a, 9, 18, 2]), // decimal
  column('s', [0xe7, 200, 0, ...COLLATION]), // nvarchar(100)
  column('m', [0xe7, 0xff, 0xff, ...COLLATION]), // nvarchar(max)
  column('t', [0x63, ...u32(0xffff), ...COLLATION], 'old'), // ntext
  column('v', [0x62, ...u32(8009)]), // sql_variant
  column('at', [0x2a, 7]), // datetime2(7)
  column('on', [0x28]), // date
  column('x', [0xf1, 0]), // xml
];
const METADATA = Buffer.concat([Buffer.from([TOKEN.columnMetadata]), u16(COLUMNS.length), ...COLUMNS]);

function chunked(text: string | null, chunkBytes: number): Buffer {
  if (text === null) return Buffer.alloc(8, 0xff);
  const value = Buffer.from(text, 'utf16le');
  const parts: Buffer[] = [Buffer.from('feffffffffffffff', 'hex')];
  for (let at = 0; at < value.length; at += chunkBytes) {
    const chunk = value.subarray(at, at + chunkBytes);
    parts.push(u32(chunk.length), chunk);
  }
  return Buffer.concat([...parts, u32(0)]);
}

function row(long: string | null, { chunkBytes = 1_000, pointer = 0xab } = {}): Buffer {
  const text = Buffer.from('x', 'utf16le');
  return Buffer.concat([
    Buffer.from([TOKEN.row]),
    u32(42),
    Buffer.from([8, 1, 2, 3, 4, 5, 6, 7, 8]),
    Buffer.from([5, 1, 9, 0, 0, 0]),
    u16(text.length),
    text,
    chunked(long, chunkBytes),
    Buffer.concat([Buffer.from([2, pointer, pointer]), Buffer.alloc(8, pointer), u32(text.length), text]),
    u32(6),
    Buffer.from([0x38, 0, 1, 0, 0, 0]),
    Buffer.from([8, 1, 2, 3, 4, 5, 6, 7, 8]),
    Buffer.from([3, 1, 2, 3]),
    chunked('<a/>', chunkBytes),
  ]);
}

/** All but the first column are NULL. */
const NULL_ROW = Buffer.concat([Buffer.from([TOKEN.nullBitmapRow, 0xfe, 0x03]), u32(7)]);

const RETURN_VALUE = Buffer.concat([
  Buffer.from([TOKEN.returnValue]),
  u16(0),
  shortText('@handle'),
  Buffer.from([1]),
  u32(0),
  u16(0),
  Buffer.from([0x26, 4, 4, 1, 0, 0, 0]),
]);

const ANSWER = Buffer.concat([
  environmentToken(ENVIRONMENT.beginTransaction, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]), Buffer.alloc(0)),
  METADATA,
  row('a long value'),
  NULL_ROW,
  row(null),
  Buffer.concat([Buffer.from([TOKEN.order]), u16(2), u16(1)]),
  Buffer.concat([Buffer.from([TOKEN.returnStatus]), u32(0)]),
  RETURN_VALUE,
  messageToken(TOKEN.error, MESSAGE_OF_SERVER),
  Buffer.concat([Buffer.from([TOKEN.featureExtAck, 10]), u32(1), Buffer.from([1, 0xff])]),
  doneToken(0x10, { command: 0xc1, rowCount: 3n }),
]);

function walk(chunks: readonly Buffer[]): string[] {
  const seen: string[] = [];
  const walker = new TokenWalker({
    token: (kind, bytes, start, end) => {
      expect(bytes[start]).toBe(kind);
      seen.push(bytes.toString('hex', start, end));
    },
  });
  for (const chunk of chunks) walker.push(chunk);
  walker.flush();
  expect(walker.isWhole).toBe(true);
  return seen;
}

describe('the token walker', () => {
  const whole = walk([ANSWER]);

  it('gives every token whole, and nothing else', () => {
    expect(whole.map((token) => parseInt(token.slice(0, 2), 16))).toEqual([
      TOKEN.environmentChange,
      TOKEN.columnMetadata,
      TOKEN.row,
      TOKEN.nullBitmapRow,
      TOKEN.row,
      TOKEN.order,
      TOKEN.returnStatus,
      TOKEN.returnValue,
      TOKEN.error,
      TOKEN.featureExtAck,
      TOKEN.done,
    ]);
    expect(whole.join('')).toBe(ANSWER.toString('hex'));
  });

  it('gives the same wherever the answer is cut', () => {
    for (let at = 1; at < ANSWER.length; at++) {
      expect(walk([ANSWER.subarray(0, at), ANSWER.subarray(at)])).toEqual(whole);
    }
    expect(walk([...ANSWER].map((byte) => Buffer.from([byte])))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: ANSWER.length }), { maxLength: 20 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), ANSWER.length];
        const chunks = at.slice(1).map((end, i) => ANSWER.subarray(at[i], end));
        expect(walk(chunks)).toEqual(whole);
      }),
    );
  });

  it('takes a value of many packets', () => {
    const large = Buffer.concat([METADATA, row('y'.repeat(2_000_000)), doneToken(0)]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < large.length; at += 4_088) chunks.push(large.subarray(at, at + 4_088));
    expect(walk(chunks)).toEqual(walk([large]));
  });

  it('refuses what it does not know, instead of guessing where it ends', () => {
    expect(() => walk([Buffer.from([0x01])])).toThrow('unknown TDS token 0x1');
    expect(() => walk([Buffer.from([TOKEN.row])])).toThrow('without COLMETADATA');
    const unknown = Buffer.concat([Buffer.from([TOKEN.columnMetadata]), u16(1), column('a', [0xf3])]);
    expect(() => walk([unknown])).toThrow('unknown TDS type 0xf3');
  });

  it('begins anew with each answer', () => {
    const walker = new TokenWalker({ token: () => undefined });
    walker.push(ANSWER.subarray(0, 50));
    expect(walker.isWhole).toBe(false);
    walker.reset();
    expect(walker.isWhole).toBe(true);
    expect(() => {
      walker.push(NULL_ROW);
    }).toThrow('without COLMETADATA');
  });
});

describe('what of a row means something', () => {
  function canonical(one: Buffer): string {
    let found = '';
    const walker = new TokenWalker({
      token: (kind, bytes, start, end) => {
        if (kind !== TOKEN.columnMetadata) found = walker.shape!.canonical(bytes, start, end).toString('hex');
      },
    });
    walker.push(METADATA);
    walker.push(one);
    return found;
  }

  it('is the same whatever chunks it comes in, and whatever its text pointers are', () => {
    const one = row('a long value');
    expect(canonical(row('a long value', { chunkBytes: 4 }))).toBe(canonical(one));
    expect(canonical(row('a long value', { pointer: 0x11 }))).toBe(canonical(one));
  });

  it('is another one for another value, for NULL, and for nothing', () => {
    const seen = new Set([row('a'), row('b'), row(''), row(null), NULL_ROW].map(canonical));
    expect(seen.size).toBe(5);
  });
});

describe('reading tokens', () => {
  it('finds what was written', () => {
    const error = messageToken(TOKEN.error, MESSAGE_OF_SERVER);
    expect(readMessage(error, 0)).toEqual(MESSAGE_OF_SERVER);
    const done = doneToken(0x12, { command: 0xc3, rowCount: 5n });
    expect(readDone(done, 0)).toEqual({ status: 0x12, command: 0xc3, rowCount: 5n });
    expect(returnValueName(RETURN_VALUE, 0)).toBe('@handle');
  });
});
