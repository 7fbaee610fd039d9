import type { SeededRandom } from '../../support/seeded-random.ts';
import { effects } from '../final-state.ts';
import type { TransactionRun } from '../transaction-run.ts';
import type { Body, Workload } from './workload.ts';

const ACTIVE_LISTS = 6;
/** A list that is longer is left alone, and a new one begun. */
const LONGEST_LIST = 40;
const APPEND =
  'INSERT INTO list VALUES ($1, ARRAY[$2::int]) ' +
  'ON CONFLICT (key) DO UPDATE SET elements = list.elements || excluded.elements';
const READ = 'SELECT elements FROM list WHERE key = $1';

/** Lists to which transactions append values that are used once, and which they read. */
export class ListAppend implements Workload {
  readonly name = 'list-append';
  readonly weight = 5;
  readonly setUp = 'CREATE TABLE list (key int PRIMARY KEY, elements int[] NOT NULL)';
  readonly #lengths = new Map<number, number>();
  #active = Array.from({ length: ACTIVE_LISTS }, (_, index) => index);
  #nextList = ACTIVE_LISTS;
  #nextValue = 1;

  transaction(random: SeededRandom): Body {
    // In one order, as careful applications lock; another one would only make deadlocks.
    const keys = Array.from({ length: random.integer(1, 4) }, () => random.integer(0, ACTIVE_LISTS - 1)).sort(
      (one, other) => one - other,
    );
    const acts = keys.map((slot) => ({
      slot,
      act: random.pick(['read', 'read', 'append', 'append', 'rewrite'] as const),
    }));
    return async (run) => {
      for (const { slot, act } of acts) {
        const key = this.#active[slot]!;
        if (act === 'read') await read(run, key, run.random.chance(0.2));
        else if (act === 'append') await this.#append(run, key);
        else await this.#rewrite(run, key);
        await run.think();
      }
    };
  }

  statement(random: SeededRandom): Body {
    const slot = random.integer(0, ACTIVE_LISTS - 1);
    const kind = random.pick(['read', 'append', 'append', 'string', 'transaction in a string'] as const);
    if (kind === 'string' || kind === 'transaction in a string')
      return async (run) => {
        await this.#appendTwice(run, slot, kind);
      };
    const isRead = kind === 'read';
    return async (run) => {
      const key = this.#active[slot]!;
      if (isRead) await read(run, key, false);
      else await this.#append(run, key);
    };
  }

  async #appendTwice(run: TransactionRun, slot: number, kind: string): Promise<void> {
    const keys = [this.#active[slot]!, this.#active[(slot + 1) % ACTIVE_LISTS]!].sort(
      (one, other) => one - other,
    );
    const statements = keys.map((key) => [APPEND, [key, this.#take(run, key)]] as const);
    if (kind === 'string') await run.writeString([...statements, ['SELECT 1', []]]);
    else {
      run.end = 'BEGIN; …; COMMIT';
      await run.writeString([['BEGIN', []], ...statements, ['COMMIT', []]]);
    }
  }

  async #append(run: TransactionRun, key: number): Promise<void> {
    const value = this.#take(run, key);
    const returning = run.random.chance(0.5);
    const sentAt = performance.now();
    const rows = await run.write<{ elements: number[] }>(
      returning ? `${APPEND} RETURNING elements` : APPEND,
      [key, value],
    );
    if (returning) run.observe({ kind: 'list-read', key, list: rows[0]!.elements, locked: false, sentAt });
  }

  /** What it writes rests on what it has read: replayed on anything else it would undo the work of others. */
  async #rewrite(run: TransactionRun, key: number): Promise<void> {
    const list = await read(run, key, !run.hasSnapshot);
    if (list === undefined) {
      await this.#append(run, key);
      return;
    }
    await run.think();
    const value = this.#take(run, key);
    await run.write('UPDATE list SET elements = $2 WHERE key = $1', [key, [...list, value]]);
  }

  /** Noted before it is sent: it may be there even if no answer comes. */
  #take(run: TransactionRun, key: number): number {
    const value = this.#nextValue++;
    const length = (this.#lengths.get(key) ?? 0) + 1;
    this.#lengths.set(key, length);
    if (length === LONGEST_LIST) {
      const replacement = this.#nextList++;
      this.#active = this.#active.map((one) => (one === key ? replacement : one));
    }
    run.observe({ kind: 'append', key, value });
    run.effect(effects.append(key, value));
    return value;
  }
}

/** Undefined if there is no such list yet. */
async function read(run: TransactionRun, key: number, lock: boolean): Promise<readonly number[] | undefined> {
  const sentAt = performance.now();
  const rows = await run.read<{ elements: number[] }>(lock ? `${READ} FOR UPDATE` : READ, [key]);
  const list = rows[0]?.elements;
  // A row that is not there can't be locked.
  run.observe({ kind: 'list-read', key, list: list ?? [], locked: lock && list !== undefined, sentAt });
  return list;
}
