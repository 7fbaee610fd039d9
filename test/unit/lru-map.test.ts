import { describe, expect, it } from 'vitest';
import { LruMap } from '../../src/lru-map.ts';

describe('a map with a limit', () => {
  it('forgets what was unused for longest', () => {
    const map = new LruMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.get('a');
    map.set('c', 3);
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([1, undefined, 3]);
    expect(map.size).toBe(2);
  });

  it('keeps below its weight', () => {
    const map = new LruMap<string, number>(10, 100);
    map.set('a', 1, 60);
    map.set('b', 2, 30);
    map.set('a', 3, 80);
    expect([map.get('a'), map.get('b')]).toEqual([3, undefined]);
    map.set('c', 4, 101);
    expect(map.size).toBe(0);
  });
});
