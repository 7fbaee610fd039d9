import type { QueryResult } from 'pg';
import type { Client } from '../../../src/pg.ts';
import { settle } from '../settle.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { Entry } from './ledger.ts';

/** `id` has no key: what is written twice is there twice. */
export const SET_UP = `
  CREATE TABLE entry (id text NOT NULL, part int NOT NULL);
  CREATE TABLE tally (slot int PRIMARY KEY, n int NOT NULL);
  INSERT INTO tally SELECT slot, 0 FROM generate_series(1, 8) AS slot`;
const SLOTS = 8;

/** What a script works with. Each method rejects with what the application was told. */
export interface ScriptRun {
  readonly client: Client;
  readonly random: SeededRandom;
  open(): Entry;
  /** The application thinks: a moment in which the transaction is open and nothing is under way. */
  think(): Promise<void>;
  /** Sends what ends the transaction, and concludes from the answer what became of the entry. */
  end(entry: Entry, sql: string): Promise<void>;
}

export type Script = (run: ScriptRun) => Promise<void>;

/** Writes one row of the entry, in one of the ways in which applications send statements. */
async function write({ client, random }: ScriptRun, entry: Entry, kept = true): Promise<void> {
  const values = [entry.id, entry.nextPart(kept)];
  switch (random.integer(1, 4)) {
    case 1:
      await client.query(`INSERT INTO entry VALUES ('${values.join(`', '`)}')`);
      return;
    case 2:
      await client.query({ name: 'write-entry', text: 'INSERT INTO entry VALUES ($1, $2)', values });
      return;
    case 3: {
      const { rows } = await client.query<{ id: string }>(
        'INSERT INTO entry VALUES ($1, $2) RETURNING id',
        values,
      );
      if (rows[0]?.id !== entry.id) throw new Error(`RETURNING gave ${JSON.stringify(rows)}`);
      return;
    }
    default:
      await client.query('INSERT INTO entry VALUES ($1, $2)', values);
  }
}

async function several(run: ScriptRun, entry: Entry): Promise<void> {
  for (let rows = run.random.integer(1, 3); rows > 0; rows--) {
    await write(run, entry);
    await run.think();
  }
}

function insertText(entry: Entry): string {
  return `INSERT INTO entry VALUES ('${entry.id}', ${entry.nextPart()})`;
}

