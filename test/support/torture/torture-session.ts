import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryResult } from 'pg';
import type { ClientConfig } from '../../../src/pg.ts';
import { Client } from '../../../src/pg.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { settle } from '../settle.ts';
import type { Entry, Ledger } from './ledger.ts';
import { decidingCommand, type Script, type ScriptRun } from './scripts.ts';

/** The application has been told; the script goes no further. */
class Concluded extends Error {}

const LONGEST_THOUGHT_MILLIS = 6;

/** One session of the application: one transaction after the other, until it is stopped. */
export class TortureSession {
  readonly #number: number;
  readonly #config: ClientConfig;
  readonly #random: SeededRandom;
  readonly #ledger: Ledger;
  readonly #scripts: readonly (readonly [string, Script])[];
  #client: Client | null = null;
  /** The driver's number for the session, once it has told it. */
  #id: number | null = null;
  #ending: Entry | null = null;
  #stopped = false;
  #finished = 0;
  #doing = 'nothing yet';

  constructor(
    number: number,
    config: ClientConfig,
    random: SeededRandom,
    ledger: Ledger,
    scripts: Readonly<Record<string, Script>>,
  ) {
    this.#number = number;
    this.#config = config;
    this.#random = random;
    this.#ledger = ledger;
    this.#scripts = Object.entries(scripts);
  }

  /** Transactions that it has been told about. */
  get finished(): number {
    return this.#finished;
  }

  /** What it waits for, for the message of a time-out. */
  get doing(): string {
    return `session ${this.#number}: ${this.#doing}`;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Ends when it is stopped, with its last transaction told. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const [name, script] = this.#random.pick(this.#scripts);
      await this.#runScript(name, script);
      this.#finished++;
    }
    await this.#client?.end();
  }

  async #runScript(name: string, script: Script): Promise<void> {
    const opened: Entry[] = [];
    try {
      const client = (this.#client ??= await this.#connect());
      await script(this.#scriptRun(name, client, opened));
    } catch (error) {
      if (!(error instanceof Concluded)) {
        const last = opened.at(-1) ?? this.#ledger.open(name, this.#number);
        this.#ledger.failed(last, error);
      }
      await this.#recover();
    }
    for (const entry of opened) entry.conclude('absent', 'the application never sent its COMMIT');
  }

  #scriptRun(name: string, client: Client, opened: Entry[]): ScriptRun {
    const run: ScriptRun = {
      client,
      random: this.#random,
      open: () => {
        const entry = this.#ledger.open(name, this.#number);
        opened.push(entry);
        this.#doing = `${name} of ${entry.id}`;
        return entry;
      },
      think: async () => {
        if (this.#random.chance(0.5)) await sleep(this.#random.next() * LONGEST_THOUGHT_MILLIS);
      },
      end: async (entry, sql) => {
        this.#doing = `${sql} of ${entry.id}`;
        entry.isEndSent = true;
        this.#ending = entry;
        const { value, error } = await settle(client.query(sql) as Promise<QueryResult | QueryResult[]>);
        this.#ending = null;
        if (error !== undefined) {
          this.#ledger.failed(entry, error);
          throw new Concluded();
        }
        const command = decidingCommand(value!);
        entry.conclude(command.startsWith('ROLLBACK') ? 'absent' : 'committed', command);
      },
    };
    return run;
  }

  /** What applications do after an error: ROLLBACK, and a new connection if that does not work. */
  async #recover(): Promise<void> {
    this.#doing = 'ROLLBACK after an error';
    const client = this.#client;
    if (client === null) {
      await sleep(20); // It could not connect: not at once again.
      return;
    }
    const { error } = await settle(client.query('ROLLBACK'));
    if (error === undefined) return;
    this.#client = null;
    await client.end().catch(() => undefined);
  }

  async #connect(): Promise<Client> {
    this.#doing = 'connecting';
    const client = new Client(this.#config);
    client.on('error', (error) => {
      this.#ledger.surprises.push(`session ${this.#number} emitted 'error': ${error.message}`);
    });
    client.failover!.on('waiting', ({ session }) => (this.#id = session));
    client.failover!.on('commitResolved', (verdict) => {
      if (verdict.session === this.#id && this.#ending !== null) this.#ending.verdict = verdict;
    });
    try {
      await client.connect();
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    return client;
  }
}
