import { nodeOf, textOf, visitNodes, type Fields } from '../sql/syntax-tree.ts';
import type { GivenColumn, GivenValue } from './given-answer.ts';
import {
  calledName,
  expressionFacts,
  replaceNodes,
  TRANSACTION_IDENTITY,
  TRANSACTION_TIME,
} from './made-values.ts';
import { castNode, expressionNode } from './sql-nodes.ts';

/** timestamp and timestamptz. */
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;
/** int4, int8, xid8. */
const IDENTITY_TYPES: ReadonlyMap<number, string> = new Map([
  [23, 'pg_catalog.int4'],
  [20, 'pg_catalog.int8'],
  [5069, 'pg_catalog.xid8'],
]);
/** Microseconds from 1970 to 2000, where the binary form begins. */
const EPOCH_MICROS = 946_684_800_000_000n;

/** Types that a keyword's value has, by its operation without the precision. */
const KEYWORD_TYPES: ReadonlyMap<string, string> = new Map([
  ['SVFOP_CURRENT_DATE', 'date'],
  ['SVFOP_CURRENT_TIME', 'time with time zone'],
  ['SVFOP_CURRENT_TIMESTAMP', 'timestamp with time zone'],
  ['SVFOP_LOCALTIME', 'time without time zone'],
  ['SVFOP_LOCALTIMESTAMP', 'timestamp without time zone'],
]);

/** Statements whose expressions are for their own run; in a definition they are for later. */
const RUNS_NOW: ReadonlySet<string> = new Set([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'DeclareCursorStmt',
  'CopyStmt',
  'CreateTableAsStmt',
  'ExplainStmt',
]);

interface KnownTime {
  /** An expression of type timestamptz. */
  readonly sql: string;
  /** It says its zone itself. */
  readonly isAbsolute: boolean;
  /** The higher, the less was lost of it. */
  readonly rank: number;
}

/**
 * What is the same for all statements of one transaction, as far as the application has seen it: the time at which it
 * began, its identifier, its server process. Pinned for all its statements or for none (A9).
 */
export class TransactionConstants {
  #time: KnownTime | null = null;
  readonly #identities = new Map<string, string>();
  /** The application has seen something of the time, from which the time itself can't be told. */
  #wasSeenInPart = false;
  /** The transaction sets the zone or the style of times: what is shown in them can't be read with certainty. */
  readonly #zoneMayChange: boolean;

  constructor(zoneMayChange: boolean) {
    this.#zoneMayChange = zoneMayChange;
  }

  /** True if there is anything that a replay would get wrong. */
  get wasSeen(): boolean {
    return this.#time !== null || this.#wasSeenInPart || this.#identities.size > 0;
  }

  /** True if it is known by what a session's own zone showed of it. */
  get dependsOnZone(): boolean {
    return this.#time !== null && !this.#time.isAbsolute;
  }

  /** True if it can be put in the place of `now()`. */
  get isTimeKnown(): boolean {
    return this.#time !== null;
  }

