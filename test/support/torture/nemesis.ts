import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresCluster } from '../postgres-cluster.ts';
import type { PostgresNode } from '../postgres-node.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { ProxyConnection, TcpProxy, Verdict } from '../tcp-proxy.ts';
import { waitFor } from '../wait-for.ts';
import { everyOther } from './every-other.ts';

/** One blow, for the audit: what the old server alone has acknowledged may be gone. Times by performance.now(). */
export interface Blow {
  readonly name: string;
  readonly begunAt: number;
  /** The server that serves from now on took writes. */
  readonly overAt: number;
  /** Servers that were lost. */
  readonly failovers: number;
  /** Of these, those that were replaced by another one: only with them something can be gone. */
  readonly promotions: number;
}

export interface PromotionOptions {
  /** Replication stands still for so long before the kill: what commits meanwhile is lost. Default 0. */
  readonly frozenMillis?: number;
  /** The answers to some COMMITs are held back until all is over: they must not be believed then (R12). Default false. */
  readonly holdAnswers?: boolean;
  /** The backends live on without their postmaster, until a standby has been promoted. Default false. */
  readonly postmasterOnly?: boolean;
}

/** More than any number of transactions that can be in flight at a kill, so that each of their ids is used again. */
const REUSED_XIDS = 120;
const SYNC_WAITERS = `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'app'`;

/** Does to a cluster under load what befalls clusters. Each act ends with everybody back in place. */
export class Nemesis {
  readonly blows: Blow[] = [];
  readonly #cluster: PostgresCluster;
  readonly #random: SeededRandom;
  readonly #proxyOf: (node: PostgresNode) => TcpProxy | undefined;
  readonly #movedOn: (() => Promise<void>) | undefined;

  /**
   * @param movedOn - waits until the application uses the new primary. Until then it may believe what the old one had said;
   *   without it nothing that is told after a promotion counts as lost with the old one.
   */
  constructor(
    cluster: PostgresCluster,
    random: SeededRandom,
    proxyOf: (node: PostgresNode) => TcpProxy | undefined = () => undefined,
    movedOn?: () => Promise<void>,
  ) {
    this.#cluster = cluster;
    this.#random = random;
    this.#proxyOf = proxyOf;
    this.#movedOn = movedOn;
  }

  get failovers(): number {
    return this.blows.reduce((sum, blow) => sum + blow.failovers, 0);
  }

  get log(): string {
    return this.blows
      .map(({ name, begunAt, overAt }) => `${name} from ${begunAt.toFixed(0)} to ${overAt.toFixed(0)}`)
      .join('\n');
  }

  /** The primary dies, a standby is promoted, and the xids in flight are used again there. */
  async killAndPromote(options: PromotionOptions = {}): Promise<void> {
    const { frozenMillis = 0, holdAnswers = false, postmasterOnly = false } = options;
    const old = this.#cluster.primary;
    await this.blow(`kill ${old.name} ${JSON.stringify(options)}`, async (tookOver) => {
      if (frozenMillis > 0) {
        await old.freezeWalSender();
        await sleep(frozenMillis);
      }
      if (holdAnswers) await this.#holdAnswers(old);
      const letIn = await this.#mayShutOut(this.#cluster.standbys);
      if (postmasterOnly) await old.killPostmasterOnly();
      else await old.kill();
      const next = await this.#cluster.failover();
      tookOver();
      await this.useXidsAgain(next);
      await letIn();
      await this.untilMovedOn(tookOver);
      if (holdAnswers) await this.#proxyOf(old)!.reset();
    });
    await old.killOrphans();
    await this.#cluster.rejoin(old);
  }

