import { describe, expect, it } from 'vitest';
import { TokenKeys, tokenMillis, tokenText } from '../../../src/session/token-key.ts';

const TIME = { serverMillis: 1_700_000_000_000, watermarkMillis: 0 };

function made(): { keys: TokenKeys; clock: { now: number }; draws: () => number } {
  const clock = { now: 5_000.25 };
  let draws = 0;
  let byte = 0;
  const keys = new TokenKeys({
    now: () => clock.now,
    fillRandom: (bytes) => {
      draws += 1;
      for (let index = 0; index < bytes.length; index += 1) bytes[index] = byte++ & 0xff;
    },
  });
  return { keys, clock, draws: () => draws };
}

describe('the keys of commit tokens', () => {
  it('are uuids of version 7 in both forms', () => {
    const keys = new TokenKeys();
    keys.observe({ serverMillis: Date.now(), watermarkMillis: 0 });
    const key = keys.next();
    expect(key).toHaveLength(16);
    expect(tokenText(key)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(tokenText(key).replaceAll('-', '')).toBe(key.toString('hex'));
  });

  it("have the server's time, carried on by a clock that never goes back", () => {
    const { keys, clock } = made();
    expect(keys.hasTime).toBe(false);
    expect(() => keys.next()).toThrow('no server has told its time yet');
    keys.observe(TIME);
    expect(tokenMillis(keys.next())).toBe(TIME.serverMillis);
    clock.now += 3_600_000;
    expect(tokenMillis(keys.next())).toBe(TIME.serverMillis + 3_600_000);
    expect(keys.lastMadeAt).toBe(clock.now);
  });

  it('are above the watermark, however far behind the clock is', () => {
    const { keys, clock } = made();
    const watermarkMillis = TIME.serverMillis + 3_600_000;
    keys.observe({ ...TIME, watermarkMillis });
    for (let count = 0; count < 10_000; count += 1)
      expect(tokenMillis(keys.next())).toBeGreaterThan(watermarkMillis);
    clock.now += 0.5;
    expect(tokenMillis(keys.next())).toBeGreaterThan(watermarkMillis);
  });

  it('grow, also within a millisecond, and are all different', () => {
    const keys = new TokenKeys();
    keys.observe({ serverMillis: Date.now(), watermarkMillis: 0 });
    const texts = Array.from({ length: 50_000 }, () => tokenText(keys.next()));
    expect([...texts].sort()).toEqual(texts);
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('wait for a clock that is a little behind, and follow one that is far behind', () => {
    const { keys } = made();
    keys.observe(TIME);
    const first = keys.next();
    keys.observe({ ...TIME, serverMillis: TIME.serverMillis - 900 });
    const second = keys.next();
    expect(tokenMillis(second)).toBe(TIME.serverMillis);
    expect(Buffer.compare(first, second)).toBe(-1);
    keys.observe({ ...TIME, serverMillis: TIME.serverMillis - 3_600_000 });
    expect(tokenMillis(keys.next())).toBe(TIME.serverMillis - 3_600_000);
  });

  it('draw randomness in blocks, and a new one with each time that is told', () => {
    const { keys, draws } = made();
    keys.observe(TIME);
    for (let count = 0; count < 512; count += 1) keys.next();
    expect(draws()).toBe(1);
    keys.next();
    expect(draws()).toBe(2);
    keys.observe(TIME);
    keys.next();
    expect(draws()).toBe(3);
  });
});
