import { abortable } from '../cluster/abortable.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import type { CommittedJudgement, JudgingServer } from './judge-committed.ts';
import { SqlError, type SqlRow } from './sql-runner.ts';
import { resolveTokens } from './token/resolve-tokens.ts';
import { tokenText } from '../session/token-key.ts';
import { tokenNames } from './token/token-objects.ts';

const BEGIN_SQL = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE';
const SETTINGS_SQL =
  `SELECT pg_catalog.set_config('lock_timeout', '1s', true), pg_catalog.set_config('statement_timeout', '0', true), ` +
  `pg_catalog.set_config('synchronous_commit', 'on', true), ` +
  `pg_catalog.set_config('idle_in_transaction_session_timeout', '5s', true)`;

/**
 * Judges acknowledged transactions by their tokens, all in one transaction of ours: where a token was put, its row is on
 * every server that has the transaction, and on no other (R9).
 *
 * Rejects if the connection is lost.
 */
export async function judgeByToken(
  transactions: readonly CommittedTransaction[],
  schema: string,
  server: JudgingServer,
): Promise<readonly CommittedJudgement[]> {
  const words = await askTogether(transactions, schema, server);
  if (words !== null) return transactions.map((one, index) => judgement(one, words[index]!));
  const judgements: CommittedJudgement[] = [];
  for (const one of transactions) judgements.push(await judgeAlone(one, schema, server));
  return judgements;
}

/** Of the application's own attempts to commit it, and of ours. */
export function keysOf({ tokens, attempts }: CommittedTransaction): readonly Buffer[] {
  return attempts.length === 0 ? tokens : [...tokens, ...attempts];
}

function judgement({ isWrite }: CommittedTransaction, words: readonly (string | null)[]): CommittedJudgement {
  if (words.includes('committed')) return { verdict: 'survived', reason: 'token-committed' };
  if (words.every((word) => word === 'fenced')) {
    // Where nobody has seen a token written there may have been nothing to write.
    return isWrite
      ? { verdict: 'lost', reason: 'token-fenced' }
      : { verdict: 'unknown', reason: 'token-fenced' };
  }
  return { verdict: 'unknown', reason: words.includes('purged') ? 'token-purged' : 'token-refused' };
}

/** The words of each one's tokens; null if one of them could not be asked for in this way. */
async function askTogether(
  transactions: readonly CommittedTransaction[],
  schema: string,
  { runner, signal }: JudgingServer,
): Promise<readonly (readonly (string | null)[])[] | null> {
  const sql = `SELECT ${tokenNames(schema).resolveToken}($1::pg_catalog.uuid)`;
  // Written without waiting: the runner keeps their order, and behind a failed one the others fail as well.
  const steps: Promise<readonly SqlRow[]>[] = [runner.run(BEGIN_SQL), runner.run(SETTINGS_SQL)];
  const answers = transactions.map((one) =>
    keysOf(one).map((key) => {
      const answer = runner.run(sql, [tokenText(key)]);
      steps.push(answer);
      return answer;
    }),
  );
  // Not an answer before it is committed. In a failed transaction that is a ROLLBACK.
  steps.push(runner.run('COMMIT'));
  const ended = await abortable(Promise.allSettled(steps), signal);
  const failure = ended.find((one) => one.status === 'rejected');
  if (failure !== undefined) {
    if (failure.reason instanceof SqlError) return null;
    throw failure.reason;
  }
  return await Promise.all(
    answers.map((one) => Promise.all(one.map(async (answer) => (await answer)[0]?.[0] ?? null))),
  );
}

/** One may be in the way of the others: prepared, its token is locked until it is over. */
async function judgeAlone(
  transaction: CommittedTransaction,
  schema: string,
  { runner, signal }: JudgingServer,
): Promise<CommittedJudgement> {
  const { preparedAs, isWrite } = transaction;
  const { outcome, reason } = await resolveTokens({
    keys: keysOf(transaction),
    preparedAs,
    // It was acknowledged, and stays in the log until the standbys have it.
    synchronousStandbys: false,
    runner,
    schema,
    backend: null,
    signal,
  });
  if (outcome === 'committed') return { verdict: 'survived', reason };
  if (outcome === 'not-committed' && isWrite) return { verdict: 'lost', reason };
  return reason === 'no-answer' || reason === 'not-replicated'
    ? { verdict: 'open' }
    : { verdict: 'unknown', reason };
}
