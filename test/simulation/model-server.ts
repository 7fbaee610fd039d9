/** Commands of the model's SQL, with the text by which the driver knows them. */
export const SQL = {
  begin: 'BEGIN',
  commit: 'COMMIT',
  chain: 'COMMIT AND CHAIN',
  rollback: 'ROLLBACK',
  rollbackAndChain: 'ROLLBACK AND CHAIN',
  /** Gives the same result at any time. */
  read: 'SELECT 1',
  /** Gives the number of commits so far: differs after other sessions' commits, or when a tail was lost. */
  hotRead: 'SELECT hot',
  write: 'INSERT',
  /** A write that lets the COMMIT of its transaction fail (a deferred constraint). */
  poison: 'INSERT poison',
  /** Always fails. */
  fail: 'SELECT fail()',
} as const;

export type Operation = keyof typeof SQL;

export interface Command {
  readonly operation: Operation;
  /** Identity of a write; 0 for anything else. */
  readonly write: number;
}

export type Message =
  /** `row`: what the database drew for a write outside of a transaction; another attempt draws another one. */
  | { readonly kind: 'C'; readonly tag: string; readonly row?: number }
  | { readonly kind: 'E'; readonly code: string }
  /** The row of the driver's token; no other rows are modelled. */
  | { readonly kind: 'D'; readonly isWritten: boolean };

/** A commit token in a unit, behind so many of its commands. */
export interface TokenInUnit {
  readonly key: number;
  readonly behind: number;
}

export interface Answer {
  readonly messages: readonly Message[];
  readonly status: 'I' | 'T' | 'E';
}

/** A transaction of the model's server; also the mark that its client learns. */
export interface ServerTransaction {
  readonly writes: number[];
  /** What was drawn for those of its writes that were made outside of an explicit transaction. */
  readonly rows: Map<number, number>;
  isExplicit: boolean;
  isFailed: boolean;
  isPoisoned: boolean;
  hasXid: boolean;
  /** Commit tokens that it put; of a transaction of the resolver's, that it fenced. */
  readonly tokens: number[];
  readonly isFence: boolean;
}

/** The surviving history of a cluster: what is committed on the branch of the present primary. */
export class ModelCluster {
  #branch: ServerTransaction[] = [];
  /** What a standby has that followed an earlier primary, and no later one. */
  #behind: readonly ServerTransaction[] | null = null;
  /** Writes of which only that standby knew, with the step in which it was promoted. */
  readonly hasComeBack = new Map<number, number>();
  rowsDrawn = 0;
  /** Step in which a commit was lost with the tail of the log. */
  readonly lostAt = new Map<ServerTransaction, number>();
  /** Writes that were committed without an explicit transaction. */
  readonly inAutocommit = new Set<number>();
  /** Transaction in which a write was committed, the surviving one if there are several. */
  readonly committedIn = new Map<number, ServerTransaction>();
  foreignCommits = 0;

  get commits(): number {
    return this.#branch.filter(({ isFence }) => !isFence).length + this.foreignCommits;
  }

  isCommitted(transaction: ServerTransaction): boolean {
    return this.#branch.includes(transaction);
  }

  commit(transaction: ServerTransaction): void {
    if (!transaction.hasXid) return;
    this.#branch.push(transaction);
    for (const write of transaction.writes) {
      this.committedIn.set(write, transaction);
      if (!transaction.isExplicit) this.inAutocommit.add(write);
    }
  }

  /** The next one that is promoted may be a standby that has what there is now, and nothing of what comes. */
  leaveBehind(): void {
    this.#behind = [...this.#branch];
  }

