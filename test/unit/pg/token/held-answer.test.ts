import fc from 'fast-check';
import { expect, it } from 'vitest';
import { HeldAnswer } from '../../../../src/pg/token/held-answer.ts';

it('gives back every byte in order, however the messages lay in memory', () => {
  const cuts = fc.array(fc.record({ chunk: fc.nat(3), skip: fc.nat(2), length: fc.nat(5) }), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(cuts, (pieces) => {
      const chunks = Array.from({ length: 4 }, (_, n) =>
        Buffer.from(Array.from({ length: 200 }, (_byte, i) => (n * 61 + i) % 251)),
      );
      const at = [0, 0, 0, 0];
      const held = new HeldAnswer();
      const expected: Buffer[] = [];
      for (const { chunk, skip, length } of pieces) {
        const start = at[chunk]! + skip;
        at[chunk] = start + length;
        held.push(chunks[chunk]!, start, start + length);
        expected.push(chunks[chunk]!.subarray(start, start + length));
      }
      const all = Buffer.concat(expected);
      expect(held.length).toBe(all.length);
      expect(held.take()).toEqual(all);
    }),
  );
});
