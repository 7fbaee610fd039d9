import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresCluster } from '../../test/support/postgres-cluster.ts';
import type { DemoOptions } from './options.ts';
import { seededRandom } from './random.ts';

export interface RoundListener {
  roundBegan(round: number): void;
  primaryDies(name: string): void;
  /** The primary was killed, and `next` has taken over. */
  failedOver(next: string, durationMillis: number): void;
  roundEnded(): void;
  say(text: string): void;
}

const CALM_MILLIS = 800;
const JITTER_MILLIS = 600;
/** With `--async`: how far behind the standbys are when the primary dies. */
const LAG_MILLIS = 25;

/** Kills the primary, promotes a standby, lets the other follow it and takes the old primary back, again and again. */
export async function runRounds(
  cluster: PostgresCluster,
  { rounds, seed, synchronous }: DemoOptions,
  listener: RoundListener,
  signal: AbortSignal,
): Promise<void> {
  const random = seededRandom(seed);
  const calm = async (): Promise<void> => {
    await sleep(CALM_MILLIS + random() * JITTER_MILLIS, undefined, { signal });
  };
  for (let round = 1; round <= rounds; round++) {
    listener.roundBegan(round);
    await calm();
    const old = cluster.primary;
    if (!synchronous) {
      await old.freezeWalSender();
      await sleep(LAG_MILLIS, undefined, { signal });
    }
    listener.primaryDies(old.name);
    const begun = performance.now();
    await old.kill();
    const next = await cluster.failover();
    listener.failedOver(next.name, performance.now() - begun);
    await calm();
    await cluster.rejoin(old);
    listener.say(`${old.name} is back, as a standby of ${next.name}`);
    await calm();
    listener.roundEnded();
  }
}
