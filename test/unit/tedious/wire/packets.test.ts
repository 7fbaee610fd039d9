import { describe, expect, it } from 'vitest';
import { MESSAGE, STATUS } from '../../../../src/tedious/wire/message-type.ts';
import { PacketReader } from '../../../../src/tedious/wire/packet-reader.ts';
import { emptyPacket, writePackets } from '../../../../src/tedious/wire/write-packets.ts';

interface Seen {
  readonly type: number;
  readonly status: number;
  readonly data: string;
}

function read(chunks: readonly Buffer[]): Seen[] {
  const seen: Seen[] = [];
  const reader = new PacketReader(({ type, status, data }) => {
    seen.push({ type, status, data: data.toString('hex') });
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

describe('packets', () => {
  const payload = Buffer.from(Array.from({ length: 30 }, (_, i) => i));
  const bytes = writePackets(MESSAGE.rpc, payload, 20, { firstPacketStatus: STATUS.resetConnection });

  it('cut a message to size, and only the last one ends it', () => {
    const seen = read([bytes]);
    expect(seen.map(({ data }) => data.length / 2)).toEqual([12, 12, 6]);
    expect(seen.map(({ status }) => status & STATUS.endOfMessage)).toEqual([0, 0, 1]);
    expect(seen.map(({ data }) => data).join('')).toBe(payload.toString('hex'));
    expect(seen.every(({ type }) => type === MESSAGE.rpc)).toBe(true);
  });

  it('are the same wherever the network cuts', () => {
    const whole = read([bytes]);
    for (let at = 1; at < bytes.length; at++) {
      expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(whole);
    }
    expect(read([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole);
  });

  it('may be empty: the last of a message, or one that only shows that something is coming', () => {
    expect(read([writePackets(MESSAGE.attention, Buffer.alloc(0), 512)])).toEqual([
      { type: MESSAGE.attention, status: STATUS.endOfMessage, data: '' },
    ]);
    expect(read([emptyPacket(MESSAGE.answer)])).toEqual([{ type: MESSAGE.answer, status: 0, data: '' }]);
  });

  it('that say that they are shorter than their header are refused', () => {
    expect(() => read([Buffer.from([4, 1, 0, 7, 0, 0, 0, 0])])).toThrow('7 bytes');
  });
});
