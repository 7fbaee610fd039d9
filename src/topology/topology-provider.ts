import type { HostAddress } from './host-address.ts';

/** What somebody believes about a cluster at one moment. */
export interface TopologyView {
  /** Every host worth asking, in the order in which to ask. The order matters only between equals. */
  readonly hosts: readonly HostAddress[];
  /** The host believed to be the primary, if the provider has an opinion. */
  readonly primary?: HostAddress | undefined;
}

/**
 * Something that knows where the servers of one cluster may be: a fixed list, DNS, Patroni, a cloud's API.
 *
 * A provider *suggests*; a probe on the live connection *decides*. Nothing a provider answers makes the driver write to
 * a host that is in recovery, read-only, of another cluster or on an older timeline, so a stale or wrong answer costs
 * time and never data. Any object with `discover` will do; the driver wraps it once with `guardProvider`, so a
 * provider need not care about deadlines, repeated calls or its own failures.
 *
 * `discover` is called for each new connection, when a failover starts and again while it lasts. Calls may overlap.
 *
 * | `discover` gives | what the driver does |
 * |---|---|
 * | hosts, no `primary` | Asks all of them. The only eligible one is taken; two are refused as ambiguous. |
 * | hosts and a `primary` among them | Asks all of them, the named one first. The name settles which of several *eligible* hosts is taken, and lets a host be taken that can't tell its timeline; it makes no host eligible. |
 * | a `primary` that is not among the hosts | As if it stood first in the list. |
 * | a `primary` that turns out to be a standby, read-only or dead | The name is ignored for this round, the other hosts decide. The next round asks again. |
 * | an empty list | Not believed, since it is what a broken source answers: the last good view stays, the event says so. A `primary` beside an empty list is a list of one. |
 * | the same host twice | Counted once (by `hostKey`). |
 * | a host never seen before | Asked like the others. It is taken only if it proves to be of the same cluster (system identifier). |
 * | a list that lacks a host of the last one | The missing host is asked no more. Sessions that are open on it stay: only a probe ends a session. |
 * | another answer than the time before | The latest good answer counts, as a whole; answers are never merged. |
 * | something that is no view (no `hosts`, a bad port, `undefined`) | As an empty list: the last good view stays, the error is reported. |
 * | a rejection, or an exception thrown at once | The same. |
 * | nothing in time | `signal` is aborted and the last good view used. A late answer is thrown away, a late rejection is swallowed. |
 * | any failure before the first good view | The hosts of the connection settings; if there are none, no host at all, and the driver asks again until `failover.timeoutMillis` is over. |
 */
export interface TopologyProvider {
  /**
   * Says what is believed now.
   *
   * @param signal - aborted when nobody waits for the answer any more; heeding it is polite, not required
   */
  discover(signal: AbortSignal): Promise<TopologyView>;

  /**
   * Optional. Calls `onChange` whenever a new `discover` would give another answer, and returns how to stop that.
   * Not called yet: for now the driver asks `discover` when it needs to. This is what it will do:
   *
   * | `watch` | what the driver does |
   * |---|---|
   * | is absent | Calls `discover` when it needs to. |
   * | calls `onChange` | Calls `discover` soon, but not more often than its floor interval; calls in between are one. |
   * | calls `onChange` before it returns, or after it was stopped | The first is heeded, the second is not. |
   * | throws, or returns no function | The error is reported, and it is as if `watch` were absent. |
   * | its stop function throws | The error is reported. It is called at most once. |
   */
  watch?(onChange: () => void): () => void;
}
