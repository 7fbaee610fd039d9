import { describe, expect, it } from 'vitest';
import { commitMark, parseMark, tryMark } from '../../../src/pg/commit-mark.ts';
import type { ProbeResult } from '../../../src/pg/probe.ts';
import { refusal, ScriptedRunner } from './scripted-runner.ts';

const found = { xid: '739', lsn: 0x266e018n };
const probe = {
  inRecovery: false,
  systemIdentifier: '77',
  timeline: 1,
  incarnation: '77/1/x/none',
} as ProbeResult;

describe('the mark of a transaction', () => {
  it('is its xid and a position', () => {
    expect(parseMark(['739', '0/266E018'])).toEqual(found);
  });

  it('does not exist without an xid', () => {
    expect(parseMark([null, null])).toBeNull();
    expect(parseMark([])).toBeNull();
  });

  it('carries the life of the server that it was taken in', () => {
    expect(commitMark(found, probe)).toEqual({
      ...found,
      systemIdentifier: '77',
      timeline: 1,
      incarnation: '77/1/x/none',
    });
  });

  it.each([
    ['was a standby when it was probed', { inRecovery: true }],
    ['hides its identifier', { systemIdentifier: null }],
    ['hides its timeline', { timeline: null }],
    ['hides its start', { incarnation: null }],
  ])('is worth nothing if the server %s', (_what, change) => {
    expect(commitMark(found, { ...probe, ...change })).toBeNull();
  });

  it('is tried before it is used', async () => {
    expect(await tryMark(new ScriptedRunner(() => [[null, '0/1']]))).toBe(true);
    expect(await tryMark(new ScriptedRunner(() => refusal('XX000')))).toBe(false);
    await expect(tryMark(new ScriptedRunner(() => new Error('lost')))).rejects.toThrow('lost');
  });
});
