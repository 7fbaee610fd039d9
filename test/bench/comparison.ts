import type { ClientBase } from 'pg';
import { median, percentile } from './statistics.ts';
import type { Workload } from './workloads.ts';

/** A driver with its own open connections. */
export interface Contestant {
  readonly clients: readonly ClientBase[];
}

interface Slice {
  readonly perSecond: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  /** CPU time of this process for one operation, in microseconds. */
  readonly cpuMicros: number;
}

/** holdfast's value divided by stock pg's, each the median over the rounds. */
export interface Comparison {
  readonly workload: string;
  readonly rounds: number;
  readonly throughput: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
  /** For orientation only: they depend on the machine and on what else runs on it. */
  readonly stock: Slice;
  readonly holdfast: Slice;
}

/**
 * Lets the two drivers work in turn, in short slices, and compares slice with neighbouring slice: what else happens on
 * the machine then hits both. The order changes from round to round.
 */
export async function compare(
  workload: Workload,
  stock: Contestant,
  holdfast: Contestant,
  { rounds, sliceMillis }: { rounds: number; sliceMillis: number },
): Promise<Comparison> {
  const stockSlices: Slice[] = [];
  const holdfastSlices: Slice[] = [];
  // Compiled code and warm caches for both, before anything counts.
  await runSlice(workload, stock, sliceMillis);
  await runSlice(workload, holdfast, sliceMillis);
  for (let round = 0; round < rounds; round++) {
    const stockFirst = round % 2 === 0;
    if (stockFirst) stockSlices.push(await runSlice(workload, stock, sliceMillis));
    holdfastSlices.push(await runSlice(workload, holdfast, sliceMillis));
    if (!stockFirst) stockSlices.push(await runSlice(workload, stock, sliceMillis));
  }
  const ratio = (of: (slice: Slice) => number): number =>
    median(holdfastSlices.map((slice, round) => of(slice) / of(stockSlices[round]!)));
  return {
    workload: workload.name,
    rounds,
    throughput: ratio((slice) => slice.perSecond),
    p50: ratio((slice) => slice.p50Millis),
    p99: ratio((slice) => slice.p99Millis),
    cpu: ratio((slice) => slice.cpuMicros),
    stock: middle(stockSlices),
    holdfast: middle(holdfastSlices),
  };
}

async function runSlice(workload: Workload, { clients }: Contestant, millis: number): Promise<Slice> {
  const latencies: number[] = [];
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  const end = start + millis;
  await Promise.all(
    clients.map(async (client) => {
      let before = performance.now();
      while (before < end) {
        await workload.run(client);
        const after = performance.now();
        latencies.push(after - before);
        before = after;
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    perSecond: latencies.length / seconds,
    p50Millis: percentile(latencies, 0.5),
    p99Millis: percentile(latencies, 0.99),
    cpuMicros: (cpu.user + cpu.system) / latencies.length,
  };
}

function middle(slices: readonly Slice[]): Slice {
  const of = (key: keyof Slice): number => median(slices.map((slice) => slice[key]));
  return {
    perSecond: of('perSecond'),
    p50Millis: of('p50Millis'),
    p99Millis: of('p99Millis'),
    cpuMicros: of('cpuMicros'),
  };
}
