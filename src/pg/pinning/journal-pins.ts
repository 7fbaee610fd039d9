import type { PgUnit } from '../pg-unit.ts';
import type { ServerConnection } from '../server-connection.ts';
import { SqlError, type SqlRunner } from '../sql-runner.ts';
import { loadParser } from '../sql/parser.ts';
import { loadDeparser } from './deparser.ts';
import { DrawnSequences } from './drawn-sequences.ts';
import type { GivenAnswer } from './given-answer.ts';
import { hiddenUse } from './hidden-uses.ts';
import { KnownTables } from './known-tables.ts';
import { noteSeenConstants } from './note-constants.ts';
import { parseUnit, type ParsedUnit } from './parsed-unit.ts';
import { pinCurrval } from './pin-currval.ts';
import { pinStatement } from './pin-statement.ts';
import { writePinned, type PinnedForm, type PinnedTree } from './pinned-form.ts';
import { unpinned, type PinningInput } from './pinning-input.ts';
import { namedSequences } from './sequence-names.ts';
import { PinnedValues } from './sql-nodes.ts';
import { relationCalled } from './table-facts.ts';
import { timeDefault } from './time-default.ts';
import { TransactionConstants } from './transaction-constants.ts';
import type { WireStatement } from './wire-statement.ts';
import { writtenRelation } from './written-relation.ts';

/** What pinning reads of a journal: nothing of a session, so that any journal can be replayed with it. */
export interface PinnableJournal {
  readonly units: readonly PgUnit[];
  unitBytes(unit: PgUnit): Buffer;
}

/** Runs its argument with a connection of its own to the same server, outside of all transactions. */
export type OnAnotherConnection = (run: (runner: SqlRunner) => Promise<void>) => Promise<void>;

/** Statements that set sequences: what is drawn behind them depends on them, and is drawn again. */
const SETS_SEQUENCES = /\b(?:restart|setval)\b/i;
/** SET TIME ZONE, SET DateStyle, set_config: a time is shown and read by them. */
const SETS_ZONE = /\bset\b[\s\S]*\b(?:time\s*zone|datestyle)\b|set_config/i;

/**
 * Replays a journal with the values that the database made and the application has seen (design.md section 5): finds out
 * what these are, moves the sequences past them, and gives for each unit the form in which it runs again.
 */
export class JournalPins {
  readonly #journal: PinnableJournal;
  readonly #questions: SqlRunner;
  readonly #constants: TransactionConstants;
  readonly #tables: KnownTables;
  readonly #sequences = new DrawnSequences();
  readonly #usesCurrval: boolean;
  /** Units of the journal that have run, or are on their way. */
  #passed = 0;

