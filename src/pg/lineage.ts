/**
 * What this process has seen of a cluster's timelines, and how far the log of one server is proved by it to be the
 * log of another.
 *
 * A COMMIT may be called committed on another server only if no transaction id was handed out again on the way there
 * (design review A4). No server can be asked for that: two crashes look like one; two standbys promoted separately
 * begin the same timeline twice, or, where they share a WAL archive, two timelines side by side of which the higher
 * does not contain the lower. So every probe of every server is recorded here, and whatever was seen that would allow
 * for a fork takes the proof away.
 *
 * What no probe saw can't count. A primary that crashed, recovered, handed the id out again and died for good between
 * two probes stays unseen. Therefore: record each probe, those of monitors too; probe the standbys once whenever a
 * timeline is first seen; and begin with a new lineage when the process itself was frozen.
 */
import type { Lsn } from './lsn.ts';
import type { ProbeResult } from './probe.ts';

/** One timeline as far as it was seen. */
interface TimelineRecord {
  /** The host that was seen writing on it; `null` if there was more than one. */
  readonly host: string | null;
  /** Where it branched off, read from the server whose promotion began it. */
  readonly start: Lsn | null;
  /** Whether it branched off the timeline with the number before, not off an older one. */
  readonly followsPrevious: boolean;
  /** The lives of the servers that wrote on it, in the order in which they were first seen. */
  readonly incarnations: readonly string[];
  /**
   * Two of these lives were seen in turns, or one began after a higher timeline had, or somebody wrote on a lower
   * timeline after this one had begun.
   */
  readonly contested: boolean;
}

/** One life of one standby, as far as it matters when it is promoted. */
interface StandbyRecord {
  /** The server's start time, which a promotion leaves as it is. */
  readonly life: string;
  /** Timelines that its log contains. */
  readonly timelines: readonly number[];
  /** The highest timeline known when `position` was read. */
  readonly during: number;
  /** What it had when it was first seen in that time: what it received above that came from somebody who wrote then. */
  readonly position: Lsn | null;
}

/** An immutable value: `recordServer` makes the next one. */
export interface Lineage {
  /** The cluster's, from the first server recorded. */
  readonly systemIdentifier: string | null;
  readonly timelines: ReadonlyMap<number, TimelineRecord>;
  readonly standbys: ReadonlyMap<string, StandbyRecord>;
}

/** Nothing seen yet, so nothing can be proved. */
export const UNKNOWN_LINEAGE: Lineage = { systemIdentifier: null, timelines: new Map(), standbys: new Map() };

/** What is remembered at most of each kind. The oldest goes first, and with it what it could have proved. */
const MAX_REMEMBERED = 64;
const FIRST_TIMELINE = 1;

/** The part of a probe that counts here. */
export type SeenServer = Pick<
  ProbeResult,
  | 'inRecovery'
  | 'systemIdentifier'
  | 'timeline'
  | 'incarnation'
  | 'startTime'
  | 'replayLsn'
  | 'receiveLsn'
  | 'logTimelines'
>;

/** The life in which a mark was taken. */
export interface CapturedLife {
  readonly timeline: number;
  readonly incarnation: string;
}

/**
 * Takes in one probe. `host` is any name that is the same each time for the same server, such as 'address:port'.
 * Servers that do not say who they are, and those of another cluster, teach nothing. Returns the same value if the
 * probe brought nothing new.
 */
export function recordServer(lineage: Lineage, host: string, server: SeenServer): Lineage {
  const { systemIdentifier } = server;
  if (systemIdentifier === null) return lineage;
  if (lineage.systemIdentifier !== null && lineage.systemIdentifier !== systemIdentifier) return lineage;
  return server.inRecovery ? recordStandby(lineage, host, server) : recordWriter(lineage, host, server);
}

/**
 * Up to where the log of the server on timeline `to` is proved to be the log that the captured life wrote; `null` if
 * nothing is proved. The server on `to` must have been recorded.
 *
 * Proved means: nobody but the captured life was seen on its timeline since, and each timeline from there to `to` was
 * begun by one host only, follows the one before, and was seen to begin. The lowest of their beginnings counts: a
 * standby that is promoted before it has replayed all of its timeline branches off below where that one began.
 */
export function sharedLog(lineage: Lineage, captured: CapturedLife, to: number): Lsn | null {
  if (!isSoleWriter(lineage, captured)) return null;
  let lowest: Lsn | null = null;
  for (let timeline = captured.timeline + 1; timeline <= to; timeline += 1) {
    const record = lineage.timelines.get(timeline);
    if (record === undefined || record.host === null || record.start === null) return null;
    if (!record.followsPrevious) return null;
    if (lowest === null || record.start < lowest) lowest = record.start;
  }
  return lowest;
}

/** Whether nobody was seen who may have written on the captured timeline after the captured life, or beside it. */
export function isSoleWriter(lineage: Lineage, captured: CapturedLife): boolean {
  const record = lineage.timelines.get(captured.timeline);
  return (
    record !== undefined &&
    record.host !== null &&
    !record.contested &&
    record.incarnations.at(-1) === captured.incarnation
  );
}

/**
 * Whether the log of this standby is known to be the one that is written on `timeline` now, as far as it goes. The probe
 * must have been recorded.
 *
 * On the first timeline there is no other. Later it is known where the server says that it has the timeline, which it
 * may do only after its next restart point, or where it was seen to go on while nobody else was seen to write: one that
 * has more of the timeline before than the promoted one had can't follow it, and stands still.
 */