  /** Takes the value of an expression that is the transaction's time, which may have been rounded to a column's type. */
  sawTime(value: GivenValue, column: GivenColumn): void {
    const isExact = column.typeOid === TIMESTAMPTZ || column.typeOid === TIMESTAMP;
    const isCertain = column.format === 1 && column.typeOid === TIMESTAMPTZ;
    const isReadable = isExact && (isCertain || !this.#zoneMayChange);
    const text = value === null || !isReadable ? null : timeText(value, column);
    if (text === null) {
      this.#wasSeenInPart = true;
      return;
    }
    const precision = column.typeModifier < 0 ? 6 : column.typeModifier;
    const rank = precision * 2 + (column.typeOid === TIMESTAMPTZ ? 1 : 0);
    if (this.#time !== null && this.#time.rank >= rank) return;
    const literal = `'${text.replaceAll("'", "''")}'`;
    this.#time = {
      sql:
        column.typeOid === TIMESTAMPTZ
          ? `CAST(${literal} AS timestamptz)`
          : `CAST(CAST(${literal} AS timestamp) AS timestamptz)`,
      isAbsolute: column.typeOid === TIMESTAMPTZ,
      rank,
    };
  }

  /** Takes the value of a call of `name`, one of `TRANSACTION_IDENTITY`. */
  sawIdentity(name: string, value: GivenValue, column: GivenColumn): void {
    const type = IDENTITY_TYPES.get(column.typeOid);
    if (value === null || type === undefined || column.format !== 0) {
      this.#wasSeenInPart = true;
      return;
    }
    this.#identities.set(name, `CAST('${value.toString('latin1').replace(/\D/g, '')}' AS ${type})`);
  }

  /** The application has seen something that was made from the time. */
  sawPart(): void {
    this.#wasSeenInPart = true;
  }

  /** The time of the transaction as an expression. Null if it is not known. */
  timeNode(): unknown {
    return this.#time === null ? null : expressionNode(this.#time.sql);
  }

  /** Puts what is known in the place of each call, anywhere in a statement. True if there was one. */
  replaceIn(statement: unknown): boolean {
    if (!this.wasSeen || !RUNS_NOW.has(nodeOf(statement)?.tag ?? '')) return false;
    keepNames(statement);
    let hasReplaced = false;
    replaceNodes(statement, (tag, fields) => {
      const put = this.#replacement(tag, fields);
      if (put !== undefined) hasReplaced = true;
      return put;
    });
    return hasReplaced;
  }

  /** A column's default with what is known put in. Null if it uses something that is not known. */
  defaultNode(expression: string): unknown {
    const list = [{ ResTarget: { val: expressionNode(expression) } }];
    const statement = { SelectStmt: { targetList: list } };
    if (!this.replaceIn(statement) || expressionFacts(statement).isConstant) return null;
    return list[0]!.ResTarget.val;
  }

  #replacement(tag: string, fields: Fields): unknown {
    if (tag === 'FuncCall') {
      const name = calledName(fields);
      if (TRANSACTION_TIME.has(name)) return this.timeNode() ?? undefined;
      const identity = TRANSACTION_IDENTITY.has(name) ? this.#identities.get(name) : undefined;
      return identity === undefined ? undefined : expressionNode(identity);
    }
    if (tag !== 'SQLValueFunction' || this.#time === null) return undefined;
    const [, operation = '', precise] = /^(SVFOP_[A-Z_]+?)(_N)?$/.exec(textOf(fields['op']) ?? '') ?? [];
    const type = KEYWORD_TYPES.get(operation);
    if (type === undefined) return undefined;
    const { typmod } = fields;
    const precision = precise === undefined ? '' : `(${typeof typmod === 'number' ? typmod : 0})`;
    return castNode(
      this.timeNode(),
      type.replace(/^\w+/, (word) => `${word}${precision}`),
    );
  }
}

/** A column of a result is called by the function that it consists of: the name stays if the function does not. */
function keepNames(statement: unknown): void {
  visitNodes(statement, ({ tag, fields }) => {
    if (tag !== 'ResTarget' || fields['name'] !== undefined) return undefined;
    const name = nameOf(fields['val']);
    if (name !== null) (fields as Record<string, unknown>)['name'] = name;
    return undefined;
  });
}

/** What PostgreSQL calls a column that consists of this. Null if it is none of those that are replaced. */
function nameOf(value: unknown): string | null {
  let node = nodeOf(value);
  while (node?.tag === 'TypeCast' || node?.tag === 'CollateClause') node = nodeOf(node.fields['arg']);
  if (node?.tag === 'FuncCall') return calledName(node.fields);
  if (node?.tag !== 'SQLValueFunction') return null;
  return (textOf(node.fields['op']) ?? '')
    .replace(/^SVFOP_/, '')
    .replace(/_N$/, '')
    .toLowerCase();
}

function timeText(value: Buffer, column: GivenColumn): string | null {
  if (column.format === 0) return value.toString('utf8');
  if (value.length !== 8) return null;
  const micros = value.readBigInt64BE() + EPOCH_MICROS;
  if (micros < 0n) return null;
  const seconds = new Date(Number(micros / 1_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = (micros % 1_000_000n).toString().padStart(6, '0');
  return `${seconds}.${fraction}${column.typeOid === TIMESTAMPTZ ? '+00' : ''}`;
}
