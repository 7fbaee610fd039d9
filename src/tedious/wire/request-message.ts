/** One message of the client, whole. */
export interface RequestMessage {
  /** Of `MESSAGE`. */
  readonly type: number;
  /** What the client wants done to its session before the message runs (MS-TDS 2.2.3.1.2). */
  readonly reset: 'none' | 'reset' | 'reset-keep-transaction';
  /** ALL_HEADERS, where the type has them, and the body; without packet headers. */
  readonly payload: Buffer;
}
