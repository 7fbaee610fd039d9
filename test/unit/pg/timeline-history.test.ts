import { describe, expect, it } from 'vitest';
import { parseTimelineHistory, timelineHistoryPath } from '../../../src/pg/timeline-history.ts';

describe('a timeline history file', () => {
  it('says where each older timeline was left', () => {
    const text = '1\t0/266C6F8\tno recovery target specified\n\n2\t0/266CFD0\tno recovery target specified\n';
    expect(parseTimelineHistory(text)).toEqual(
      new Map([
        [1, 0x266c6f8n],
        [2, 0x266cfd0n],
      ]),
    );
  });

  it('may hold comments and need not give reasons', () => {
    expect(parseTimelineHistory('# by hand\n 7 A/0')).toEqual(new Map([[7, 0xa_0000_0000n]]));
  });

  it('is nothing else', () => {
    expect(parseTimelineHistory('')).toBeNull();
    expect(parseTimelineHistory('1\t0/266C6F8\n<html>')).toBeNull();
  });

  it('has the timeline in its name', () => {
    expect(timelineHistoryPath(3)).toBe('pg_wal/00000003.history');
    expect(timelineHistoryPath(0xabc)).toBe('pg_wal/00000ABC.history');
  });
});
