/**
 * What the numbers of SQL Server's errors say about the server itself (facts on SQL Server, section 4). They are hints:
 * a probe on a live connection decides (R14).
 */

/** The session was killed (KILL), or its server is ending. */
export const SESSION_KILLED = 596;

/** A write on a secondary, or on a database that is meant to be read-only. */
export const READ_ONLY_DATABASE = 3906;

/** The server, or the database on it, goes away under the statement: what was in flight is in doubt. */
const LOSS: ReadonlyMap<number, string> = new Map([
  [SESSION_KILLED, 'the session is in the kill state'],
  [976, 'the database takes part in an availability group and can not be read here'],
  [978, 'only connections with read intent are let in here'],
  [983, 'the replica is neither primary nor secondary: it is failing over'],
  [988, 'the availability group has no quorum'],
  [READ_ONLY_DATABASE, 'the database is read-only here'],
  [3948, 'the transaction was ended as the state of the replica changed'],
  [6005, 'the server is shutting down'],
  [40197, 'Azure: the service has met an error, for instance a failover'],
  [40613, 'Azure: the database is not available just now'],
]);

/** A login that is refused now and need not be in a moment. */
const TRY_LATER: ReadonlyMap<number, string> = new Map([
  ...LOSS,
  [979, 'no connections with read intent are let in here'],
  [982, 'no readable secondary is on line'],
  [4060, 'the database can not be opened: while it fails over, and if there is none'],
  [10928, 'Azure: a limit of resources is reached'],
  [10929, 'Azure: too busy'],
  [17142, 'the server is paused'],
  [18401, 'the server is in script upgrade mode: it is starting'],
  [40501, 'Azure: busy'],
  [49918, 'Azure: not enough resources'],
  [49919, 'Azure: too many operations'],
  [49920, 'Azure: too many operations'],
]);

/** A replay that meets one of these starts again from the beginning (R10). */
const MOMENT: ReadonlyMap<number, string> = new Map([
  [701, 'out of memory'],
  [1204, 'out of locks'],
  [1205, 'a deadlock'],
  [1222, 'a lock was not given in time'],
  [3960, 'a conflict of snapshots'],
  [8645, 'out of memory for a query'],
  [41301, 'a conflict in a memory-optimised table'],
  [41302, 'the same of writes'],
  [41305, 'the same of repeatable reads'],
  [41325, 'the same of serializable reads'],
  [41839, 'too many dependencies of transactions'],
]);

export function isLoss(number: number): boolean {
  return LOSS.has(number);
}

export function isTryLater(number: number): boolean {
  return TRY_LATER.has(number);
}

export function liesInTheMoment(number: number): boolean {
  return MOMENT.has(number);
}
