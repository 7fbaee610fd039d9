import { bodyAt } from '../../../../src/tedious/wire/all-headers.ts';
import type { EngineSession, Parameter, ResultColumn, SqlValue } from '../engine.ts';
import type { AnswerWriter } from './answer-writer.ts';
import { ValueReader } from './read-values.ts';

const BY_NUMBER = 0xffff;
const OUTPUT = 1;
const NAMES: Readonly<Record<number, string>> = {
  10: 'sp_executesql',
  11: 'sp_prepare',
  12: 'sp_execute',
  13: 'sp_prepexec',
  15: 'sp_unprepare',
};

/** A call of a procedure, decoded. */
export interface Call {
  readonly procedure: string;
  readonly parameters: readonly Parameter[];
  /** What faults see of it. */
  readonly text: string;
}

/** The procedures of one session that the protocol knows. */
export class Calls {
  readonly #session: EngineSession;
  readonly #prepared = new Map<bigint, { sql: string; names: readonly string[] }>();
  #next = 1n;

  constructor(session: EngineSession) {
    this.#session = session;
  }

  read(payload: Buffer): Call {
    const reader = new ValueReader(payload, bodyAt(payload));
    const { cursor } = reader;
    const length = cursor.uint16();
    const procedure =
      length === BY_NUMBER
        ? (NAMES[cursor.uint16()] ?? '')
        : reader
            .bytes(length * 2)
            .toString('utf16le')
            .toLowerCase();
    cursor.skip(2);
    const parameters: Parameter[] = [];
    while (cursor.at < cursor.end) {
      const name = cursor.shortText();
      const isOutput = (cursor.uint8() & OUTPUT) !== 0;
      const { type, read } = reader.type();
      parameters.push({ name, type, value: read(), isOutput });
    }
    const statement = procedure === 'sp_prepare' ? parameters[2] : parameters[0];
    const isText = procedure === 'sp_executesql' || procedure === 'sp_prepare';
    const handle =
      procedure === 'sp_execute' ? this.#prepared.get(parameters[0]?.value as bigint) : undefined;
    const text = isText ? String(statement?.value) : (handle?.sql ?? procedure);
    return { procedure, parameters, text };
  }

  async run({ procedure, parameters }: Call, writer: AnswerWriter): Promise<void> {
    switch (procedure) {
      case 'sp_executesql': {
        const [statement, , ...values] = parameters;
        await this.#statement(String(statement?.value), values, writer);
        return;
      }
      case 'sp_prepare':
      case 'sp_prepexec': {
        const [handle, declaration, statement, ...values] = parameters;
        const number = this.#next++;
        const names = namesOf(String(declaration?.value ?? ''));
        this.#prepared.set(number, { sql: String(statement?.value), names });
        if (procedure === 'sp_prepexec') await this.#prepared_(number, values, writer);
        writer.event({
          kind: 'returnValue',
          name: handle?.name === '' ? '@handle' : (handle?.name ?? '@handle'),
          type: { name: 'int' },
          value: number,
        });
        return;
      }
      case 'sp_execute': {
        const [handle, ...values] = parameters;
        await this.#prepared_(handle?.value as bigint, values, writer);
        return;
      }
      case 'sp_unprepare':
        this.#prepared.delete(parameters[0]?.value as bigint);
        return;
      default:
        for await (const event of this.#session.callProcedure(procedure, parameters)) writer.event(event);
    }
  }

  async #prepared_(handle: bigint, values: readonly Parameter[], writer: AnswerWriter): Promise<void> {
    const found = this.#prepared.get(handle);
    if (found === undefined) {
      writer.event({
        kind: 'error',
        message: {
          number: 8179,
          state: 1,
          class: 16,
          message: `Could not find prepared statement with handle ${handle}.`,
          line: 1,
          procedure: '',
        },
      });
      writer.event({ kind: 'done', command: 0, rowCount: null });
      return;
    }
    const named = values.map((value, i) =>
      value.name === '' ? { ...value, name: found.names[i] ?? '' } : value,
    );
    await this.#statement(found.sql, named, writer);
  }

  async #statement(sql: string, values: readonly Parameter[], writer: AnswerWriter): Promise<void> {
    for await (const event of this.#session.runStatement(sql, values)) writer.event(event);
  }

  /** A bulk load: COLMETADATA, rows, DONE. */
  bulkRows(payload: Buffer): { columns: readonly ResultColumn[]; rows: AsyncIterable<readonly SqlValue[]> } {
    const reader = new ValueReader(payload, 1);
    const { cursor } = reader;
    const columns: ResultColumn[] = [];
    const readers: (() => SqlValue)[] = [];
    for (let left = cursor.uint16(); left > 0; left--) {
      cursor.skip(6);
      const { type, read } = reader.type();
      columns.push({ name: cursor.shortText(), type, nullable: true, identity: false });
      readers.push(read);
    }
    const rows = async function* (): AsyncGenerator<readonly SqlValue[]> {
      while (cursor.uint8() === 0xd1) yield await Promise.resolve(readers.map((read) => read()));
    };
    return { columns, rows: rows() };
  }
}

/** '@a int, @b nvarchar(10)' */
function namesOf(declaration: string): readonly string[] {
  return [...declaration.matchAll(/@\w+/g)].map(([name]) => name);
}
