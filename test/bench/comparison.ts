import type { ClientBase } from 'pg';
import { median, percentile } from './statistics.ts';
import type { Workload } from './workloads.ts';

/** A driver, or a mode of it, with its own open connections. */
export interface Contestant<Client = ClientBase> {
  readonly name: string;
  readonly clients: readonly Client[];
}

interface Slice {
  readonly perSecond: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  /** CPU time of this process for one operation, in microseconds. */
  readonly cpuMicros: number;
}

/** What one contestant came to beside the first one, each value the median over the rounds. */
export interface Standing {
  readonly name: string;
  /** Its values divided by those of the first contestant in the same round. */
  readonly throughput: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
  /** The middle half of the rounds' throughputs, divided likewise: how much they scatter. */
  readonly spread: readonly [number, number];
  /** For orientation only: it depends on the machine and on what else runs on it. */
  readonly itself: Slice;
}

export interface Comparison {
  readonly workload: string;
  readonly rounds: number;
  /** The first is what the others are compared with. */
  readonly standings: readonly Standing[];
}

/**
 * Lets the contestants work in turn, in short slices, and compares slice with neighbouring slice: what else happens on
 * the machine then hits all of them. Each round begins with another one.
 */
export async function compare<Client = ClientBase>(
  workload: Workload<Client>,
  contestants: readonly Contestant<Client>[],
  { rounds, sliceMillis }: { rounds: number; sliceMillis: number },
): Promise<Comparison> {
  const slices = contestants.map((): Slice[] => []);
  // Compiled code and warm caches for all, before anything counts.
  for (const contestant of contestants) await runSlice(workload, contestant, sliceMillis);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const at = (round + turn) % contestants.length;
      slices[at]!.push(await runSlice(workload, contestants[at]!, sliceMillis));
    }
  }
  const [first] = slices;
  const standings = contestants.map(({ name }, at): Standing => {
    const ratios = (key: keyof Slice): number[] =>
      slices[at]!.map((slice, round) => slice[key] / first![round]![key]);
    const throughputs = ratios('perSecond');
    return {
      name,
      throughput: median(throughputs),
      p50: median(ratios('p50Millis')),
      p99: median(ratios('p99Millis')),
      cpu: median(ratios('cpuMicros')),
      spread: [percentile(throughputs, 0.25), percentile(throughputs, 0.75)],
      itself: middle(slices[at]!),
    };
  });
  return { workload: workload.name, rounds, standings };
}

async function runSlice<Client>(
  workload: Workload<Client>,
  { clients }: Contestant<Client>,
  millis: number,
): Promise<Slice> {
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
