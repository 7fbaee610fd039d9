import { SqlError, type SqlRunner } from '../sql-runner.ts';
import { LruMap } from '../../lru-map.ts';
import { pinned } from '../sql/pinned-sql.ts';
import { recordableRelation, recordedText, type RecordedText } from './record-returning.ts';
import { factsOfTableCalled } from './table-facts.ts';

/** Texts whose form is kept. */
const MAX_TEXTS = 2_000;
/** How long what the catalogue said is believed. Somebody else may change it meanwhile: then the server refuses. */
const TIME_TO_LIVE_MILLIS = 60_000;

/**
 * $1: the name of a table. Its readable columns; none if it is no ordinary table, may be seen in part only, or has code on
 * it that could see the statement's text.
 */
const READABLE = pinned(`
  select a.attname
  from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid
  where c.oid = pg_catalog.to_regclass($1)::pg_catalog.oid and a.attnum >= 1 and not a.attisdropped
    and c.relkind = 'r'::pg_catalog."char" and c.relpersistence <> 't'::pg_catalog."char"
    and not c.relrowsecurity and not c.relhasrules and not c.relhassubclass
    and pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')`);

interface Known {
  /** Null: it runs as it is. */
  readonly form: RecordedText | null;
  readonly untilMillis: number;
}

/** What is known of the statements of one client or pool: in which form they return the values that the server makes. */
export class RecordedTexts {
  readonly #known = new LruMap<string, Known>(MAX_TEXTS);

  /** The form of a text under a search_path; null if it runs as it is, undefined if nobody knows yet. */
  form(text: string, searchPath: string): RecordedText | null | undefined {
    const known = this.#known.get(keyOf(text, searchPath));
    if (known === undefined || performance.now() >= known.untilMillis) return undefined;
    return known.form;
  }

  /** Asks over a connection that is idle. All questions leave at once. Rejects if the connection is lost. */
  async learn(text: string, searchPath: string, runner: SqlRunner): Promise<void> {
    const untilMillis = performance.now() + TIME_TO_LIVE_MILLIS;
    const relation = recordableRelation(text);
    let form: RecordedText | null = null;
    if (relation !== null) {
      try {
        form = await formOf(text, relation, runner);
      } catch (error) {
        if (!(error instanceof SqlError)) throw error;
      }
    }
    // What a server has refused meanwhile stays as it is.
    if (this.form(text, searchPath) === undefined) {
      this.#known.set(keyOf(text, searchPath), { form, untilMillis });
    }
  }

  /** A server has refused the form: the text runs as it is from now on. */
  refused(text: string, searchPath: string): void {
    this.#known.set(keyOf(text, searchPath), { form: null, untilMillis: Number.POSITIVE_INFINITY });
  }

  /** A definition was changed. */
  forget(): void {
    this.#known.clear();
  }
}

async function formOf(text: string, relation: string, runner: SqlRunner): Promise<RecordedText | null> {
  const [table, readable] = await Promise.all([
    factsOfTableCalled(relation, runner),
    runner.run(READABLE, [relation]),
  ]);
  if (table?.isPlain !== true || table.hasTriggers) return null;
  const form = recordedText(text, table);
  if (form === null) return null;
  const names = new Set(readable.map(([name]) => name));
  return form.columns.every(({ name }) => names.has(name)) ? form : null;
}

function keyOf(text: string, searchPath: string): string {
  return `${searchPath}\n${text}`;
}
