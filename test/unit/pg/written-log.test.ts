import { describe, expect, it } from 'vitest';
import { formatLsn } from '../../../src/pg/lsn.ts';
import { readWrittenLog } from '../../../src/pg/written-log.ts';

const read = (inserted: string): string | null => {
  const written = readWrittenLog([inserted, '0/1000', '8192', '1048576']);
  return written === null ? null : formatLsn(written.end);
};

describe('where the last record of a log ends', () => {
  it.each([
    ['in the middle of a page', '0/1600C8', '0/1600C8'],
    ['at the end of a page', '0/160000', '0/160000'],
    ['behind the header of an empty page', '0/162018', '0/162000'],
    ['behind the header of an empty segment', '0/1600028', '0/1600000'],
    ['as deep in a page as the header of a segment is long', '0/162028', '0/162028'],
    ['as deep in a segment as the header of a page is long: never', '0/1600018', '0/1600018'],
  ])('%s', (_, inserted, end) => {
    expect(read(inserted)).toBe(end);
  });

  it('is not known of a server in recovery', () => {
    expect(readWrittenLog([])).toBeNull();
  });
});
