import type { Coordinator } from '../../cluster/coordinator.ts';
import type { LostCommit } from '../../events.ts';
import type { ResolvedFailoverOptions } from '../../options.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { mustRun, ServerError } from '../link/batch.ts';
import { plainHexadecimal, tokensFoundQuestion, watermarkQuestion } from '../token/token-batches.ts';

/** A transaction whose COMMIT was acknowledged, with what a report of its loss needs. */
export interface AcknowledgedCommit {
  /** Of its commit token, in hexadecimal. */
  readonly key: string;
  readonly session: number;
  readonly sentAtMillis: number;
  readonly acknowledgedAtMillis: number;
  readonly database: string;
  readonly user: string | null;
  /** host:port */
  readonly server: string;
  /** The life of the server that has it for certain. */
  readonly incarnation: string;
  readonly statements: readonly string[];
  readonly bytes: number;
  parameters(): readonly (readonly (string | Buffer | null)[])[];
}

const KEYS_A_QUESTION = 500;

/**
 * The acknowledged transactions of one process on one cluster: behind a failover each is looked for by its token, which is
 * the proof that needs no permission (R9; facts on SQL Server, "The commit token in TDS"). SQL Server tells nobody without
 * one how far the secondaries are, so they are kept for `maxCommittedLogAgeMillis`, within the caps.
 */
export class AcknowledgedCommits {
  readonly #coordinator: Coordinator;
  readonly #options: ResolvedFailoverOptions;
  #commits: AcknowledgedCommit[] = [];
  #bytes = 0;
  #isFull = false;
  #settling: Promise<void> | null = null;
  #settledFor: string | null = null;

  constructor(coordinator: Coordinator, options: ResolvedFailoverOptions) {
    this.#coordinator = coordinator;
    this.#options = options;
  }

  get size(): number {
    return this.#commits.length;
  }

  add(commit: AcknowledgedCommit): void {
    this.#commits.push(commit);
    this.#bytes += commit.bytes;
    // Looked at in turns, so that the array is not moved for each commit.
    if (this.#commits.length % 256 === 0 || this.#isOverCap) this.#expire(commit.acknowledgedAtMillis);
  }

  /** Looks for those of other servers on this one, once for all sessions. Rejects if the connection is lost. */
  async settle(incarnation: string, connect: () => Promise<ServerConnection>, to: string): Promise<void> {
    while (this.#settling !== null) await this.#settling.catch(() => undefined);
    if (this.#settledFor === incarnation) return;
    if (!this.#commits.some((one) => one.incarnation !== incarnation)) return;
    this.#settling = this.#settle(incarnation, connect, to);
    try {
      await this.#settling;
      this.#settledFor = incarnation;
    } finally {
      this.#settling = null;
    }
  }

  async #settle(incarnation: string, connect: () => Promise<ServerConnection>, to: string): Promise<void> {
    this.#expire(Date.now());
    const connection = await connect();
    const { tokenSchema } = this.#options;
    try {
      const open = this.#commits.filter((one) => one.incarnation !== incarnation);
      const found = new Set<string>();
      for (let i = 0; i < open.length; i += KEYS_A_QUESTION) {
        const keys = open.slice(i, i + KEYS_A_QUESTION).map(({ key }) => key);
        for (const [key] of await mustRun(connection, tokensFoundQuestion(tokenSchema, keys))) {
          if (key !== null && key !== undefined) found.add(plainHexadecimal(key));
        }
      }
      // Behind the look for them: a purge moves its mark before it deletes (design review A11).
      const [row] = await mustRun(connection, watermarkQuestion(tokenSchema));
      const watermark = plainHexadecimal(row?.[0] ?? '');
      for (const commit of open) {
        if (!found.has(commit.key)) this.#tell(commit, commit.key < watermark ? 'unknown' : 'lost', to);
      }
      const judged = new Set(open);
      const kept = this.#commits.flatMap((one) => {
        if (!judged.has(one)) return [one];
        return found.has(one.key) ? [{ ...one, incarnation }] : [];
      });
      this.#replace(kept);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      // Asked again it would say the same.
      const open = this.#commits.filter((one) => one.incarnation !== incarnation);
      for (const commit of open) this.#tell(commit, 'unknown', to, `token-refused-${error.number}`);
      this.#replace(this.#commits.filter((one) => one.incarnation === incarnation));
    } finally {
      connection.destroy();
    }
  }

  #tell(commit: AcknowledgedCommit, outcome: 'lost' | 'unknown', to: string, why?: string): void {
    const { counters } = this.#coordinator;
    if (outcome === 'lost') counters.commitsLost++;
    else counters.commitsMaybeLost++;
    const event: LostCommit = {
      session: commit.session,
      outcome,
      reason: why ?? (outcome === 'lost' ? 'token-missing' : 'token-too-old'),
      notReapplied: null,
      statements: commit.statements,
      database: commit.database,
      user: commit.user,
      sentAt: new Date(commit.sentAtMillis),
      acknowledgedAt: new Date(commit.acknowledgedAtMillis),
      transactionId: null,
      from: commit.server,
      notBefore: null,
      upTo: null,
      to,
      recoveredTo: null,
      parameters: () => commit.parameters(),
    };
    this.#coordinator.publish('lostCommit', event);
  }

  get #isOverCap(): boolean {
    const { maxCommittedLogBytes, maxCommittedLogTransactions } = this.#options;
    return this.#bytes > maxCommittedLogBytes || this.#commits.length > maxCommittedLogTransactions;
  }

  #expire(nowMillis: number): void {
    const { maxCommittedLogAgeMillis, maxCommittedLogBytes, maxCommittedLogTransactions } = this.#options;
    const oldest = nowMillis - maxCommittedLogAgeMillis;
    let from = 0;
    let bytes = this.#bytes;
    const count = (): number => this.#commits.length - from;
    while (from < this.#commits.length && this.#commits[from]!.acknowledgedAtMillis < oldest) {
      bytes -= this.#commits[from++]!.bytes;
    }
    const isOver = bytes > maxCommittedLogBytes || count() > maxCommittedLogTransactions;
    if (isOver && !this.#isFull) {
      const limit =
        bytes > maxCommittedLogBytes
          ? ('maxCommittedLogBytes' as const)
          : ('maxCommittedLogTransactions' as const);
      this.#coordinator.publish('limitReached', {
        session: null,
        limit: `failover.${limit}`,
        value: this.#options[limit],
        consequence:
          'acknowledged transactions fall out of the committed log: if a failover loses them, nobody will tell',
      });
    }
    this.#isFull = isOver;
    // A tenth more than needed, so that it is not done again with the next one.
    while (
      from < this.#commits.length &&
      (bytes > maxCommittedLogBytes * (isOver ? 0.9 : 1) ||
        count() > maxCommittedLogTransactions * (isOver ? 0.9 : 1))
    ) {
      bytes -= this.#commits[from++]!.bytes;
    }
    if (from > 0) this.#replace(this.#commits.slice(from));
  }

  #replace(commits: AcknowledgedCommit[]): void {
    this.#commits = commits;
    this.#bytes = commits.reduce((sum, one) => sum + one.bytes, 0);
  }
}
