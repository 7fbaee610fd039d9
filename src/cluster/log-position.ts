/**
 * A place in a cluster's write-ahead log. A position says nothing without its timeline: two timelines use the same
 * numbers for different bytes (design review A15).
 */
export interface LogPosition {
  readonly timeline: number;
  readonly position: bigint;
}