  private constructor(journal: PinnableJournal, connection: ServerConnection) {
    this.#journal = journal;
    this.#questions = connection;
    this.#tables = new KnownTables(this.#questions);
    this.#constants = new TransactionConstants(
      journal.units.some((unit) => unit.texts.some(({ text }) => SETS_ZONE.test(text))),
    );
    this.#usesCurrval = journal.units.some((unit) =>
      unit.texts.some(({ text }) => /\bcurrval\b/i.test(text)),
    );
  }

  /**
   * To be called before the journal's transaction is opened on `connection`. Null if the application has seen nothing that
   * could differ. Rejects if a connection is lost.
   */
  static async prepare(
    journal: PinnableJournal,
    connection: ServerConnection,
    onAnotherConnection: OnAnotherConnection,
  ): Promise<JournalPins | null> {
    if (!journal.units.some(hasSeen)) return null;
    await loadParser();
    await loadDeparser();
    const pins = new JournalPins(journal, connection);
    try {
      await pins.#prepare(onAnotherConnection);
      return pins;
    } catch (error) {
      // The catalogue would not answer: nothing is pinned, and the digests decide.
      if (error instanceof SqlError) return null;
      throw error;
    }
  }

  /** True if the unit may have to run in another form than it did: `form` tells. */
  concerns(unit: PgUnit): boolean {
    if (unit.error !== null || unit.synthetic !== null) return false;
    if (hasSeen(unit)) return true;
    if (unit.texts.every((text) => text.isTransactionControl)) return false;
    return this.#constants.wasSeen || this.#usesCurrval;
  }

  /** True if what comes behind the journal is concerned as well: what the application has seen holds for it too. */
  get bindsWhatFollows(): boolean {
    return this.#constants.wasSeen || this.#usesCurrval;
  }

  /** The form in which the unit runs again; to be called when all before it has run. */
  async form(unit: PgUnit): Promise<PinnedForm> {
    const { units } = this.#journal;
    while (this.#passed < units.length && units[this.#passed] !== unit) this.#pass(units[this.#passed++]!);
    const form = await this.#form(unit);
    if (!units.includes(unit)) this.#pass(unit);
    return form;
  }

  /** The unit runs before all that comes. */
  #pass(unit: PgUnit): void {
    if (unit.texts.some(({ text }) => SETS_SEQUENCES.test(text))) this.#sequences.setByTransaction();
    if (unit.texts.some((text) => text.mayDefine)) this.#tables.forget();
  }

  async #prepare(onAnotherConnection: OnAnotherConnection): Promise<void> {
    const units = this.#journal.units.filter((unit) => unit.error === null && hasSeen(unit));
    const parsed = units.flatMap((unit) => {
      const one = this.#parse(unit);
      return typeof one === 'string' ? [] : [one];
    });
    const oids = parsed.flatMap(({ statements }) =>
      statements.flatMap(({ answer }) => tableOf(answer) ?? []),
    );
    await this.#tables.learn([...new Set(oids)]);
    for (const { wire, statements } of parsed) {
      for (const { tree, answer } of statements) {
        noteSeenConstants({
          ...this.#input(wire, tree, answer),
          table: this.#tables.withOid(tableOf(answer) ?? 0),
        });
      }
    }
    const drawn = new Map<number, bigint[]>();
    for (const { wire, statements } of parsed) {
      for (const { tree, answer } of statements) {
        const table = this.#tables.withOid(tableOf(answer) ?? 0);
        const pins = pinStatement({ ...this.#input(wire, tree, answer), table });
        for (const { sequence, values } of pins.drawn) {
          const oid =
            typeof sequence === 'number' ? sequence : await relationCalled(sequence, this.#questions);
          if (oid !== null) drawn.set(oid, [...(drawn.get(oid) ?? []), ...values]);
        }
      }
    }
    if (drawn.size === 0) return;
    await onAnotherConnection((runner) => this.#sequences.move(drawn, runner));
  }

  async #form(unit: PgUnit): Promise<PinnedForm> {
    const setsZone = unit.texts.some(({ text }) => SETS_ZONE.test(text));
    if (setsZone && this.#constants.dependsOnZone && !this.#journal.units.includes(unit)) {
      return this.#unwritable('it sets the zone of times');
    }
    const parsed = this.#parse(unit);
    if (typeof parsed === 'string') return this.#unwritable(parsed);
    const { wire, statements } = parsed;
    const values = new PinnedValues(wire.parameters.length);
    const run: PinnedTree[] = [];
    for (const { tree, answer } of statements) {
      const pinned = await this.#pin(wire, tree, answer, values);
      if (typeof pinned === 'string') return { kind: 'refused', reason: pinned };
      run.push(pinned);
    }
    const form = writePinned(this.#journal.unitBytes(unit), wire, run, values);
    return typeof form === 'string' ? this.#unwritable(form) : form;
  }

  /** One statement, pinned as far as it can be. A string says why it must not run at all (R7). */
  async #pin(
    wire: WireStatement,
    original: unknown,
    answer: GivenAnswer | null,
    values: PinnedValues,
  ): Promise<PinnedTree | string> {
    const relation = writtenRelation(original);
    const table = relation === null ? null : await this.#tables.called(relation);
    const sequences = new Map<string, number | null>();
    for (const name of namedSequences(original, wire.parameters)) {
      sequences.set(name, await relationCalled(name, this.#questions));
    }
    const oidOf = (sequence: number | string): number | null =>
      typeof sequence === 'number' ? sequence : (sequences.get(sequence) ?? null);
    const plain = structuredClone(original);
    const hasConstants = this.#constants.replaceIn(plain);
    const attempt = structuredClone(plain);
    const before = values.parameters.length;
    let pins = pinStatement({ ...this.#input(wire, attempt, answer), table, values });
    const notMoved = pins.drawn
      .map(({ sequence }) => this.#sequences.whyNotMoved(oidOf(sequence)))
      .find(Boolean);
    if (notMoved !== undefined) pins = unpinned(notMoved!);
    if (!pins.isPinned) values.forgetBehind(before);
    const tree = pins.isPinned ? attempt : plain;
    const hasCurrval =
      this.#usesCurrval &&
      pinCurrval(tree, wire.parameters, (name) => this.#sequences.currentOf(oidOf(name)));
    if (this.#constants.wasSeen) {
      const where = (await hiddenUse(tree, relation, this.#questions)) ?? timeDefault(tree, relation, table);
      if (where !== null) return `transaction time was seen, and ${where} uses it`;
    }
    this.#sequences.passed(pins, oidOf, tree, table);
    return {
      tree,
      isPinned: pins.isPinned || hasConstants || hasCurrval,
      givesDrawn: pins.drawn.length > 0,
      reason: pins.reason,
    };
  }

  #unwritable(reason: string): PinnedForm {
    this.#sequences.forgetCurrent();
    if (!this.#constants.wasSeen) return { kind: 'as-it-is', reason };
    return { kind: 'refused', reason: `transaction time was seen, and it can’t be put in: ${reason}` };
  }

  #parse(unit: PgUnit): ParsedUnit | string {
    return parseUnit(unit, this.#journal.unitBytes(unit));
  }

  #input(wire: WireStatement, tree: unknown, answer: GivenAnswer | null): PinningInput {
    return {
      tree,
      parameters: wire.parameters,
      answer,
      table: null,
      constants: this.#constants,
      values: new PinnedValues(wire.parameters.length),
    };
  }
}

function hasSeen(unit: PgUnit): boolean {
  return unit.answer !== null && unit.answer.length > 0;
}

/** The one table that the columns of an answer are from. */
function tableOf(answer: GivenAnswer | null): number | null {
  return answer?.columns?.find(({ tableOid }) => tableOid !== 0)?.tableOid ?? null;
}
