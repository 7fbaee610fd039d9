import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../../src/session/arena.ts';

const bytes = (length: number, from = 0): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (from + i) & 255));

describe('a position in the arena', () => {
  it('stays valid while the memory behind it is replaced', () => {
    const arena = new Arena(8);
    arena.append(bytes(5), 0, 5, 0);
    arena.append(bytes(100, 5), 0, 100, 0);
    expect(arena.end).toBe(105);
    expect(arena.view(3, 90)).toEqual(bytes(87, 3));
  });

  it('only grows, over any number of clearings', () => {
    const arena = new Arena(8);
    let end = 0;
    for (let i = 0; i < 50; i++) {
      arena.append(bytes(7, i), 0, 7, end);
      end += 7;
      expect(arena.end).toBe(end);
      expect(arena.view(end - 7, end)).toEqual(bytes(7, i));
      arena.clear(i % 2 === 0);
      expect(arena.end).toBe(end);
    }
  });

  it('takes a part of what it is given', () => {
    const arena = new Arena();
    arena.append(bytes(100), 40, 60, 0);
    expect(arena.view(0, 20)).toEqual(bytes(20, 40));
  });
});

describe('memory that a socket may still hold', () => {
  it('is not written to again after a growth (T15)', () => {
    const arena = new Arena(8);
    arena.append(bytes(8), 0, 8, 0);
    const held = arena.view(0, 8);
    arena.append(bytes(8, 100), 0, 8, 8);
    arena.append(bytes(20, 50), 0, 20, 16);
    expect(held).toEqual(bytes(8));
  });

  it('is not written to again after a clearing', () => {
    const arena = new Arena(64);
    arena.append(bytes(8), 0, 8, 0);
    const held = arena.view(0, 8);
    arena.clear(true);
    arena.append(bytes(8, 100), 0, 8, 8);
    expect(held).toEqual(bytes(8));
    expect(arena.view(8, 16)).toEqual(bytes(8, 100));
  });
});

describe('the size of the arena', () => {
  it('follows what is live, not what went through', () => {
    const arena = new Arena(64);
    for (let end = 0; end < 100_000; end += 10) arena.append(bytes(10), 0, 10, end);
    expect(arena.capacity).toBeLessThanOrEqual(4096);
  });

  it('is given back when a large transaction is over', () => {
    const arena = new Arena();
    arena.append(bytes(200_000), 0, 200_000, 0);
    expect(arena.capacity).toBeGreaterThanOrEqual(200_000);
    arena.clear(false);
    expect(arena.capacity).toBe(4096);
  });
});

describe('any series of appends, drops and clearings', () => {
  it('keeps what is live, and leaves alone what is held', () => {
    const steps = fc.array(
      fc.record({ length: fc.nat(50), keep: fc.nat(3), clear: fc.nat(9), hold: fc.boolean() }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (list) => {
        const arena = new Arena(16);
        const everything: number[] = [];
        let keepFrom = 0;
        const held: { readonly view: Buffer; readonly copy: Buffer }[] = [];
        for (const { length, keep, clear, hold } of list) {
          if (clear === 0) {
            arena.clear(true);
            keepFrom = arena.end;
          }
          const chunk = bytes(length, everything.length * 7);
          // What is dropped lies in front of what is kept, and that only grows.
          if (keep === 0) keepFrom = arena.end;
          arena.append(chunk, 0, length, keepFrom);
          everything.push(...chunk);
          const live = Buffer.from(everything.slice(keepFrom));
          expect(arena.view(keepFrom, arena.end).equals(live)).toBe(true);
          if (hold) held.push({ view: arena.view(keepFrom, arena.end), copy: live });
        }
        for (const { view, copy } of held) expect(view.equals(copy)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
