import { runBatch, ServerError } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { TokenKeys } from '../../session/token-key.ts';
import {
  presenceQuestion,
  readTime,
  timeQuestion,
  tokenInsert,
  tokenPresence,
  type TokenPresence,
} from '../token/token-batches.ts';

/** What a session does with commit tokens: whether its database has them, and the key of the open transaction. */
export class SessionTokens {
  readonly #schema: string;
  readonly #isWanted: boolean;
  /** Their time is the server's, and above its mark; no answer rests on it (design review A11). */
  readonly #keys = new TokenKeys();
  #presence: TokenPresence = 'absent';
  /** The database of the login, which is the one that was asked about. */
  #home: string | null = null;
  #isElsewhere = false;
  /** Written into the open transaction, in front of a unit of which nobody knows how it ends. */
  #key: string | null = null;

  constructor(schema: string, isWanted: boolean) {
    this.#schema = schema;
    this.#isWanted = isWanted;
  }

  get schema(): string {
    return this.#schema;
  }

  get areAvailable(): boolean {
    return this.#presence === 'present' && !this.#isElsewhere;
  }

  /** They are not asked for with `commitOutcome: 'none'`. */
  get areWanted(): boolean {
    return this.#isWanted;
  }

  get presence(): TokenPresence {
    return this.#presence;
  }

  /** Of the open transaction, if its token is in it. */
  get writtenKey(): string | null {
    return this.#key;
  }

  newKey(): string {
    return this.#keys.next().toString('hex');
  }

  /** Asked outside of a transaction on each new connection: a refused hidden statement must never cost one (D1). */
  async ask(connection: ServerConnection): Promise<void> {
    this.#home ??= connection.link.facts.remarks.reduce<string | null>(
      (home, remark) => (remark.kind === 'database' ? remark.value : home),
      null,
    );
    this.#presence = this.#isWanted ? await this.#look(connection) : 'absent';
  }

  async #look(connection: ServerConnection): Promise<TokenPresence> {
    const presence = tokenPresence(await runBatch(connection, presenceQuestion(this.#schema)));
    if (presence !== 'present') return presence;
    const time = readTime(await runBatch(connection, timeQuestion(this.#schema)));
    if (time === null) return 'refused';
    this.#keys.observe(time);
    return presence;
  }

  /** Another database, of which nothing is known: without tokens, then. */
  databaseChanged(name: string): void {
    this.#isElsewhere = name !== this.#home;
  }

  /** Writes the token into the open transaction. Rejects if the server refuses it. */
  async write(connection: ServerConnection): Promise<string> {
    if (this.#key !== null) return this.#key;
    const key = this.newKey();
    const { errors } = await runBatch(connection, tokenInsert(this.#schema, key));
    if (errors[0] !== undefined) throw new ServerError(errors[0]);
    this.#key = key;
    return key;
  }

  transactionEnded(): void {
    this.#key = null;
  }
}
