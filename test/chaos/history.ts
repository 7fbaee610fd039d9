import type { WriteStream } from 'node:fs';
import { createWriteStream, readFileSync } from 'node:fs';
import { once } from 'node:events';
import type { Blow } from '../support/torture/nemesis.ts';
import type { UnknownResolution } from './checks/unknown-outcomes.ts';
import type { Books } from './checks/bank.ts';
import type { ParentsAndChildren } from './checks/generated-ids.ts';
import type { Registers } from './checks/registers.ts';
import type { Replication } from './options.ts';
import type { LossReport, Transaction } from './transaction.ts';

/** What the checks must know of the run beside its transactions. */
export interface Circumstances {
  readonly seed: number;
  readonly replication: Replication;
  readonly mayBeUnknown: boolean;
  /** What the driver does with lost commits; null if it says nothing of them. */
  readonly lostCommits: 'report' | 'reapply' | null;
}

/** What is in the database when all is over. */
export interface FinalState {
  readonly lists: readonly (readonly [key: number, list: readonly number[]])[];
  readonly books: Books;
  readonly registers: Registers;
  readonly rows: ParentsAndChildren;
}

/** Everything that was seen while one cluster lived. */
export interface Episode {
  readonly circumstances: Circumstances;
  readonly transactions: readonly Transaction[];
  readonly blows: readonly Blow[];
  readonly resolutions: readonly UnknownResolution[];
  readonly reported: readonly LossReport[];
  readonly finalState: FinalState;
}

/** A line of the file. The type of the first four is Jepsen's. */
type Line =
  | { readonly type: 'invoke'; readonly process: number; readonly time: number; readonly marker: string }
  | {
      readonly type: 'ok' | 'fail' | 'info';
      readonly process: number;
      readonly time: number;
      readonly value: Transaction;
    }
  | { readonly type: 'circumstances'; readonly value: Circumstances }
  | { readonly type: 'blow'; readonly value: Blow }
  | { readonly type: 'driver'; readonly time: number; readonly event: string; readonly value: unknown }
  | { readonly type: 'resolution'; readonly value: UnknownResolution }
  | { readonly type: 'reported'; readonly value: LossReport }
  | { readonly type: 'final'; readonly value: FinalState };

/** Writes everything down as it happens, one JSON object a line, and keeps what the checks need. */
export class History {
  readonly transactions: Transaction[] = [];
  readonly blows: Blow[] = [];
  readonly resolutions: UnknownResolution[] = [];
  readonly reported: LossReport[] = [];
  readonly #circumstances: Circumstances;
  readonly #file: WriteStream;

  constructor(path: string, circumstances: Circumstances) {
    this.#file = createWriteStream(path);
    this.#circumstances = circumstances;
    this.#write({ type: 'circumstances', value: circumstances });
  }

  invoke(process: number, marker: string): void {
    this.#write({ type: 'invoke', process, time: performance.now(), marker });
  }

  complete(transaction: Transaction): void {
    this.transactions.push(transaction);
    const { status, process, endedAt } = transaction;
    this.#write({ type: status, process, time: endedAt, value: transaction });
  }

  blow(blow: Blow): void {
    this.blows.push(blow);
    this.#write({ type: 'blow', value: blow });
  }

  driverEvent(event: string, value: unknown): void {
    this.#write({ type: 'driver', time: performance.now(), event, value });
  }

  unknownResolution(reason: string): void {
    const value = { at: performance.now(), reason };
    this.resolutions.push(value);
    this.#write({ type: 'resolution', value });
  }

  reportedLost(report: LossReport): void {
    this.reported.push(report);
    this.#write({ type: 'reported', value: report });
  }

  /** Closes the file. */
  async end(finalState: FinalState): Promise<Episode> {
    this.#write({ type: 'final', value: finalState });
    await this.close();
    const { transactions, blows, resolutions, reported } = this;
    return { circumstances: this.#circumstances, transactions, blows, resolutions, reported, finalState };
  }

  async close(): Promise<void> {
    if (this.#file.closed) return;
    this.#file.end();
    await once(this.#file, 'close');
  }

  #write(line: Line): void {
    this.#file.write(`${JSON.stringify(line)}\n`);
  }
}

/** Reads a file that was kept. */
export function readEpisode(path: string): Episode {
  const transactions: Transaction[] = [];
  const blows: Blow[] = [];
  const resolutions: UnknownResolution[] = [];
  const reported: LossReport[] = [];
  let circumstances: Circumstances | undefined;
  let finalState: FinalState | undefined;
  for (const text of readFileSync(path, 'utf8').split('\n')) {
    if (text === '') continue;
    const line = JSON.parse(text) as Line;
    switch (line.type) {
      case 'ok':
      case 'fail':
      case 'info':
        transactions.push(line.value);
        break;
      case 'circumstances':
        circumstances = line.value;
        break;
      case 'blow':
        blows.push(line.value);
        break;
      case 'resolution':
        resolutions.push(line.value);
        break;
      case 'reported':
        reported.push(line.value);
        break;
      case 'final':
        finalState = line.value;
        break;
      case 'invoke':
      case 'driver':
        break;
    }
  }
  if (circumstances === undefined || finalState === undefined)
    throw new Error(`${path} has no beginning or no end: that run was broken off`);
  return { circumstances, transactions, blows, resolutions, reported, finalState };
}
