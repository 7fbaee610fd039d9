import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type * as Parser from '../../../../src/pg/sql/parser.ts';

// A copy of its own for each test: the grammar is loaded once a module.
let parser: typeof Parser;

beforeEach(async () => {
  vi.resetModules();
  parser = await import('../../../../src/pg/sql/parser.ts');
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

it('is loaded only a moment later, so that nobody who connects has to wait for it', async () => {
  parser.loadParserSoon();
  parser.loadParserSoon();
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(249);
  await new Promise((resolve) => setImmediate(resolve));
  expect(parser.parserReady()).toBe(false);
  vi.advanceTimersByTime(1);
  await vi.waitUntil(() => parser.parserReady(), { timeout: 20_000 });
  parser.loadParserSoon();
  expect(vi.getTimerCount()).toBe(0);
});

it('is loaded at once for who needs it', async () => {
  parser.loadParserSoon();
  await parser.loadParser();
  expect(parser.parserReady()).toBe(true);
  expect(parser.parse('SELECT 1').kind).toBe('parsed');
});
