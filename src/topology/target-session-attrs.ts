/**
 * Which servers a new session may be opened on, in libpq's spelling:
 *
 * - `any`: whichever answers
 * - `read-write`: one that takes writes: not in recovery and `default_transaction_read_only` off
 * - `read-only`: one that does not
 * - `primary`: one that is not in recovery
 * - `standby`: one that is in recovery
 * - `prefer-standby`: a standby if any answers, else whichever does
 */
export const TARGET_SESSION_ATTRS = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
] as const;

/** One of libpq's words for what kind of host a session wants: see `target_session_attrs` in the reference of options. */
export type TargetSessionAttrs = (typeof TARGET_SESSION_ATTRS)[number];
