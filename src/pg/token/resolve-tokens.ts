import { isReplicated } from '../is-replicated.ts';
import { isPrepared } from '../prepared-transaction.ts';
import { runUntil } from '../question-in-doubt.ts';
import { tokenText } from '../../session/token-key.ts';
import { resolveToken, type TokenInDoubt, type TokenReason } from './token-resolver.ts';

/** Stable names, for events and tests. */
export type TokensReason = TokenReason;

export interface TokensInDoubt extends Omit<TokenInDoubt, 'token'> {
  /** The keys of all attempts to commit the same, in order. */
  readonly keys: readonly Buffer[];
  /** The identifier, if what is in doubt is a PREPARE TRANSACTION: 'committed' then means that it took effect. */
  readonly preparedAs: string | null;
  /** The server has some: what is prepared counts only when one of them has it (A5). */
  readonly synchronousStandbys: boolean;
}

export interface TokensResolution {
  readonly outcome: 'committed' | 'not-committed' | 'unknown';
  readonly reason: TokensReason;
  /** It was not the last of them that took effect. */
  readonly isOfEarlierAttempt?: boolean;
}

/**
 * Finds out by the tokens of all attempts what became of a unit (R3, R6): it took effect if any of them did. Not committed
 * only if each is fenced: the first may have committed on a branch of the history that only this server follows.
 */
export async function resolveTokens({
  keys,
  preparedAs,
  synchronousStandbys,
  ...question
}: TokensInDoubt): Promise<TokensResolution> {
  let last: TokensResolution = { outcome: 'unknown', reason: 'token-refused' };
  let unknown: TokensResolution | null = null;
  for (const key of keys) {
    const { outcome, reason } =
      preparedAs === null
        ? await resolveToken({ ...question, token: tokenText(key) })
        : await resolvePrepared(question, tokenText(key), preparedAs, synchronousStandbys);
    if (outcome === 'committed') {
      return key === keys.at(-1) ? { outcome, reason } : { outcome, reason, isOfEarlierAttempt: true };
    }
    last = { outcome: outcome === 'fenced' ? 'not-committed' : 'unknown', reason };
    if (outcome === 'unknown') unknown ??= last;
    if (question.signal.aborted) break;
  }
  return unknown ?? last;
}

/** Its token stays locked for as long as the transaction is prepared. */
async function resolvePrepared(
  question: Omit<TokenInDoubt, 'token'>,
  token: string,
  preparedAs: string,
  synchronousStandbys: boolean,
): ReturnType<typeof resolveToken> {
  const { runner, signal } = question;
  const untilDeadline = runUntil(signal, runner);
  const resolution = await resolveToken({
    ...question,
    token,
    hasTakenEffect: async () =>
      (await isPrepared(untilDeadline, preparedAs)) &&
      (!synchronousStandbys || (await isReplicated(runner, signal))),
  });
  // Without an xid there was no token to hold, and the name is taken all the same: by this one, or by somebody else's.
  const isUnclear = resolution.outcome === 'fenced' && (await isPrepared(runner, preparedAs));
  return isUnclear ? { outcome: 'unknown', reason: resolution.reason } : resolution;
}
