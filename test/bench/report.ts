import type { Comparison } from './comparison.ts';
import type { FailoverTime } from './failover-time.ts';

/** One table of ratios; below 1 is less than the first contestant of the workload. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.flatMap(({ workload, rounds, standings: [first, ...others] }) =>
    others.map((one) => [
      workload,
      `${one.name} / ${first!.name}`,
      one.throughput.toFixed(3),
      one.spread.map((value) => value.toFixed(2)).join('-'),
      one.p50.toFixed(3),
      one.p99.toFixed(3),
      one.cpu.toFixed(3),
      first!.itself.perSecond.toFixed(0),
      one.itself.perSecond.toFixed(0),
      String(rounds),
    ]),
  );
  return table(
    ['workload', 'compared', 'throughput', 'spread', 'p50', 'p99', 'cpu', 'base/s', 'its/s', 'rounds'],
    rows,
  );
}

export function failoverTable(times: readonly FailoverTime[]): string {
  const rows = times.map((one) => [
    one.variant,
    one.medianMillis.toFixed(1),
    one.maxMillis.toFixed(1),
    String(one.cuts),
  ]);
  return table(['open transaction goes on', 'median ms', 'max ms', 'cuts'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ');
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}
