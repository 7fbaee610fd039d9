import { FAILED } from '../session/journal.ts';
import type { Conversation } from './conversation.ts';
import type { PgUnit } from './pg-unit.ts';
import { hide } from './hidden-answer.ts';
import { RecordedAnswer } from './pinning/recorded-answer.ts';
import type { RecordedTexts } from './pinning/recorded-texts.ts';
import { parseIn, unnamedIn, withMoreColumns } from './pinning/wire-statement.ts';
import { SYNC_MESSAGE } from './frontend-messages.ts';
import type { ServerConnection } from './server-connection.ts';
import { loadParser, parserReady } from './sql/parser.ts';
import type { JudgedSession } from './statement-judge.ts';

/** What recording needs of its session. */
export interface RecordedSession {
  readonly conversation: Conversation;
  readonly connection: ServerConnection | null;
  readonly memory: {
    readonly judged: JudgedSession;
    readonly namesInDoubt: boolean;
    /** Why the session could not go on over another connection; null if it could, as far as anyone knows. */
    readonly knownRefusal: string | null;
  };
  unitBytes(unit: PgUnit): Buffer;
}

const WRITES = /^\s*(?:insert|update)\b/i;
/** Texts looked up in one idle moment. */
const TEXTS_AT_ONCE = 16;

/**
 * Has statements return the values that the server makes and the application has not asked for, so that a replay can give
 * them again (`failover.recordGeneratedValues`). The first run of a text goes out as it is: what is needed is learned
 * in an idle moment behind it, and no round trip is added.
 */
export class ValueRecorder {
  readonly #texts: RecordedTexts;
  readonly #session: RecordedSession;
  readonly #wanted = new Set<string>();
  #isLearning = false;
  /** The Parse that the application sent, where the unnamed statement on the server has more columns than that. */
  #unnamed: Buffer | null = null;

  constructor(texts: RecordedTexts, session: RecordedSession) {
    this.#texts = texts;
    this.#session = session;
  }

  /** Another connection, which has no unnamed statement. */
  connected(): void {
    this.#unnamed = null;
  }

  /** What to write in place of a unit that is about to leave; null if it goes as it is. Prepares its answer for that. */
  bytesFor(unit: PgUnit, connection: ServerConnection): Buffer | null {
    this.#restoreUnnamed(unit, connection);
    if (unit.texts.some(({ mayDefine }) => mayDefine)) this.#texts.forget();
    const [text] = unit.texts;
    if (text === undefined || !WRITES.test(text.text) || !this.#mayRecord(unit)) return null;
    const { searchPath } = this.#session.memory.judged;
    const form = this.#texts.form(text.text, searchPath ?? '');
    if (form === undefined && this.#wanted.size < TEXTS_AT_ONCE) this.#wanted.add(text.text);
    if (form == null) return null;
    const original = this.#session.unitBytes(unit);
    const bytes = withMoreColumns(original, form.text);
    if (bytes === null) return null;
    unit.recorded = new RecordedAnswer({
      columns: form.columns.length,
      returnsRows: form.returnsRows,
      isSimple: unit.simple,
    });
    if (!unit.simple) this.#unnamed = parseIn(original);
    return bytes;
  }

  /** The session has become idle. */
  idle(): void {
    if (this.#wanted.size === 0 || this.#isLearning) return;
    const { connection, memory } = this.#session;
    const { searchPath, temporaryObjects } = memory.judged;
    if (connection === null || searchPath === null || temporaryObjects) return;
    this.#isLearning = true;
    const done = (): void => {
      this.#isLearning = false;
    };
    if (!parserReady()) {
      loadParser().then(done, done);
      return;
    }
    const texts = [...this.#wanted];
    this.#wanted.clear();
    Promise.all(texts.map((text) => this.#texts.learn(text, searchPath, connection))).then(done, done);
  }

  /** A server has failed the unit, perhaps because of us: it runs again as it is. */
  refused(unit: PgUnit): void {
    unit.isNotRecordable = true;
    const { searchPath } = this.#session.memory.judged;
    for (const { text } of unit.texts) this.#texts.refused(text, searchPath ?? '');
  }

  /** Only where the transaction is kept, nothing else is under way, and names mean what they meant when they were looked up. */
  #mayRecord(unit: PgUnit): boolean {
    const { conversation, memory } = this.#session;
    const { journal, pending } = conversation;
    if (unit.texts.length !== 1 || unit.isNotRecordable || unit.synthetic !== null) return false;
    if (!unit.closed || unit.isMixed || unit.hasFlush || unit.nameUses !== null) return false;
    if (!unit.simple && !(unit.isPlain && unit.executes === 1)) return false;
    if (pending[0] !== unit || !conversation.isFresh(unit)) return false;
    // If a server refuses the columns, the transaction is replayed over another connection.
    if (!journal.open || journal.status === FAILED || journal.unreplayable !== null) return false;
    if (memory.knownRefusal !== null) return false;
    const { searchPath, standardStrings, temporaryObjects } = memory.judged;
    return searchPath !== null && standardStrings && !temporaryObjects && !memory.namesInDoubt;
  }

  /** One that binds what was parsed before must find what the application has parsed. */
  #restoreUnnamed(unit: PgUnit, connection: ServerConnection): void {
    const parse = this.#unnamed;
    if (parse === null) return;
    if (unit.simple) {
      this.#unnamed = null; // A Query drops it.
      return;
    }
    const use = unnamedIn(this.#session.unitBytes(unit));
    if (use === 'parsed') this.#unnamed = null;
    // What is still to come of the unit may use it.
    if (use === 'parsed' || (use === 'not' && unit.closed)) return;
    // In a failed transaction nothing can be parsed, nor bound.
    if (this.#session.conversation.journal.status === FAILED) return;
    hide(Buffer.concat([parse, SYNC_MESSAGE]), connection);
    this.#unnamed = null;
  }
}
