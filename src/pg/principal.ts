import type { SessionSnapshot } from './session-snapshot.ts';
import type { StatementText } from './statement-text.ts';

/**
 * The state in which a transaction began, null as dialled (A15), if all of `unproved` have left it alone; or why nobody
 * knows it.
 */
export type Principal =
  | {
      readonly kind: 'known';
      readonly snapshot: SessionSnapshot | null;
      /** Texts that ran before, and of which it is still to be proved. */
      readonly unproved: readonly StatementText[];
    }
  | { readonly kind: 'unknown'; readonly reason: string };
