import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryResult, QueryResultRow } from 'pg';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Isolation, Observation } from './transaction.ts';

type Value = number | string | readonly number[];
interface Queryable {
  query(text: string): Promise<unknown>;
  query<R extends QueryResultRow>(config: {
    text: string;
    values?: Value[];
    name?: string;
    queryMode?: string;
  }): Promise<QueryResult<R>>;
}

const LONGEST_THOUGHT_MILLIS = 8;

/** Stands in every statement that writes: `lostCommit` events show texts, not values. */
export function markerComment(marker: string): string {
  return `/* chaos ${marker} */`;
}

/** The markers in a text. */
export function markersIn(text: string): string[] {
  return [...text.matchAll(/\/\* chaos (\S+) \*\//g)].map((match) => match[1]!);
}

/** One transaction while it runs: sends statements in one of the forms that applications use, and notes what it sees. */
export class TransactionRun {
  readonly marker: string;
  readonly isolation: Isolation;
  readonly random: SeededRandom;
  readonly observations: Observation[] = [];
  readonly effects: string[] = [];
  readonly possibleEffects: string[] = [];
  /** Set if the whole transaction, BEGIN and COMMIT too, is one string. */
  end: string | null = null;
  readonly #session: Queryable;

  constructor(marker: string, isolation: Isolation, random: SeededRandom, session: Queryable) {
    this.marker = marker;
    this.isolation = isolation;
    this.random = random;
    this.#session = session;
  }

  get hasSnapshot(): boolean {
    return this.isolation !== 'READ COMMITTED';
  }

  /** A statement that only reads. `$1` and so on stand for the values. */
  async read<R extends QueryResultRow>(text: string, values: readonly Value[] = []): Promise<R[]> {
    const name = this.random.chance(0.3) ? { name: text } : {};
    return await this.#query<R>(text, values, name);
  }

  /** A statement that writes. */
  async write<R extends QueryResultRow>(text: string, values: readonly Value[] = []): Promise<R[]> {
    const comment = markerComment(this.marker);
    return await this.#query<R>(
      this.random.chance(0.5) ? `${comment} ${text}` : `${text} ${comment}`,
      values,
    );
  }

  /** Several statements in one string; outside of a transaction they are one together. Gives no rows. */
  async writeString(
    statements: readonly (readonly [text: string, values: readonly Value[]])[],
  ): Promise<void> {
    const texts = statements.map(([text, values]) => withLiterals(text, values));
    await this.#session.query(`${markerComment(this.marker)} ${texts.join('; ')}`);
  }

  observe(observation: Observation): void {
    this.observations.push(observation);
  }

  /** What will be in the database if it commits. */
  effect(name: string): void {
    this.effects.push(name);
  }

  /** What may be there, until the answer has said more. */
  possibleEffect(name: string): void {
    this.possibleEffects.push(name);
  }

  /** The answer has said whether the possible effects are real ones. */
  settlePossible(areReal: boolean): void {
    const names = this.possibleEffects.splice(0);
    if (areReal) this.effects.push(...names);
  }

  /** The application thinks: the transaction is open and nothing is under way. */
  async think(): Promise<void> {
    if (this.random.chance(0.3)) await sleep(this.random.next() * LONGEST_THOUGHT_MILLIS);
  }

  async #query<R extends QueryResultRow>(
    text: string,
    values: readonly Value[],
    name: { readonly name?: string } = {},
  ): Promise<R[]> {
    // One string without values: the simple protocol.
    const isSimple = name.name === undefined && this.random.chance(0.4);
    const config = isSimple ? { text: withLiterals(text, values) } : { ...name, text, values: [...values] };
    return (await this.#session.query<R>(config)).rows;
  }
}

function withLiterals(text: string, values: readonly Value[]): string {
  return text.replaceAll(/\$(\d+)/g, (_, number: string) => {
    const value = values[Number(number) - 1]!;
    if (typeof value === 'number') return String(value);
    return typeof value === 'string' ? `'${value}'` : `'{${value.join()}}'`;
  });
}
