import type { PgUnit } from '../pg-unit.ts';
import type { ServerConnection } from '../server-connection.ts';
import { SqlError, type SqlRunner } from '../sql-runner.ts';
import { loadParser, parse } from '../sql/parser.ts';
import { fieldsOf, listOf, namesOf, nodeOf, visitNodes } from '../sql/syntax-tree.ts';
import { loadDeparser, writeStatement } from './deparser.ts';
import { readAnswers, type GivenAnswer } from './given-answer.ts';
import { HiddenQuestions } from './hidden-questions.ts';
import { hiddenUse } from './hidden-uses.ts';
import { expressionFacts } from './made-values.ts';
import { moveSequence } from './move-sequence.ts';
import { noteSeenConstants } from './note-constants.ts';
import { pinCurrval } from './pin-currval.ts';
import { pinStatement } from './pin-statement.ts';
import { unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { writtenRelation } from './written-relation.ts';
import { namedSequences } from './sequence-names.ts';
import { PinnedValues } from './sql-nodes.ts';
import { relationCalled, tableFacts, type TableFacts } from './table-facts.ts';
import { TransactionConstants } from './transaction-constants.ts';
import {
  preparePinned,
  readWireStatement,
  withPinnedBind,
  withText,
  type WireStatement,
} from './wire-statement.ts';

/** How a unit is replayed. */
export type PinnedForm =
  /** `reason`: why what differs in it can't be pinned; null if nothing does. The digest decides. */
  | { readonly kind: 'as-it-is'; readonly reason: string | null }
  | {
      readonly kind: 'pinned';
      /** To be sent in front, as a unit of its own. */
      readonly prepare: Buffer | null;
      readonly bytes: Buffer;
      /** It gives what a sequence would have given: currval must not tell of an earlier value (A9). */
      readonly givesDrawn: boolean;
      readonly reason: string | null;
    }
  /** R7: run in any way it would not fit what the application has seen. */
  | { readonly kind: 'refused'; readonly reason: string };

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
/** At this length parsing holds up the process for some 50 ms. */
const MAX_CHARACTERS = 262_144;

/** One statement of a unit, parsed. */
interface ParsedStatement {
  readonly tree: unknown;
  readonly answer: GivenAnswer | null;
}

/**
 * Replays a journal with the values that the database made and the application has seen (design.md section 5): finds out
 * what these are, moves the sequences past them, and gives for each unit the form in which it runs again.
 */
export class JournalPins {
  readonly #journal: PinnableJournal;
  readonly #questions: SqlRunner;
  readonly #constants: TransactionConstants;
  readonly #tables = new Map<number, TableFacts>();
  /** Sequence → why it could not be moved, null if it was. */
  readonly #moved = new Map<number, string | null>();
  /** Sequence → its last value in the session, where that was given and not drawn. */
  readonly #current = new Map<number, bigint>();
  readonly #usesCurrval: boolean;
  #setsSequences = false;
  /** Units of the journal that have run, or are on their way. */
  #passed = 0;

  private constructor(journal: PinnableJournal, connection: ServerConnection) {
    this.#journal = journal;
    this.#questions = new HiddenQuestions(connection);
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
    if (unit.texts.some(({ text }) => SETS_SEQUENCES.test(text))) this.#setsSequences = true;
    if (unit.texts.some((text) => text.mayDefine)) this.#tables.clear();
  }

  async #prepare(onAnotherConnection: OnAnotherConnection): Promise<void> {
    const units = this.#journal.units.filter((unit) => unit.error === null && hasSeen(unit));
    const parsed = units.flatMap((unit) => {
      const wire = this.#wire(unit);
      const statements = typeof wire === 'string' ? wire : this.#parse(unit, wire);
      return typeof wire === 'string' || typeof statements === 'string' ? [] : [{ wire, statements }];
    });
    const oids = parsed.flatMap(({ statements }) =>
      statements.flatMap(({ answer }) => tableOf(answer) ?? []),
    );
    await this.#learn([...new Set(oids)]);
    for (const { wire, statements } of parsed) {
      for (const { tree, answer } of statements) {
        noteSeenConstants({
          ...this.#input(wire, tree, answer),
          table: this.#tables.get(tableOf(answer) ?? 0) ?? null,
        });
      }
    }
    const drawn = new Map<number, bigint[]>();
    for (const { wire, statements } of parsed) {
      for (const { tree, answer } of statements) {
        const table = this.#tables.get(tableOf(answer) ?? 0) ?? null;
        const pins = pinStatement({ ...this.#input(wire, tree, answer), table });
        for (const { sequence, values } of pins.drawn) {
          const oid =
            typeof sequence === 'number' ? sequence : await relationCalled(sequence, this.#questions);
          if (oid !== null) drawn.set(oid, [...(drawn.get(oid) ?? []), ...values]);
        }
      }
    }
    if (drawn.size === 0) return;
    await onAnotherConnection(async (runner) => {
      for (const [oid, values] of drawn) this.#moved.set(oid, await moveSequence(oid, values, runner));
    });
  }

  async #form(unit: PgUnit): Promise<PinnedForm> {
    const setsZone = unit.texts.some(({ text }) => SETS_ZONE.test(text));
    if (setsZone && this.#constants.dependsOnZone && !this.#journal.units.includes(unit)) {
      return this.#unwritable('it sets the zone of times');
    }
    const wire = this.#wire(unit);
    if (typeof wire === 'string') return this.#unwritable(wire);
    const statements = this.#parse(unit, wire);
    if (typeof statements === 'string') return this.#unwritable(statements);
    const values = new PinnedValues(wire.parameters.length);
    const run: PinnedTree[] = [];
    for (const { tree, answer } of statements) {
      const pinned = await this.#pin(wire, tree, answer, values);
      if (typeof pinned === 'string') return refused(pinned);
      run.push(pinned);
    }
    const reason = run.find((one) => one.reason !== null)?.reason ?? null;
    if (!run.some(({ isPinned }) => isPinned)) return { kind: 'as-it-is', reason };
    const texts = run.map(({ tree }) => writeStatement(tree));
    if (texts.includes(null)) return this.#unwritable('its pinned form can’t be written');
    const givesDrawn = run.some((one) => one.givesDrawn);
    if (wire.isSimple) {
      if (values.parameters.length > 0) return this.#unwritable('its result was binary');
      return { kind: 'pinned', prepare: null, bytes: withText(texts.join('; ')), givesDrawn, reason };
    }
    if (wire.parameters.length + values.parameters.length > MAX_PARAMETERS) {
      return this.#unwritable('it has more values than a statement can take');
    }
    return {
      kind: 'pinned',
      prepare: preparePinned(texts.join('; '), typesOf(wire, run[0]?.tree, values)),
      bytes: withPinnedBind(this.#journal.unitBytes(unit), values.parameters),
      givesDrawn,
      reason,
    };
  }

  /** One statement, pinned as far as it can be. A string says why it must not run at all (R7). */
  async #pin(
    wire: WireStatement,
    original: unknown,
    answer: GivenAnswer | null,
    values: PinnedValues,
  ): Promise<PinnedTree | string> {
    const relation = writtenRelation(original);
    const table = relation === null ? null : await this.#tableCalled(relation);
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
    const notMoved = pins.drawn.map(({ sequence }) => this.#whyNotMoved(oidOf(sequence))).find(Boolean);
    if (notMoved !== undefined) pins = unpinned(notMoved!);
    if (!pins.isPinned) values.forgetBehind(before);
    const tree = pins.isPinned ? attempt : plain;
    const hasCurrval =
      this.#usesCurrval && pinCurrval(tree, wire.parameters, (name) => this.#current.get(oidOf(name) ?? 0));
    if (this.#constants.wasSeen) {
      const where = (await hiddenUse(tree, relation, this.#questions)) ?? timeDefault(tree, relation, table);
      if (where !== null) return `transaction time was seen, and ${where} uses it`;
    }
    this.#noteDrawn(pins, oidOf, tree, table);
    return {
      tree,
      isPinned: pins.isPinned || hasConstants || hasCurrval,
      givesDrawn: pins.drawn.length > 0,
      reason: pins.reason,
    };
  }

  #unwritable(reason: string): PinnedForm {
    this.#current.clear();
    if (!this.#constants.wasSeen) return { kind: 'as-it-is', reason };
    return refused(`transaction time was seen, and it can’t be put in: ${reason}`);
  }

  #noteDrawn(
    pins: StatementPins,
    oidOf: (sequence: number | string) => number | null,
    tree: unknown,
    table: TableFacts | null,
  ): void {
    // What nobody sees through may have drawn as well.
    const isUnknown = pins.reason !== null && !pins.isPinned;
    const { unseen, hasNextval } = expressionFacts(tree);
    const isUnseen = unseen?.startsWith('it calls') === true || table?.hasTriggers === true;
    if (isUnknown || hasNextval || isUnseen) {
      this.#current.clear();
    }
    for (const sequence of pins.drawsFrom) this.#current.delete(oidOf(sequence) ?? 0);
    for (const { sequence, values } of pins.drawn) {
      const oid = oidOf(sequence) ?? 0;
      const last = values.at(-1);
      if (last === undefined || !pins.givesCurrent) this.#current.delete(oid);
      else this.#current.set(oid, last);
    }
  }

  #whyNotMoved(sequence: number | null): string | null {
    if (sequence === null) return 'its sequence is not found';
    if (this.#setsSequences) return 'its transaction sets sequences itself';
    const why = this.#moved.get(sequence);
    return why === undefined ? 'its sequence was made in the same transaction' : why;
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

  #wire(unit: PgUnit): WireStatement | string {
    return readWireStatement(
      this.#journal.unitBytes(unit),
      (name) => unit.nameUses?.find((use) => use.name === name)?.statement?.parseMessage,
    );
  }

  #parse(unit: PgUnit, wire: WireStatement): readonly ParsedStatement[] | string {
    const outcome = parse(wire.text, MAX_CHARACTERS);
    if (outcome.kind === 'not-understood') return outcome.reason;
    const answers = unit.answer === null ? [] : readAnswers(unit.answer);
    const isWhole = answers.length === outcome.statements.length;
    if (answers.length > 0 && !isWhole) return 'its results can’t be told apart';
    return outcome.statements.map((tree, index) => ({ tree, answer: answers[index] ?? null }));
  }

  async #tableCalled(relation: string): Promise<TableFacts | null> {
    const oid = await relationCalled(relation, this.#questions);
    if (oid === null) return null;
    await this.#learn([oid]);
    return this.#tables.get(oid) ?? null;
  }

  async #learn(oids: readonly number[]): Promise<void> {
    const unknown = oids.filter((oid) => !this.#tables.has(oid));
    for (const [oid, facts] of await tableFacts(unknown, this.#questions)) this.#tables.set(oid, facts);
  }
}

interface PinnedTree {
  readonly tree: unknown;
  readonly isPinned: boolean;
  readonly givesDrawn: boolean;
  readonly reason: string | null;
}

const MAX_PARAMETERS = 65_535;
/** text and bytea: they take the value of a parameter that nothing uses any more. */
const ANY_TEXT = 25;
const ANY_BYTES = 17;

function hasSeen(unit: PgUnit): boolean {
  return unit.answer !== null && unit.answer.length > 0;
}

function refused(reason: string): PinnedForm {
  return { kind: 'refused', reason };
}

/** The one table that the columns of an answer are from. */
function tableOf(answer: GivenAnswer | null): number | null {
  return answer?.columns?.find(({ tableOid }) => tableOid !== 0)?.tableOid ?? null;
}

/** Of a parameter that was only in what is pinned now, nobody could find out the type. */
function typesOf(wire: WireStatement, tree: unknown, values: PinnedValues): readonly number[] {
  const used = new Set<unknown>();
  visitNodes(tree, ({ tag, fields }) => {
    if (tag === 'ParamRef') used.add(fields['number']);
    return undefined;
  });
  const own = wire.parameters.map(({ format }, index) => {
    const declared = wire.types[index] ?? 0;
    if (declared !== 0 || used.has(index + 1)) return declared;
    return format === 0 ? ANY_TEXT : ANY_BYTES;
  });
  return [...own, ...values.types];
}

/** A column that takes the transaction's time by its default, where nothing was put in. */
function timeDefault(tree: unknown, relation: string | null, table: TableFacts | null): string | null {
  const insert = nodeOf(tree);
  if (relation !== null && table?.isPlain === false) return 'a view or a rule';
  if (relation === null || (insert?.tag !== 'InsertStmt' && insert?.tag !== 'CopyStmt')) return null;
  if (table === null) return 'a table that is not found';
  if (insert.tag === 'CopyStmt') {
    const listed = namesOf(insert.fields['attlist']);
    const isOpen = table.columns.some(
      ({ name, default: value }) =>
        value?.facts.isConstant === true && listed.length > 0 && !listed.includes(name),
    );
    return isOpen ? 'a default' : null;
  }
  const targets = listOf(insert.fields['cols']);
  const select = fieldsOf(insert.fields['selectStmt'], 'SelectStmt');
  const [first] = listOf(select?.['valuesLists']);
  const width =
    targets.length > 0 ? 0 : listOf(fieldsOf(first, 'List')?.['items'] ?? select?.['targetList']).length;
  const named = new Set(targets.map((target) => fieldsOf(target, 'ResTarget')?.['name']));
  const isDefault = listOf(select?.['valuesLists']).some((list) =>
    listOf(fieldsOf(list, 'List')?.['items']).some((item) => nodeOf(item)?.tag === 'SetToDefault'),
  );
  const found = table.columns.some(
    (column, index) =>
      column.default?.facts.isConstant === true &&
      (isDefault || (targets.length > 0 ? !named.has(column.name) : index >= width)),
  );
  return found ? 'a default' : null;
}