  /** A → B → C, where the sessions may never have seen B (break i: a switch point of B to C is not that of A to B). */
  async promoteTwice(): Promise<void> {
    const first = this.#cluster.primary;
    await this.blow(
      `kill ${first.name} and its successor`,
      async (tookOver) => {
        await this.#mayLeaveInDoubt(first);
        const letIn = await this.#mayShutOut(this.#cluster.standbys);
        await first.kill();
        const second = await this.#cluster.failover();
        await this.useXidsAgain(second, { replicated: true });
        await second.kill();
        const third = await this.#cluster.failover();
        tookOver();
        await this.useXidsAgain(third);
        await letIn();
        await this.untilMovedOn(tookOver);
        await this.#proxyOf(first)!.reset();
      },
      2,
    );
    for (const node of this.#cluster.nodes) {
      if (node !== this.#cluster.primary && !node.isRunning) await this.#cluster.rejoin(node);
    }
  }

  /** The same data directory recovers; `times` in a row, which looks to everybody like once (A4). */
  async crashInPlace(times: number): Promise<void> {
    const node = this.#cluster.primary;
    await this.blow(
      `crash ${node.name} ${times} times`,
      async (tookOver) => {
        if (this.#random.chance(0.7)) await this.#holdAnswers(node);
        const letIn = await this.#mayShutOut([node]);
        for (let time = 0; time < times; time++) {
          await node.kill();
          this.#holdNoMoreAnswers(node);
          await node.start();
          tookOver();
          await this.useXidsAgain(node);
        }
        await letIn();
        await this.#proxyOf(node)!.reset();
      },
      times,
      0,
    );
  }

  /** The promoted server crashes and recovers: its switch point is gone (break j). */
  async crashThePromoted(): Promise<void> {
    const old = this.#cluster.primary;
    await this.blow(
      `kill ${old.name} and crash its successor`,
      async (tookOver) => {
        await this.#mayLeaveInDoubt(old);
        const letIn = await this.#mayShutOut(this.#cluster.standbys);
        await old.kill();
        const next = await this.#cluster.failover();
        await this.useXidsAgain(next);
        await next.kill();
        await next.start();
        tookOver();
        await this.useXidsAgain(next);
        await letIn();
        await this.untilMovedOn(tookOver);
        await this.#proxyOf(old)!.reset();
      },
      2,
      1,
    );
    await this.#cluster.rejoin(old);
  }

  /** Cuts single connections around their COMMIT, in all ways, while the server goes on. */
  async cutCommits(count: number): Promise<void> {
    const { primary } = this.#cluster;
    const proxy = this.#proxyOf(primary)!;
    let left = count;
    await this.blow(
      `cut ${count} connections at their COMMIT`,
      async () => {
        const cut = (
          body: Buffer,
          connection: ProxyConnection,
          ways: readonly CutName[],
        ): Verdict | undefined => {
          if (left === 0 || !body.includes('COMMIT') || !this.#random.chance(0.3)) return undefined;
          left--;
          return CUTS[this.#random.pick(ways)](connection);
        };
        proxy.onFrontendMessage = (type, body, connection) =>
          type === 'Q' ? cut(body, connection, ['before', 'after', 'fin', 'unnoticed']) : undefined;
        proxy.onBackendMessage = (type, body, connection) =>
          type === 'C' ? cut(body, connection, ['before', 'after', 'fin']) : undefined;
        await waitFor(() => left === 0, { timeoutMillis: 60_000, message: `${count} COMMITs to cut` });
        await proxy.reset();
      },
      0,
    );
  }

  /**
   * Commits wait for their synchronous standbys, which stand still, when the connections are cut: nobody may end those
   * backends (A5). Then the standbys go on, or the server dies with all that was waiting.
   */
  async cutCommitsThatWait({ thenKill }: { readonly thenKill: boolean }): Promise<void> {
    const old = this.#cluster.primary;
    const proxy = this.#proxyOf(old)!;
    await this.blow(
      `cut connections in SyncRep wait${thenKill ? `, then kill ${old.name}` : ''}`,
      async (tookOver) => {
        await old.freezeWalSender();
        await waitFor(async () => (await old.query(SYNC_WAITERS)).rowCount! >= 3, {
          timeoutMillis: 60_000,
          message: 'three commits to wait for their standbys',
        });
        for (const connection of proxy.connections) {
          if (this.#random.chance(0.5)) connection.cut();
          else if (this.#random.chance(0.5)) connection.cutClientSideOnly();
        }
        await sleep(this.#random.integer(0, 150));
        if (thenKill) {
          await old.kill();
          const next = await this.#cluster.failover();
          tookOver();
          await this.useXidsAgain(next);
          await this.untilMovedOn(tookOver);
        } else {
          old.thawWalSender();
        }
      },
      thenKill ? 1 : 0,
    );
    if (thenKill) await this.#cluster.rejoin(old);
  }

  /** Before it everything is replicated, so that it can take only what is acknowledged from its beginning on. */
  async blow(
    name: string,
    act: (tookOver: () => void) => Promise<void>,
    failovers = 1,
    promotions = failovers,
  ): Promise<void> {
    const begunAt = performance.now();
    let overAt = begunAt;
    await this.#cluster.waitForReplay({ timeoutMillis: 60_000 });
    await act(() => {
      overAt = performance.now();
    });
    this.blows.push({ name, begunAt, overAt, failovers, promotions });
  }

  /**
   * What the old server had acknowledged may still be on its way, and is believed until the driver goes to the next one;
   * from then on nothing of it is (R12).
   */
  async untilMovedOn(tookOver: () => void): Promise<void> {
    if (this.#movedOn === undefined) return;
    await this.#movedOn();
    tookOver();
  }

  /** In half of the cases nobody gets at these servers before all xids have been used again. Gives the way back. */
  async #mayShutOut(nodes: readonly PostgresNode[]): Promise<() => Promise<void>> {
    const proxies = nodes.flatMap((node) => this.#proxyOf(node) ?? []);
    const shut = this.#random.chance(0.5) ? proxies : [];
    for (const proxy of shut) await proxy.refuse();
    return async () => {
      for (const proxy of shut) await proxy.pass();
    };
  }

  /** On half of the connections: the others notice the death of the server, and it is theirs to tell these. */
  async #holdAnswers(node: PostgresNode): Promise<void> {
    const proxy = this.#proxyOf(node)!;
    const silent = new Set<ProxyConnection>();
    const isChosen = everyOther();
    proxy.onBackendMessage = (type, body, connection) => {
      if (type !== 'C' || !body.includes('COMMIT') || !isChosen(connection)) return undefined;
      silent.add(connection);
      return 'hold';
    };
    await waitFor(() => silent.size >= 3, {
      timeoutMillis: 60_000,
      message: 'three answers to be held back',
    });
  }

  /** COMMITs whose answers do not arrive, or which the standbys do not get, or both. */
  async #mayLeaveInDoubt(node: PostgresNode): Promise<void> {
    if (this.#random.chance(0.5)) await this.#holdAnswers(node);
    if (this.#random.chance(0.7)) {
      await node.freezeWalSender();
      await sleep(this.#random.integer(10, 60));
    }
  }

  #holdNoMoreAnswers(node: PostgresNode): void {
    this.#proxyOf(node)!.onBackendMessage = undefined;
  }

  /** The log then ends behind all that was written before, and the ids in flight belong to these transactions. */
  async useXidsAgain(node: PostgresNode, { replicated = false } = {}): Promise<void> {
    await node.withClient(async (client) => {
      await client.query(`SET synchronous_commit = local`);
      await client.query(`SET commit_delay = 0`);
      await client.query(`DO $$ BEGIN
        FOR i IN 1..${REUSED_XIDS} LOOP PERFORM pg_logical_emit_message(true, '', repeat('x', 500)); COMMIT; END LOOP;
      END $$`);
      await client.query(`SET synchronous_commit = ${replicated ? 'on' : 'local'}`);
      await client.query(`SELECT pg_logical_emit_message(true, '', '')`);
    });
  }
}

type CutName = 'before' | 'after' | 'fin' | 'unnoticed';

const CUTS: Readonly<Record<CutName, (connection: ProxyConnection) => Verdict>> = {
  before: () => 'cut-before',
  after: () => 'cut-after',
  fin: (connection) => {
    connection.fin();
    return 'drop';
  },
  /** The backend works on, with all its locks. */
  unnoticed: (connection) => {
    connection.cutClientSideOnly();
    return 'drop';
  },
};
