/**
 * What the numbers of SQL Server's errors say about the server itself (facts on SQL Server, section 4; sys.messages). They
 * are hints: a probe on a live connection decides (R14).
 */

/** The session was killed (KILL), or its server is ending. */
export const SESSION_KILLED = 596;

/** A write on a secondary, or on a database that is meant to be read-only. */
export const READ_ONLY_DATABASE = 3906;

/** The server, or the database on it, goes away under the statement: what was in flight is in doubt. */
const LOSS: ReadonlyMap<number, string> = new Map([
  [SESSION_KILLED, 'the session is in the kill state'],
  [952, 'the database is in transition'],
  [954, 'the database is the mirror of another one'],
  [955, 'the database has no quorum for mirroring'],
  [976, 'the database takes part in an availability group and can not be read here'],
  [978, 'only connections with read intent are let in here'],
  [983, 'the replica is neither primary nor secondary: it is failing over'],
  [988, 'the availability group has no quorum'],
  [READ_ONLY_DATABASE, 'the database is read-only here'],
  [3948, 'the transaction was ended as the state of the replica changed'],
  [6005, 'the server is shutting down'],
  [9001, 'the log of the database is not available'],
  [17188, 'the server is shutting down and takes no connections'],
]);

/** The same in Azure. */
const AZURE_LOSS: ReadonlyMap<number, string> = new Map([
  [40143, 'the service has met an error'],
  [40197, 'the service has met an error, for instance a failover'],
  [40613, 'the database is not available just now'],
]);

/** A login that is refused now and need not be in a moment, here or on another host. */
const LATER: ReadonlyMap<number, string> = new Map([
  [904, 'the database can not be started while the server shuts down or starts'],
  [921, 'the database has not been recovered yet'],
  [922, 'the database is being recovered'],
  [927, 'the database is being restored'],
  [942, 'the database is offline'],
  [979, 'no connections with read intent are let in here'],
  [982, 'no readable secondary is on line'],
  [4060, 'the database can not be opened: while it fails over, and if there is none'],
  [4064, "the same of the login's own database"],
  [4221, 'the secondary waits for transactions of the primary before it can be read'],
  [17142, 'the server is paused'],
  [17197, 'the server is too busy to log anybody in in time'],
  [18401, 'the server is in script upgrade mode: it is starting'],
  [18451, 'only administrators are let in at this time'],
]);

/** The same in Azure. */
const AZURE_LATER: ReadonlyMap<number, string> = new Map([
  [10928, 'a limit of resources is reached'],
  [10929, 'too busy'],
  [10936, 'a limit of requests is reached'],
  [40501, 'busy'],
  [42108, 'the pool is paused'],
  [42109, 'the pool is starting'],
  [49918, 'not enough resources'],
  [49919, 'too many operations'],
  [49920, 'too many operations'],
]);

/** No loss. A replay that meets one of these starts again from the beginning (R10). */
const MOMENT: ReadonlyMap<number, string> = new Map([
  [701, 'out of memory'],
  [1105, 'out of room in a file group'],
  [1204, 'out of locks'],
  [1205, 'a deadlock'],
  [1222, 'a lock was not given in time'],
  [3960, 'a conflict of snapshots'],
  [3966, 'a version of a row is gone, as there was no room for it'],
  [8628, 'a plan was not made in time'],
  [8645, 'out of memory for a query'],
  [8651, 'the same'],
  [9002, 'the log is full'],
  [41301, 'a conflict in a memory-optimised table'],
  [41302, 'the same of writes'],
  [41305, 'the same of repeatable reads'],
  [41325, 'the same of serializable reads'],
  [41839, 'too many dependencies of transactions'],
]);

/** A statement that is answered so is in doubt, and its session looks for another server. */
export function isLoss(number: number): boolean {
  return LOSS.has(number) || AZURE_LOSS.has(number);
}

/** A host that refuses a login so is asked again. */
export function isTryLater(number: number): boolean {
  return isLoss(number) || LATER.has(number) || AZURE_LATER.has(number);
}

/** It says something of the moment, and nothing of the server or of the statement. */
export function liesInTheMoment(number: number): boolean {
  return MOMENT.has(number);
}