export function hasLogOf(lineage: Lineage, host: string, server: SeenServer, timeline: number): boolean {
  if (timeline === FIRST_TIMELINE) return true;
  const standby = lineage.standbys.get(host);
  if (standby === undefined || standby.life !== server.startTime) return false;
  if (standby.timelines.includes(timeline)) return true;
  const record = lineage.timelines.get(timeline);
  const { replayLsn } = server;
  return (
    record !== undefined &&
    record.host !== null &&
    !record.contested &&
    standby.during === timeline &&
    standby.position !== null &&
    replayLsn !== null &&
    replayLsn > standby.position
  );
}

function recordStandby(lineage: Lineage, host: string, server: SeenServer): Lineage {
  const { startTime, logTimelines, systemIdentifier } = server;
  if (startTime === null) return lineage;
  const known = lineage.standbys.get(host);
  const before = known?.life === startTime ? known : undefined;
  const during = Math.max(0, ...lineage.timelines.keys());
  const record: StandbyRecord = {
    life: startTime,
    timelines: union(before?.timelines ?? [], logTimelines),
    during,
    position: before?.during === during ? (before.position ?? positionOf(server)) : positionOf(server),
  };
  if (before !== undefined && isSame(before, record)) return lineage;
  return { ...lineage, systemIdentifier, standbys: remember(lineage.standbys, host, record) };
}

function recordWriter(lineage: Lineage, host: string, server: SeenServer): Lineage {
  const { timeline, incarnation, systemIdentifier } = server;
  if (timeline === null || incarnation === null) return lineage;
  const before = lineage.timelines.get(timeline);
  const now: TimelineRecord = {
    host,
    start: startOf(server),
    // What standbys had is compared once, as long as their records are still of the timeline before.
    followsPrevious:
      containsPrevious(lineage, host, timeline, server) ||
      (before === undefined && receivedFromPrevious(lineage, host, timeline, server)),
    incarnations: [incarnation],
    contested: false,
  };
  const isDeposed = [...lineage.timelines.keys()].some((number) => number > timeline);
  const after = before === undefined ? { ...now, contested: isDeposed } : merge(before, now, isDeposed);
  let timelines = lineage.timelines;
  if (before === undefined || !isSame(before, after)) timelines = remember(timelines, timeline, after);
  for (const [number, record] of timelines) {
    if (number > timeline && !record.contested) {
      timelines = remember(timelines, number, { ...record, contested: true });
    }
  }
  return timelines === lineage.timelines ? lineage : { ...lineage, systemIdentifier, timelines };
}

function merge(before: TimelineRecord, now: TimelineRecord, isDeposed: boolean): TimelineRecord {
  const [incarnation] = now.incarnations;
  const isNew = !before.incarnations.includes(incarnation!);
  // Two hosts on one timeline were promoted separately, or one is a copy of the other. So were two lives that both
  // began with a promotion, even if the host has the same name.
  const isOther = before.host !== now.host || (isNew && before.start !== null && now.start !== null);
  return {
    host: isOther ? null : before.host,
    start: before.start ?? now.start,
    followsPrevious: before.followsPrevious || now.followsPrevious,
    incarnations: isNew ? [...before.incarnations, incarnation!].slice(-MAX_REMEMBERED) : before.incarnations,
    contested: before.contested || (isNew ? isDeposed : before.incarnations.at(-1) !== incarnation),
  };
}

/**
 * A received position shows that this life of the server began as a standby, so its replay position is where it was
 * promoted. After a crash recovery the replay position is something else, and the received one is NULL.
 */
function startOf(server: SeenServer): Lsn | null {
  return server.receiveLsn === null ? null : server.replayLsn;
}

/** After a restart a standby receives parts of what it already has again, so its received position alone won't do. */
function positionOf({ replayLsn, receiveLsn }: SeenServer): Lsn | null {
  if (replayLsn === null || receiveLsn === null) return replayLsn ?? receiveLsn;
  return replayLsn > receiveLsn ? replayLsn : receiveLsn;
}

/**
 * A promotion takes the next free number, so the new timeline need not follow the one before. It does if the server's
 * log is known to contain that one.
 */
function containsPrevious(lineage: Lineage, host: string, timeline: number, server: SeenServer): boolean {
  const previous = timeline - 1;
  if (previous === FIRST_TIMELINE || server.logTimelines.includes(previous)) return true;
  const standby = lineage.standbys.get(host);
  return standby?.life === server.startTime && standby.timelines.includes(previous);
}

/**
 * It also does if the server was still receiving while the host of the timeline before was the only writer, and
 * received more than any standby had of an older timeline, from which it might have been fed in cascade.
 */
function receivedFromPrevious(lineage: Lineage, host: string, timeline: number, server: SeenServer): boolean {
  const previous = timeline - 1;
  const { receiveLsn, startTime } = server;
  const standby = lineage.standbys.get(host);
  if (receiveLsn === null || standby?.life !== startTime || standby.during !== previous) return false;
  return (
    lineage.timelines.get(previous)?.contested === false &&
    [...lineage.standbys.values()]
      .filter((other) => other.during === previous && !other.timelines.includes(previous))
      .every((other) => other.position !== null && other.position < receiveLsn)
  );
}

function union(left: readonly number[], right: readonly number[]): readonly number[] {
  return right.every((item) => left.includes(item))
    ? left
    : [...new Set([...left, ...right])].slice(-MAX_REMEMBERED);
}

function isSame<Item extends object>(left: Item, right: Item): boolean {
  return (Object.keys(left) as (keyof Item)[]).every((key) => left[key] === right[key]);
}

function remember<Key, Item>(items: ReadonlyMap<Key, Item>, key: Key, item: Item): ReadonlyMap<Key, Item> {
  const next = new Map(items).set(key, item);
  if (next.size > MAX_REMEMBERED) next.delete(next.keys().next().value as Key);
  return next;
}
