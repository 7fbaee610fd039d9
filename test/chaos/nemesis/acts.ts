import { setTimeout as sleep } from 'node:timers/promises';
import type { FailoverEvents } from '../../../src/events.ts';
import type { FailoverLab } from '../../support/failover-lab.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';
import type { Nemesis } from '../../support/torture/nemesis.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { Replication } from '../options.ts';
import { cutBehindWrites, holdAnswersToWrites } from './autocommit-writes.ts';
import { cutAtBytes } from './byte-cuts.ts';

/** What an act has to work with. */
export interface Stage {
  readonly lab: FailoverLab;
  readonly nemesis: Nemesis;
  readonly random: SeededRandom;
  readonly replication: Replication;
  /** The driver's own, so that a blow can fall in the middle of its recovery. */
  readonly driver: FailoverEvents;
}

/** Does something to the cluster, and leaves it with a primary and two standbys. */
export type Act = (stage: Stage) => Promise<void>;

/** When the driver takes a silent host for lost is about a second. */
const LONG_FREEZE_MILLIS = 2_500;
/** Not each event comes in each recovery. */
const LONGEST_RECOVERY_MILLIS = 2_000;

export const ACTS = {
  /** kill -9 of every process; replication stands still before, if it is asynchronous: then acknowledged work is lost. */
  async kill({ nemesis, random, replication }) {
    const frozenMillis = replication === 'asynchronous' || random.chance(0.3) ? random.integer(1, 150) : 0;
    // A synchronous server whose standbys get nothing has no answers that could be held back.
    const hasAnswers = replication === 'asynchronous' || frozenMillis === 0;
    await nemesis.killAndPromote({ frozenMillis, holdAnswers: random.chance(0.3) && hasAnswers });
  },

  async killWithoutFreeze({ nemesis, random }) {
    await nemesis.killAndPromote({ holdAnswers: random.chance(0.5), postmasterOnly: random.chance(0.5) });
  },

  async immediateStop(stage) {
    await stopAndPromote(stage, 'immediate');
  },

  async cleanStop(stage) {
    await stopAndPromote(stage, 'fast');
  },

  async restart({ lab, nemesis, random }) {
    const node = lab.primary;
    const mode = random.pick(['fast', 'immediate'] as const);
    await nemesis.blow(
      `restart ${node.name} (${mode})`,
      async () => {
        await node.stop(mode);
        await sleep(random.integer(0, 300));
        await node.start();
      },
      1,
      0,
    );
  },

  async crashInPlace({ nemesis, random }) {
    await nemesis.crashInPlace(random.integer(1, 2));
  },

  /** The server throws out all sessions and recovers by itself. */
  async killBackend({ lab, nemesis }) {
    const node = lab.primary;
    await nemesis.blow(
      `kill one backend of ${node.name}`,
      async () => {
        const { rows } = await node.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY state = 'active' DESC LIMIT 1`,
        );
        if (rows[0] === undefined) return;
        node.killBackend(rows[0].pid);
        await waitFor(async () => (await node.query('SELECT 1')).rowCount === 1, {
          timeoutMillis: 30_000,
          message: `${node.name} to recover`,
        });
      },
      1,
      0,
    );
  },

  /** SIGSTOP: connections stay open and say nothing. Nobody is promoted. */
  async freeze({ lab, nemesis, random }) {
    const node = lab.primary;
    const millis = random.pick([random.integer(50, 500), LONG_FREEZE_MILLIS]);
    await nemesis.blow(
      `freeze ${node.name} for ${millis} ms`,
      async () => {
        node.freeze();
        await sleep(millis);
        node.thaw();
      },
      0,
    );
  },

  /** The frozen server comes back to life when another one has taken its place. */
  async freezeAndPromote(stage) {
    const { lab, nemesis, random } = stage;
    const old = lab.primary;
    await nemesis.blow(`freeze ${old.name}, promote, thaw`, async (tookOver) => {
      old.freeze();
      await sleep(random.integer(0, 200));
      const next = await lab.cluster.failover();
      await nemesis.useXidsAgain(next);
      await sleep(random.integer(0, 1_500));
      old.thaw();
      await endZombie(stage, old);
      await nemesis.untilMovedOn(tookOver);
    });
    await lab.cluster.rejoin(old);
  },

  /** The network is gone, in both directions or in one; the old primary works on, alone. */
  async partition(stage) {
    const { lab, nemesis, random } = stage;
    const old = lab.primary;
    const proxy = lab.proxyOf(old);
    const direction = random.pick(['both', 'to-server', 'to-client'] as const);
    await nemesis.blow(`cut ${old.name} off (${direction}), promote, heal`, async (tookOver) => {
      proxy.blackhole(direction);
      await sleep(random.integer(0, 200));
      const next = await lab.cluster.failover();
      await nemesis.useXidsAgain(next);
      await sleep(random.integer(0, 1_500));
      await proxy.pass();
      await endZombie(stage, old);
      await nemesis.untilMovedOn(tookOver);
    });
    await lab.cluster.rejoin(old);
  },

  async promoteTwice({ nemesis }) {
    await nemesis.promoteTwice();
  },

  /** A → B → C: the second server dies while the driver resolves and replays on it. */
  async killDuringRecovery({ lab, nemesis, random, driver, replication }) {
    const first = lab.primary;
    const event = random.pick(['replayStarted', 'commitResolved', 'hostChanged', 'replaySucceeded'] as const);
    await nemesis.blow(
      `kill ${first.name}, and its successor at ${event}`,
      async (tookOver) => {
        if (replication === 'asynchronous' && random.chance(0.5)) {
          await first.freezeWalSender();
          await sleep(random.integer(1, 100));
        }
        const happened = once(driver, event);
        await first.kill();
        const second = await lab.cluster.failover();
        await Promise.race([happened, sleep(LONGEST_RECOVERY_MILLIS)]);
        await second.kill();
        await lab.cluster.failover();
        await nemesis.untilMovedOn(tookOver);
      },
      2,
    );
    await rejoinAll(lab);
  },

  async crashThePromoted({ nemesis }) {
    await nemesis.crashThePromoted();
  },

  /** The server goes on; single connections end at a byte of their exchange. */
  async cutAtBytes({ lab, nemesis, random }) {
    const count = random.integer(10, 30);
    await nemesis.blow(
      `end ${count} connections at chosen bytes`,
      async () => {
        await cutAtBytes(lab.proxy, count, random);
      },
      0,
    );
  },

  /** Writes outside of a transaction are committed, and their answers do not arrive; the server goes on. */
  async cutBehindWrites({ lab, nemesis, random }) {
    const count = random.integer(10, 20);
    await nemesis.blow(
      `end ${count} connections between the commit of a write and its answer`,
      async () => {
        await cutBehindWrites(lab.proxy, count, random);
      },
      0,
    );
  },

  /** The same, and the server dies: what the standby has of these writes must not be run again, what it lacks must. */
  async killBehindWrites({ lab, nemesis, random, replication }) {
    const old = lab.primary;
    const isReplicated = replication === 'synchronous' || random.chance(0.7);
    await nemesis.blow(
      `kill ${old.name} behind writes that are ${isReplicated ? '' : 'not '}replicated`,
      async (tookOver) => {
        if (!isReplicated) await old.freezeWalSender();
        await holdAnswersToWrites(lab.proxy, 3);
        if (isReplicated) await lab.cluster.waitForReplay();
        await old.kill();
        const next = await lab.cluster.failover();
        tookOver();
        await nemesis.useXidsAgain(next);
        await nemesis.untilMovedOn(tookOver);
        await lab.proxyOf(old).reset();
      },
    );
    await lab.cluster.rejoin(old);
  },

  /** Many connections at once, in one of the ways in which they end; or first at one side, and later at the other. */
  async cutConnections({ lab, nemesis, random }) {
    const way = random.pick(['cut', 'fin', 'cutClientSideOnly', 'cutServerSideOnly'] as const);
    await nemesis.blow(
      `${way} connections`,
      async () => {
        const chosen = lab.proxy.connections.filter(() => random.chance(0.6));
        for (const connection of chosen) connection[way]();
        await sleep(random.integer(0, 300));
        for (const connection of chosen) connection.cut();
      },
      0,
    );
  },

  /** COMMITs wait for a synchronous standby, and nobody may end those backends (A5). */
  async cutCommitsThatWait({ nemesis, random, replication }) {
    if (replication === 'asynchronous') await nemesis.cutCommits(random.integer(10, 20));
    else await nemesis.cutCommitsThatWait({ thenKill: random.chance(0.5) });
  },
} as const satisfies Readonly<Record<string, Act>>;

async function stopAndPromote({ lab, nemesis }: Stage, mode: 'fast' | 'immediate'): Promise<void> {
  const old = lab.primary;
  await nemesis.blow(`stop ${old.name} (${mode})`, async (tookOver) => {
    await old.stop(mode);
    const next = await lab.cluster.failover();
    tookOver();
    await nemesis.useXidsAgain(next);
    await nemesis.untilMovedOn(tookOver);
  });
  await lab.cluster.rejoin(old);
}

/**
 * The driver does not ask a silent server whether it is still the primary. Who is connected to it stays there until it
 * ends, and is lost with it where replication is asynchronous; with synchronous replication it can acknowledge nothing.
 * Once the driver has gone to the next one, nothing of the old one is believed any more (R12).
 */
async function endZombie({ random }: Stage, old: PostgresNode): Promise<void> {
  await sleep(random.integer(0, 300));
  await old.kill();
}

async function rejoinAll(lab: FailoverLab): Promise<void> {
  const isGone = (node: PostgresNode): boolean => node !== lab.primary && !node.isRunning;
  for (const node of lab.cluster.nodes.filter(isGone)) await lab.cluster.rejoin(node);
}

async function once(driver: FailoverEvents, event: Parameters<FailoverEvents['once']>[0]): Promise<void> {
  await new Promise<void>((resolve) => {
    driver.once(event, () => {
      resolve();
    });
  });
}
