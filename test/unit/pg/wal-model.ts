/**
 * A small model of what PostgreSQL servers do with transaction ids and the write-ahead log: timelines that branch, logs
 * that lose their unflushed end, ids that are handed out again. Here the fate of every transaction is known, so that
 * the decision about a COMMIT in doubt can be checked against it.
 *
 * A history is a list of numbers; each is read as one step. Positions count bytes as LSNs do, so that branches with
 * different contents have the same positions.
 */
import type { CommitMark } from '../../../src/pg/commit-mark.ts';
import type { CommitObservation } from '../../../src/pg/commit-verdict.ts';
import type { Lineage } from '../../../src/pg/lineage.ts';
import type { SeenServer } from '../../../src/pg/lineage.ts';
import { recordServer, UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';
import type { Lsn } from '../../../src/pg/lsn.ts';
import type { Server, WalRecord } from './wal-model-server.ts';
import { endOf, FIRST_XID, nextXidAfter, probeOf } from './wal-model-server.ts';
import { receive, statusOf, SYSTEM_IDENTIFIER } from './wal-model-server.ts';

/** A transaction as the driver remembers it. */
interface Captured {
  readonly tx: number;
  readonly mark: CommitMark;
  readonly bareLsn: Lsn;
  /** The captured life of the server. */
  readonly server: Server;
}

/** One question to one server, with everything that may be used for the answer, and the truth. */
export interface Question {
  readonly mark: CommitMark;
  /** The insert position when the xid was assigned, before any WAL carried it. */
  readonly bareLsn: Lsn;
  readonly observation: CommitObservation & { readonly server: SeenServer };
  /** The server's TIMELINE_HISTORY. */
  readonly history: ReadonlyMap<number, Lsn>;
  /** Every server was probed after every step. */
  readonly lineage: Lineage;
  /** All servers were probed after some steps only. */
  readonly patchyLineage: Lineage;
  /** Only the captured server was probed, and this one now. */
  readonly blindLineage: Lineage;
  /** What became of it, on this server; `open` while it still runs here. */
  readonly truth: 'committed' | 'absent' | 'open';
}

/** The steps are numbers, so that fast-check can make and shrink them; `#step` reads them. */
export interface ModelHistory {
  /** Promotions see each other's history files, as with a shared WAL archive, and skip numbers that were used. */
  readonly sharedArchive: boolean;
  readonly steps: readonly number[];
}

/** A step's number modulo this is its kind. */
export const KINDS = 64;
const NAMES = ['a', 'b', 'c', 'd'];

export class WalModel {
  readonly #servers: Server[];
  readonly #sharedArchive: boolean;
  readonly #captured: Captured[] = [];
  #clock = NAMES.length;
  #transactions = 0;
  #highestTimeline = 1;
  #lineage = UNKNOWN_LINEAGE;
  #patchyLineage = UNKNOWN_LINEAGE;

  /** All transactions, asked of all servers that take writes at the end. */
  static *questionsAfter({ sharedArchive, steps }: ModelHistory): Generator<Question> {
    const model = new WalModel(sharedArchive);
    for (const code of steps) model.#step(code);
    for (const captured of model.#captured) {
      for (const server of model.#servers) {
        if (server.role === 'primary') yield model.#question(captured, server);
      }
    }
  }

  private constructor(sharedArchive: boolean) {
    this.#sharedArchive = sharedArchive;
    this.#servers = NAMES.map((name, index) => ({
      name,
      role: index === 0 ? ('primary' as const) : ('standby' as const),
      log: [],
      flushed: 0,
      timeline: 1,
      follows: null,
      startTime: index,
      replayLsn: index === 0 ? null : 0n,
      receiveLsn: index === 0 ? null : 0n,
      nextXid: FIRST_XID,
      running: new Map(),
      history: new Map(),
      checkpointTimeline: 1,
    }));
    for (const standby of this.#servers.slice(1)) standby.follows = this.#servers[0]!;
    this.#probeAll(true);
  }

  /** The lowest digits say what happens, the others where and how. */
  #step(code: number): void {
    const kind = code % KINDS;
    const dice = Math.floor(code / KINDS);
    const server = this.#servers[dice % 4]!;
    const other = this.#servers[Math.floor(dice / 4) % 4]!;
    const rest = Math.floor(dice / 16);
    const primary = this.#pick('primary', dice);
    const standby = this.#pick('standby', dice);
    if (kind < 12 && primary) this.#begin(primary, rest);
    else if (kind < 26 && primary) this.#finish(primary, rest);
    else if (kind < 28 && primary) this.#append(primary, 'other', 0, 0, rest);
    else if (kind < 31 && primary) this.#useIds(primary, rest);
    else if (kind < 33 && primary) primary.flushed = primary.log.length;
    else if (kind < 36) server.checkpointTimeline = server.timeline;
    else if (kind < 49) this.#replicateAll(rest);
    else if (kind < 51 && primary) this.#crashAndRecover(primary, rest);
    else if (kind === 51 && primary) this.#restartCleanly(primary);
    else if (kind === 52 && primary) this.#crash(primary, rest);
    else if (kind < 55 && standby) this.#promote(standby);
    else if (kind < 59) this.#failOver(rest, dice);
    else if (kind === 59 && server.role === 'down') this.#start(server);
    else if (kind < 62 && server !== other) this.#copy(other, server);
    else if (kind === 62 && standby && other !== standby) standby.follows = other;
    else if (kind === 63 && standby) this.#restartStandby(standby);
    this.#probeAll(rest % 2 === 0);
  }

  #question({ tx, mark, bareLsn, server: capturedServer }: Captured, server: Server): Question {
    const probe = probeOf(server);
    const captured = { ...probe, ...mark, inRecovery: false, replayLsn: null, receiveLsn: null };
    const blind = recordServer(UNKNOWN_LINEAGE, capturedServer.name, captured);
    const kinds = server.log.filter((record) => record.tx === tx).map(({ kind }) => kind);
    const isCommitted = kinds.includes('commit') || (kinds.includes('prepare') && !kinds.includes('abort'));
    const isOpen = [...server.running.values()].includes(tx);
    return {
      mark,
      bareLsn,
      observation: { server: probe, status: statusOf(server, Number(mark.xid)), history: null },
      history: server.history,
      lineage: this.#lineage,
      patchyLineage: recordServer(this.#patchyLineage, server.name, probe),
      blindLineage: recordServer(blind, `${server.name}-${server.timeline}`, probe),
      truth: isCommitted ? 'committed' : isOpen ? 'open' : 'absent',
    };
  }

  #pick(role: Server['role'], dice: number): Server | undefined {
    const candidates = this.#servers.filter((server) => server.role === role);
    return candidates[dice % Math.max(1, candidates.length)];
  }

  #begin(server: Server, dice: number): void {
    const xid = server.nextXid++;
    const tx = ++this.#transactions;
    server.running.set(xid, tx);
    const bareLsn = endOf(server.log);
    // The xid may be handed out, and other records written, before the first record that carries it.
    if (dice % 3 === 0) this.#append(server, 'other', 0, 0, dice);
    const lsn = this.#append(server, 'mark', xid, tx, dice);
    const { timeline, incarnation } = probeOf(server);
    const life = { systemIdentifier: SYSTEM_IDENTIFIER, timeline: timeline!, incarnation: incarnation! };
    const mark = { xid: String(xid), lsn, ...life };
    this.#captured.push({ tx, mark, bareLsn, server });
  }

  #finish(server: Server, dice: number): void {
    const [open] = server.running;
    if (open === undefined) return;
    const [xid, tx] = open;
    const kind = (['commit', 'commit', 'commit', 'abort', 'prepare'] as const)[dice % 5]!;
    this.#append(server, kind, xid, tx, dice);
    server.running.delete(xid);
    // An asynchronous commit, or a crash in the middle of it, leaves the record unflushed.
    if (dice % 3 !== 0) server.flushed = server.log.length;
  }

  /** Others' transactions, short and committed. */
  #useIds(server: Server, dice: number): void {
    for (let count = dice % 4; count >= 0; count -= 1) {
      this.#append(server, 'commit', server.nextXid++, ++this.#transactions, dice + count);
    }
    server.flushed = server.log.length;
  }

  #append(server: Server, kind: WalRecord['kind'], xid: number, tx: number, dice: number): Lsn {
    const end = endOf(server.log) + 1n + BigInt(dice % 3);
    server.log.push({ kind, end, xid, tx, nextXid: server.nextXid });
    return end;
  }

  #replicateAll(dice: number): void {
    for (const [index, standby] of this.#servers.entries()) {
      if (standby.role === 'standby' && (dice >> index) % 8 !== 0) receive(standby, 1 + ((dice >> 2) % 16));
    }
  }

  /** A crash takes any part of what was not flushed. Everything in memory goes with it. */
  #crash(server: Server, dice: number): void {
    const unflushed = server.log.length - server.flushed;
    server.log = server.log.slice(0, server.flushed + (dice % (unflushed + 1)));
    server.flushed = server.log.length;
    server.running.clear();
    server.role = 'down';
  }

  #start(server: Server): void {
    this.#recover(server);
    server.startTime = ++this.#clock;
  }

  #crashAndRecover(server: Server, dice: number): void {
    this.#crash(server, dice);
    this.#recover(server);
    // A backend's crash: the postmaster, and with it the start time, stays.
    if (dice % 2 === 0) server.startTime = ++this.#clock;
  }

  #recover(server: Server): void {
    server.role = 'primary';
    server.follows = null;
    server.replayLsn = endOf(server.log);
    server.receiveLsn = null;
    this.#endRecovery(server);
  }

  #endRecovery(server: Server): void {
    server.nextXid = nextXidAfter(server.log);
    this.#append(server, 'checkpoint', 0, 0, 0);
    server.flushed = server.log.length;
  }

  #restartCleanly(server: Server): void {
    server.running.clear();
    this.#append(server, 'checkpoint', 0, 0, 1);
    server.flushed = server.log.length;
    server.replayLsn = null;
    server.receiveLsn = null;
    server.startTime = ++this.#clock;
  }

  /** What was received before the restart is kept, but the received position starts anew. */
  #restartStandby(server: Server): void {
    server.startTime = ++this.#clock;
    server.receiveLsn = 0n;
  }

  #promote(server: Server): void {
    const end = endOf(server.log);
    server.history = new Map([...server.history, [server.timeline, end]]);
    server.timeline = (this.#sharedArchive ? this.#highestTimeline : server.timeline) + 1;
    this.#highestTimeline = Math.max(this.#highestTimeline, server.timeline);
    server.role = 'primary';
    server.follows = null;
    server.replayLsn = end;
    this.#endRecovery(server);
  }

  /** As it mostly goes: all primaries die, one standby is promoted, most of the others follow it. */
  #failOver(dice: number, choice: number): void {
    const next = this.#pick('standby', choice);
    if (next === undefined) return;
    for (const server of this.#servers) if (server.role === 'primary') this.#crash(server, dice);
    this.#promote(next);
    for (const [index, server] of this.#servers.entries()) {
      if (server.role === 'standby' && (dice >> index) % 4 !== 0) server.follows = next;
    }
  }

  /** A base backup: the target becomes a standby of the source. */
  #copy(source: Server, target: Server): void {
    if (source.role === 'down' || target.role === 'primary') return;
    target.role = 'standby';
    target.log = source.log.slice(0, source.flushed);
    target.flushed = target.log.length;
    target.timeline = source.timeline;
    target.history = source.history;
    target.checkpointTimeline = source.timeline;
    target.follows = source;
    target.startTime = ++this.#clock;
    target.running.clear();
    target.replayLsn = endOf(target.log);
    target.receiveLsn = endOf(target.log);
  }

  #probeAll(isWatched: boolean): void {
    // Writers first, so that what a standby has at the first sight of a timeline is not from its writer.
    const order = [...this.#servers].sort((left, right) => left.role.localeCompare(right.role));
    for (const server of order) {
      if (server.role === 'down') continue;
      const probe = probeOf(server);
      this.#lineage = recordServer(this.#lineage, server.name, probe);
      if (isWatched) this.#patchyLineage = recordServer(this.#patchyLineage, server.name, probe);
    }
  }
}
