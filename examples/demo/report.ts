import type { Audit } from './audit.ts';
import { ACCOUNTS, OPENING_BALANCE } from './bank.ts';
import type { Ledger } from './ledger.ts';

export interface Result {
  readonly failovers: number;
  /** With a synchronous standby no outcome may stay unknown. */
  readonly synchronous: boolean;
  readonly ledger: Ledger;
  readonly audit: Audit;
  readonly stallMillis: { readonly p50: number; readonly max: number };
  readonly replays: number;
  readonly commitsResolved: number;
  readonly resolutions: readonly (readonly [string, number])[];
}

/** The line that `--json` prints. */
export function toJson({ failovers, ledger, audit, stallMillis }: Result): string {
  const { acknowledged, failed, unknown } = ledger.counts;
  return JSON.stringify({
    failovers,
    transactions: acknowledged + failed + unknown,
    acknowledged,
    lost: audit.lost,
    duplicated: audit.duplicated,
    applicationErrors: failed,
    unknown,
    stallMillis,
  });
}

/** Everything that is not as it should be, as sentences. */
export function complaints({ synchronous, ledger, audit }: Result): string[] {
  const { acknowledged, failed, unknown } = ledger.counts;
  const found: (readonly [boolean, string])[] = [
    [acknowledged === 0, 'no transfer was ever acknowledged'],
    [!audit.totalConserved, 'the total of all balances has changed'],
    [
      audit.wrongBalances > 0,
      `${audit.wrongBalances} accounts have another balance than their transfers make it`,
    ],
    [audit.lost > 0, `${audit.lost} transfers were acknowledged and are not there`],
    [audit.duplicated > 0, `${audit.duplicated} transfers are there more than once`],
    [
      audit.unexpected > 0,
      `${audit.unexpected} transfers are there although the application was told that they failed`,
    ],
    [failed > 0, `the application got ${failed} errors`],
    [synchronous && unknown > 0, `of ${unknown} transfers nobody knows what became of them`],
  ];
  return found.filter(([isWrong]) => isWrong).map(([, text]) => text);
}

/** The result for people. */
export function toText(result: Result): string {
  const { failovers, ledger, audit, stallMillis, replays, commitsResolved, resolutions } = result;
  const { acknowledged, failed, unknown } = ledger.counts;
  const wrong = complaints(result);
  const total = (ACCOUNTS * OPENING_BALANCE).toLocaleString('en-US');
  const lines = [
    '',
    `failovers                  ${failovers}`,
    `transfers acknowledged     ${acknowledged}`,
    `  lost                     ${audit.lost}`,
    `  duplicated               ${audit.duplicated}`,
    `transfers not acknowledged ${failed + unknown}`,
    `  application errors       ${failed} (${audit.unexpected} of them are there nevertheless)`,
    `  outcome unknown          ${unknown} (${audit.unknownCommitted} of them are there)`,
    `total of all balances      ${audit.totalConserved ? `${total}, as in the beginning` : 'WRONG'}`,
    `transactions replayed      ${replays}`,
    `commits resolved           ${commitsResolved}`,
    ...resolutions.map(([text, count]) => `  ${count} × ${text}`),
    `stall                      p50 ${stallMillis.p50} ms, max ${stallMillis.max} ms`,
  ];
  for (const [error, count] of ledger.errors.slice(0, 5)) lines.push(`  ${count} × ${error}`);
  lines.push('', ...(wrong.length === 0 ? ['All is well.'] : wrong.map((text) => `WRONG: ${text}`)), '');
  return lines.join('\n');
}
