import { describe, expect, it } from 'vitest';
import { acknowledgeSettings } from '../../../../src/pg/sql/acknowledge-setting.ts';

describe('acknowledgeSettings', () => {
  it.each([
    [`SET LOCAL holdfast.acknowledge = 'replicated'`, ['replicated']],
    [`set /* x */ local HoldFast.Acknowledge to Replicated;`, ['replicated']],
    [`SET LOCAL "holdfast"."acknowledge" TO 'local'`, ['local']],
    [`SET LOCAL "holdfast.acknowledge" = local`, ['local']],
    [`SET LOCAL holdfast.acknowledge TO DEFAULT`, ['default']],
    [`SET LOCAL holdfast.acknowledge = 'replicatd'`, ['replicated']],
    [
      `BEGIN; SET LOCAL holdfast.acknowledge = 'local'; SELECT 1; SET LOCAL holdfast.acknowledge = replicated`,
      ['local', 'replicated'],
    ],
  ])('reads %s', (text, settings) => {
    expect(acknowledgeSettings(text)).toEqual(settings);
  });

  it.each([
    `SET holdfast.acknowledge = 'replicated'`,
    `SET SESSION holdfast.acknowledge = 'replicated'`,
    `SELECT 'SET LOCAL holdfast.acknowledge = replicated'`,
    `SELECT '; SET LOCAL holdfast.acknowledge = replicated'`,
    `-- SET LOCAL holdfast.acknowledge = 'replicated'`,
    `SET LOCAL other.acknowledge = 'replicated'`,
    `SET LOCAL holdfast.acknowledge`,
  ])('finds nothing in %s', (text) => {
    expect(acknowledgeSettings(text)).toEqual([]);
  });
});