  /** That one is promoted. False if there is none. */
  promoteTheOneBehind(step: number): boolean {
    const next = this.#behind;
    if (next === null) return false;
    this.#behind = null;
    for (const one of this.#branch) if (!next.includes(one)) this.lostAt.set(one, step);
    for (const one of next) {
      if (this.#branch.includes(one)) continue;
      this.lostAt.delete(one);
      for (const write of one.writes) {
        this.hasComeBack.set(write, step);
        this.committedIn.set(write, one);
      }
    }
    this.#branch = [...next];
    return true;
  }

  /** A standby is promoted which lacks the last `commits` of the log. */
  promote(commits: number, step: number): void {
    for (let i = 0; i < commits; i++) {
      const lost = this.#branch.pop();
      if (lost !== undefined) this.lostAt.set(lost, step);
    }
  }

  /** What the token table has under this key. */
  token(key: number): 'committed' | 'fenced' | null {
    const found = this.#branch.find(({ tokens }) => tokens.includes(key));
    if (found === undefined) return null;
    return found.isFence ? 'fenced' : 'committed';
  }

  /** The resolver's own transaction. */
  fence(key: number): void {
    this.#branch.push({ ...newTransaction(), hasXid: true, tokens: [key], isFence: true });
  }

  timesPresent(write: number): number {
    let times = 0;
    for (const { writes } of this.#branch) for (const one of writes) if (one === write) times++;
    return times;
  }
}

function newTransaction(): ServerTransaction {
  return {
    writes: [],
    rows: new Map(),
    isExplicit: false,
    isFailed: false,
    isPoisoned: false,
    hasXid: false,
    tokens: [],
    isFence: false,
  };
}

/** One server process: runs units as PostgreSQL does, implicit transaction blocks included. */
export class ModelBackend {
  readonly #cluster: ModelCluster;
  #open: ServerTransaction | null = null;
  readonly #tokenError: () => string | null;

  /** @param tokenError why the server does not take a token; null if it does */
  constructor(cluster: ModelCluster, tokenError: () => string | null = () => null) {
    this.#cluster = cluster;
    this.#tokenError = tokenError;
  }

  get status(): 'I' | 'T' | 'E' {
    return this.#open === null ? 'I' : this.#open.isFailed ? 'E' : 'T';
  }

  /** What the driver's hidden statement answers. */
  mark(): { readonly transaction: ServerTransaction | null; readonly failed: boolean } {
    if (this.#open?.isFailed === true) return { transaction: null, failed: true };
    return { transaction: this.#open?.hasXid === true ? this.#open : null, failed: false };
  }

  /** `simple`: the tag of the last statement comes behind its commit; in the extended protocol Sync commits. */
  run(commands: readonly Command[], simple: boolean, token: TokenInUnit | null = null): Answer {
    const messages: Message[] = [];
    for (let i = 0; i <= commands.length; i++) {
      if (token?.behind === i) messages.push(...this.#put(token.key));
      const command = commands[i];
      if (command !== undefined && messages.at(-1)?.kind !== 'E') messages.push(this.#one(command));
      if (messages.at(-1)?.kind === 'E') {
        this.#fail();
        return { messages, status: this.status };
      }
    }
    if (this.#open?.isExplicit === false) {
      const failed = this.#end(true);
      if (failed !== null) messages.splice(simple ? -1 : messages.length, 1, failed);
    }
    return { messages, status: this.status };
  }

  /** The token as a unit of its own. */
  putToken(key: number): Answer {
    const messages = this.#put(key);
    if (messages.at(-1)?.kind === 'E') this.#fail();
    return { messages, status: this.status };
  }

  /** The driver's conditional statement: it writes only where an xid is assigned. */
  #put(key: number): readonly Message[] {
    const open = this.#open;
    if (open?.isFailed === true) return [{ kind: 'E', code: '25P02' }];
    if (open?.hasXid === true) {
      if (this.#cluster.token(key) !== null) return [{ kind: 'E', code: '23505' }];
      const code = this.#tokenError();
      if (code !== null) return [{ kind: 'E', code }];
      open.tokens.push(key);
    }
    return [
      { kind: 'D', isWritten: open?.hasXid === true },
      { kind: 'C', tag: 'SELECT 1' },
    ];
  }

  /** Somebody who asks for this token waits for this process. */
  hasPut(key: number): boolean {
    return this.#open?.tokens.includes(key) === true;
  }

  /** Its client is gone. */
  die(): void {
    this.#open = null;
  }

  #fail(): void {
    if (this.#open === null) return;
    if (this.#open.isExplicit) this.#open.isFailed = true;
    else this.#open = null;
  }

  #one({ operation, write }: Command): Message {
    const open = this.#open;
    const isEnd =
      operation === 'commit' ||
      operation === 'rollback' ||
      operation === 'chain' ||
      operation === 'rollbackAndChain';
    if (open?.isFailed === true && !isEnd) return { kind: 'E', code: '25P02' };
    switch (operation) {
      case 'begin':
        this.#transaction().isExplicit = true;
        return { kind: 'C', tag: 'BEGIN' };
      case 'commit':
        if (open?.isFailed === true) {
          this.#open = null;
          return { kind: 'C', tag: 'ROLLBACK' };
        }
        return this.#end(true) ?? { kind: 'C', tag: 'COMMIT' };
      case 'rollback':
        this.#open = null;
        return { kind: 'C', tag: 'ROLLBACK' };
      case 'chain':
      case 'rollbackAndChain': {
        if (open?.isExplicit !== true) return { kind: 'E', code: '25P01' };
        const commits = operation === 'chain' && !open.isFailed;
        const failed = this.#end(commits);
        if (failed !== null) return failed;
        this.#transaction().isExplicit = true;
        return { kind: 'C', tag: commits ? 'COMMIT' : 'ROLLBACK' };
      }
      case 'read':
        this.#transaction();
        return { kind: 'C', tag: 'SELECT' };
      case 'hotRead':
        return { kind: 'C', tag: `SELECT ${this.#cluster.commits} ${this.#transaction().writes.length}` };
      case 'write':
      case 'poison': {
        const transaction = this.#transaction();
        transaction.hasXid = true;
        transaction.writes.push(write);
        if (operation === 'poison') transaction.isPoisoned = true;
        if (transaction.isExplicit) return { kind: 'C', tag: `INSERT ${write}` };
        const row = ++this.#cluster.rowsDrawn;
        transaction.rows.set(write, row);
        return { kind: 'C', tag: `INSERT ${write}`, row };
      }
      case 'fail':
        this.#transaction();
        return { kind: 'E', code: '22012' };
    }
  }

  /** The open transaction, or a new one, implicit until a BEGIN joins it. */
  #transaction(): ServerTransaction {
    this.#open ??= newTransaction();
    return this.#open;
  }

  #end(commits: boolean): Message | null {
    const open = this.#open;
    this.#open = null;
    if (open === null || !commits) return null;
    if (open.isPoisoned) return { kind: 'E', code: '23503' };
    this.#cluster.commit(open);
    return null;
  }
}
