import { expect } from 'vitest';
import type { FailoverLab, WatchedClient } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const REFUSALS: readonly unknown[] = ['session-closed', 'transaction-not-replayable'];

/** Loses the connection. The answer must be the one from before, or the session has ended with its reason. */
export async function expectKeptOrRefused(
  lab: FailoverLab,
  client: WatchedClient,
  sql: string,
  before: unknown,
): Promise<void> {
  lab.proxy.cut();
  const { value, error } = await settle(client.query(sql));
  if (error === undefined) {
    expect(value?.rows).toEqual(before);
    return;
  }
  await waitFor(() => kindsOf([error, ...client.seen.errors]).some((kind) => REFUSALS.includes(kind)), {
    message: `the reason, besides: ${error.message}`,
  });
}

function kindsOf(errors: readonly Error[]): unknown[] {
  return errors.map((error) => ('kind' in error ? error.kind : undefined));
}