/** Transactions of which the driver can tell in every case what became of them, as long as a standby is promoted. */
export const SCRIPTS = {
  async plain(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    const { rows } = await run.client.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM entry WHERE id = $1',
      [entry.id],
    );
    if (rows[0]?.n !== entry.parts.length)
      throw new Error(`${entry.id} sees ${JSON.stringify(rows)} of its rows`);
    await run.end(entry, 'COMMIT');
  },
  async savepoint(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    if (run.random.chance(0.5)) await write(run, entry);
    await run.client.query('SAVEPOINT first');
    await write(run, entry, false);
    await run.think();
    await run.client.query('ROLLBACK TO first');
    await several(run, entry);
    if (run.random.chance(0.5)) await run.client.query('RELEASE first');
    await run.end(entry, 'COMMIT');
  },
  async failedSavepoint(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    await run.client.query('SAVEPOINT first');
    await write(run, entry, false);
    const { error } = await settle(run.client.query('SELECT 1 / 0'));
    if (error?.code !== '22012') throw error ?? new Error('1 / 0 succeeded');
    await run.client.query('ROLLBACK TO first');
    await write(run, entry);
    await run.end(entry, 'COMMIT');
  },
  async rolledBack(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    await run.end(entry, 'ROLLBACK');
  },
  async failed(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    const { error } = await settle(run.client.query('SELECT 1 / 0'));
    if (error?.code !== '22012') throw error ?? new Error('1 / 0 succeeded');
    await run.think();
    await run.end(entry, 'COMMIT');
  },
  async lazy(run) {
    const entry = run.open();
    entry.isDurable = false;
    await run.client.query('BEGIN');
    await run.client.query('SET LOCAL synchronous_commit = off');
    await several(run, entry);
    await run.end(entry, 'COMMIT');
  },
  async strings(run) {
    const entry = run.open();
    await run.client.query(`BEGIN; ${insertText(entry)}; ${insertText(entry)}`);
    await run.think();
    if (run.random.chance(0.5)) await run.end(entry, `${insertText(entry)}; COMMIT`);
    else await run.end(entry, 'COMMIT');
  },
  async chain(run) {
    let entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    for (let more = run.random.integer(1, 2); more > 0; more--) {
      await run.end(entry, 'COMMIT AND CHAIN');
      entry = run.open();
      await several(run, entry);
    }
    await run.end(entry, run.random.chance(0.8) ? 'COMMIT' : 'ROLLBACK');
  },
  /** Its xid exists before any of its records does (A3). */
  async earlyXid(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await run.client.query('SELECT pg_current_xact_id() IS NOT NULL AS assigned');
    await run.think();
    await several(run, entry);
    await run.end(entry, 'COMMIT');
  },
  async counter(run) {
    const entry = run.open();
    entry.slot = run.random.integer(1, SLOTS);
    await run.client.query('BEGIN');
    await write(run, entry);
    await run.client.query('UPDATE tally SET n = n + 1 WHERE slot = $1', [entry.slot]);
    await run.think();
    await run.end(entry, 'COMMIT');
  },
  /** What it writes depends on what it has read, as with money. */
  async readThenWrite(run) {
    const entry = run.open();
    entry.slot = run.random.integer(1, SLOTS);
    await run.client.query('BEGIN');
    const { rows } = await run.client.query<{ n: number }>('SELECT n FROM tally WHERE slot = $1 FOR UPDATE', [
      entry.slot,
    ]);
    await run.think();
    await run.client.query('UPDATE tally SET n = $1 WHERE slot = $2', [rows[0]!.n + 1, entry.slot]);
    await write(run, entry);
    await run.end(entry, 'COMMIT');
  },
} as const satisfies Readonly<Record<string, Script>>;

/** These give the driver no mark before what is in doubt (R3): in flight they are unknown. */
export const UNMARKED_SCRIPTS = {
  async autocommit(run) {
    const entry = run.open();
    await run.end(entry, insertText(entry));
  },
  async wholeString(run) {
    const entry = run.open();
    await run.end(entry, `BEGIN; ${insertText(entry)}; ${insertText(entry)}; COMMIT`);
  },
  /** The second one begins inside a string and can't be replayed (A1). */
  async commitAndBegin(run) {
    const first = run.open();
    await run.client.query('BEGIN');
    await write(run, first);
    const second = run.open();
    await run.end(first, `${insertText(first)}; COMMIT; BEGIN; ${insertText(second)}`);
    await several(run, second);
    await run.end(second, 'COMMIT');
  },
  async prepared(run) {
    const entry = run.open();
    await run.client.query('BEGIN');
    await several(run, entry);
    const { error } = await settle(run.client.query(`PREPARE TRANSACTION '${entry.id}'`));
    if (error === undefined) {
      await run.end(entry, `COMMIT PREPARED '${entry.id}'`);
      return;
    }
    if (error.outcome === 'committed')
      throw new Error(`PREPARE TRANSACTION is told like a COMMIT`, { cause: error });
    await run.client.query('ROLLBACK');
    if (error.outcome !== 'unknown') throw error;
    // It is the application's to look.
    const found = await run.client.query('SELECT FROM pg_prepared_xacts WHERE gid = $1', [entry.id]);
    if (found.rowCount === 1) await run.end(entry, `ROLLBACK PREPARED '${entry.id}'`);
  },
} as const satisfies Readonly<Record<string, Script>>;

/** The command that decided: of a string with several statements the first one that ends a transaction. */
export function decidingCommand(answer: QueryResult | readonly QueryResult[]): string {
  const commands = (Array.isArray(answer) ? (answer as readonly QueryResult[]) : [answer as QueryResult]).map(
    ({ command }) => command,
  );
  return commands.find((command) => /^(COMMIT|ROLLBACK)/.test(command)) ?? commands[0]!;
}
