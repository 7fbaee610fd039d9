import pg from 'pg';
import type {
  EngineEvent,
  EngineSession,
  IsolationLevel,
  Parameter,
  ResultColumn,
  SqlType,
  SqlValue,
} from '../engine.ts';
import { ServerGoneError } from '../engine.ts';
import { faultOf, faultOfPostgres, sqlMessage, type StatementFault } from './errors.ts';
import { parseBatch, SyntaxFault, type Statement } from './statements.ts';
import {
  closing,
  isSymbol,
  nameOf,
  split,
  tableName,
  translate,
  translateCreateTable,
  wordOf,
  type Scope,
} from './translate.ts';
import type { Token } from '../../../../src/tedious/sql/lexer.ts';
import { sqlTypeOf } from './types.ts';

const COMMAND = {
  select: 0xc1,
  insert: 0xc3,
  delete: 0xc4,
  update: 0xc5,
  begin: 0xd4,
  commit: 0xd5,
  rollback: 0xd2,
};
const SERVER_NAME_LIMIT = 128;
/** As SQL Server has it with 1205 and XACT_ABORT: the batch is over. */
class BatchOver extends Error {}

export interface SessionFacts {
  readonly serverName: string;
  readonly database: string;
  readonly spid: number;
}

type Run = AsyncGenerator<EngineEvent, void>;

/** One session of the test server: T-SQL in front of one connection to PostgreSQL. */
export class PostgresSession implements EngineSession {
  readonly spid: number;
  readonly database: string;
  readonly #client: pg.Client;
  readonly #facts: SessionFacts;
  readonly #casing: Map<string, string>;
  #count = 0;
  #isolation: IsolationLevel = 'read committed';
  #xactAbort = false;
  #noCount = false;
  #lastError = 0;
  #rowCount = 0n;
  #isCancelled = false;
  #isGone = false;

  constructor(client: pg.Client, facts: SessionFacts, casing: Map<string, string>) {
    this.#client = client;
    this.#facts = facts;
    this.#casing = casing;
    this.spid = facts.spid;
    this.database = facts.database;
    client.on('error', () => {
      this.#isGone = true;
    });
    client.on('end', () => {
      this.#isGone = true;
    });
  }

  get isInTransaction(): boolean {
    return this.#count > 0;
  }

  runBatch(sql: string): AsyncIterable<EngineEvent> {
    return this.#batch(sql, new Map(), false);
  }

  runStatement(sql: string, parameters: readonly Parameter[]): AsyncIterable<EngineEvent> {
    return this.#dynamic(sql, parameters);
  }

  async *#dynamic(sql: string, parameters: readonly Parameter[]): Run {
    const variables = new Map(parameters.map((one) => [one.name.toUpperCase(), one]));
    // SET in it ends with it.
    const before = { xactAbort: this.#xactAbort, noCount: this.#noCount };
    try {
      yield* this.#batch(sql, variables, true);
    } finally {
      this.#xactAbort = before.xactAbort;
      this.#noCount = before.noCount;
    }
    for (const { name, isOutput } of parameters) {
      const now = variables.get(name.toUpperCase());
      if (isOutput && now !== undefined)
        yield { kind: 'returnValue', name, type: now.type, value: now.value };
    }
  }

  callProcedure(name: string, parameters: readonly Parameter[]): AsyncIterable<EngineEvent> {
    return this.#procedure(name, parameters);
  }

  /** A procedure is a function of PostgreSQL that returns a table or nothing. */
  async *#procedure(name: string, parameters: readonly Parameter[]): Run {
    const plain = name
      .replace(/^\[?dbo\]?\./i, '')
      .replaceAll(/[[\]]/g, '')
      .toLowerCase();
    const values = parameters.map(({ value }) => value);
    const places = values.map((_, i) => `$${i + 1}`).join(', ');
    const call = this.#guard(async function* (this: PostgresSession): Run {
      yield* this.#query(`SELECT * FROM "${plain}"(${places})`, values, COMMAND.select);
    });
    yield* this.#asRequest(call);
    yield { kind: 'returnStatus', value: 0 };
  }

  async *begin(isolation: IsolationLevel | null): Run {
    if (isolation !== null) this.#isolation = isolation;
    yield* this.#asRequest(this.#begin());
  }

  async *commit(): Run {
    yield* this.#asRequest(this.#commit());
  }

  async *rollback(name: string): Run {
    yield* this.#asRequest(this.#rollback(name));
  }

  async *save(name: string): Run {
    yield* this.#asRequest(this.#save(name));
  }

  /** There is nothing behind it that would not run. */
  async *#asRequest(run: Run): Run {
    try {
      yield* run;
    } catch (error) {
      if (!(error instanceof BatchOver)) throw error;
    }
  }

  async *bulkInsert(
    sql: string,
    columns: readonly ResultColumn[],
    rows: AsyncIterable<readonly SqlValue[]>,
  ): Run {
    const table = /^\s*insert\s+bulk\s+([^\s(]+)/i.exec(sql)?.[1] ?? '';
    const names = columns.map(({ name }) => `"${name.toLowerCase()}"`).join(', ');
    const target = table
      .replace(/^\[?dbo\]?\./i, '')
      .replaceAll(/[[\]"]/g, '')
      .toLowerCase();
    const places = columns.map((_, i) => `$${i + 1}`).join(', ');
    yield* this.#guard(async function* (this: PostgresSession): Run {
      let count = 0n;
      for await (const row of rows) {
        await this.#send(`INSERT INTO "${target}" (${names}) VALUES (${places})`, row.map(toPostgres));
        count++;
      }
      yield { kind: 'done', command: COMMAND.insert, rowCount: count };
    });
  }

  async reset(keepTransaction: boolean): Promise<void> {
    if (!keepTransaction && this.#count > 0) {
      await this.#send('ROLLBACK');
      this.#count = 0;
    }
    this.#xactAbort = false;
    this.#noCount = false;
    this.#lastError = 0;
    if (this.#count === 0) await this.#send('DISCARD TEMP; RESET lock_timeout');
  }

  cancel(): Promise<void> {
    this.#isCancelled = true;
    const { processID, secretKey, host, port } = this.#client as unknown as {
      processID: number;
      secretKey: number;
      host: string;
      port: number;
    };
    const canceller = new pg.Client({ host, port }) as unknown as {
      connection: {
        connect(port: number, host: string): void;
        on(event: string, listener: () => void): void;
        cancel(processId: number, secretKey: number): void;
      };
    };
    const { connection } = canceller;
    return new Promise((resolve) => {
      // The server closes the connection when it has passed the signal on: what runs behind that is not hit any more.
      connection.on('error', resolve);
      connection.on('end', resolve);
      connection.on('connect', () => {
        connection.cancel(processID, secretKey);
      });
      connection.connect(port, host);
    });
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => undefined);
  }

  // ---- batches ---------------------------------------------------------------------------------------------------

  async *#batch(sql: string, variables: Map<string, Parameter>, isDynamic: boolean): Run {
    this.#isCancelled = false;
    const countBefore = this.#count;
    try {
      yield* this.#statements(parseBatch(sql), sql, variables);
    } catch (error) {
      if (error instanceof SyntaxFault) {
        const number = error.message.startsWith('Must declare') ? 137 : 102;
        yield* this.#tell(faultOf(number, error.message));
      } else if (error instanceof pg.DatabaseError) {
        // Of an expression: what it was for does not run.
        yield* this.#asRequest(this.#tell({ ...faultOfPostgres(error), endsBatch: true }));
      } else if (!(error instanceof BatchOver)) throw error;
      if (this.#isStopped() && this.#xactAbort && this.#count > 0) {
        await this.#send('ROLLBACK');
        this.#count = 0;
        yield { kind: 'transaction', change: 'rollback' };
      }
    }
    if (isDynamic && countBefore !== this.#count && this.#count > 0) {
      yield {
        kind: 'error',
        message: sqlMessage(
          266,
          'Transaction count after EXECUTE indicates a mismatching number of BEGIN and COMMIT statements.',
        ),
      };
    }
  }

  /** It may have come while the batch ran. */
  #isStopped(): boolean {
    return this.#isCancelled;
  }

  async *#statements(statements: readonly Statement[], sql: string, variables: Map<string, Parameter>): Run {
    for (const statement of statements) yield* this.#statement(statement, sql, variables);
  }

  async *#statement(statement: Statement, sql: string, variables: Map<string, Parameter>): Run {
    if (this.#isCancelled) throw new BatchOver();
    switch (statement.kind) {
      case 'block':
        yield* this.#statements(statement.statements, sql, variables);
        return;
      case 'try':
        throw new SyntaxFault('the test server does not model TRY');
      case 'if': {
        const scope = this.#scope(sql, variables);
        const { text, values } = translate(statement.condition, scope);
        const { rows } = await this.#send(`SELECT (${text})::int`, values);
        const holds = (rows as (readonly unknown[])[])[0]?.[0] === '1';
        if (holds) yield* this.#statement(statement.then, sql, variables);
        else if (statement.otherwise !== null) yield* this.#statement(statement.otherwise, sql, variables);
        return;
      }
      case 'simple':
        yield* this.#simple(statement.verb, statement.tokens, sql, variables);
    }
  }

  async *#simple(
    verb: string,
    tokens: readonly Token[],
    sql: string,
    variables: Map<string, Parameter>,
  ): Run {
    const second = wordOf(tokens[1]);
    const isTransaction = second === 'TRAN' || second === 'TRANSACTION';
    const name = isTransaction && tokens[2] !== undefined ? nameOf(tokens[2], sql) : '';
    switch (verb) {
      case 'BEGIN':
        yield* this.#begin();
        return;
      case 'COMMIT':
        yield* this.#commit();
        return;
      case 'ROLLBACK':
        yield* this.#rollback(name);
        return;
      case 'SAVE':
        yield* this.#save(name);
        return;
      case 'SET':
        yield* this.#set(tokens, sql, variables);
        return;
      case 'USE': {
        const database = nameOf(tokens[1]!, sql);
        if (database !== this.database.toLowerCase()) {
          yield* this.#tell(faultOf(911, `Database '${database}' does not exist.`));
          return;
        }
        yield { kind: 'database', from: this.database, to: this.database };
        yield {
          kind: 'info',
          message: sqlMessage(5701, `Changed database context to '${this.database}'.`, 0, 1),
        };
        return;
      }
      case 'DECLARE':
        await this.#declare(tokens, sql, variables);
        return;
      case 'PRINT': {
        const text = await this.#value(tokens.slice(1), sql, variables);
        yield { kind: 'info', message: sqlMessage(0, text ?? '', 0, 1) };
        return;
      }
      case 'RAISERROR':
        yield* this.#raise(tokens, sql, variables);
        return;
      case 'THROW': {
        const [number, message] = split(tokens.slice(1));
        const text = (await this.#value(message ?? [], sql, variables)) ?? '';
        yield* this.#tell({
          ...faultOf(Number(await this.#value(number ?? [], sql, variables)), text),
          endsBatch: true,
        });
        return;
      }
      case 'WAITFOR': {
        const delay = (await this.#value(tokens.slice(2), sql, variables)) ?? '0';
        const [hours = 0, minutes = 0, seconds = 0] = delay.split(':').map(Number);
        yield* this.#guard(async function* (this: PostgresSession): Run {
          await this.#inSavepoint(`SELECT pg_sleep(${hours * 3600 + minutes * 60 + seconds})`, []);
          yield* [];
        });
        return;
      }
      case 'EXEC':
      case 'EXECUTE': {
        if (isSymbol(tokens[1], '(')) {
          const text = await this.#value(tokens.slice(2, closing(tokens, 1)), sql, variables);
          yield* this.#dynamic(text ?? '', []);
          return;
        }
        const [first = [], ...others] = split(tokens.slice(1));
        const values: Parameter[] = [];
        const args = [first.slice(1), ...others].filter((one) => one.length > 0);
        for (const one of args) {
          values.push({
            name: '',
            type: { name: 'nvarchar', length: 'max' },
            value: await this.#value(one, sql, variables),
            isOutput: false,
          });
        }
        yield* this.#procedure(tableName(first.slice(0, 1), sql), values);
        return;
      }
      default:
        yield* this.#data(verb, tokens, sql, variables);
    }
  }

  async *#data(verb: string, tokens: readonly Token[], sql: string, variables: Map<string, Parameter>): Run {
    if (verb === 'SELECT' && tokens[1]?.kind === 'variable' && isSymbol(tokens[2], '=')) {
      for (const one of split(tokens.slice(1))) await this.#assign(one, sql, variables);
      return;
    }
    const command = (COMMAND as Readonly<Record<string, number>>)[verb.toLowerCase()] ?? 0;
    let text: string;
    let values: readonly unknown[] = [];
    if (verb === 'CREATE' && wordOf(tokens[1]) === 'TABLE') {
      text = translateCreateTable(tokens, sql);
      for (const token of tokens) this.#remember(token, sql);
    } else if (verb === 'CREATE' && wordOf(tokens[1]) === 'SCHEMA') {
      text = `CREATE SCHEMA ${tableName(tokens.slice(2), sql)}`;
    } else if (verb === 'DELETE' && wordOf(tokens[1]) === 'TOP') {
      // DELETE TOP (n) FROM t WHERE …
      const end = closing(tokens, 2);
      const where = tokens.findIndex((token) => wordOf(token) === 'WHERE');
      const found = translate(tokens.slice(where), this.#scope(sql, variables));
      const table = tableName(tokens.slice(end + 2, where), sql);
      const limit = sql.slice(tokens[3]!.start, tokens[end]!.start);
      text = `DELETE FROM ${table} WHERE ctid IN (SELECT ctid FROM ${table} ${found.text} LIMIT ${limit})`;
      values = found.values;
    } else {
      ({ text, values } = translate(tokens, this.#scope(sql, variables)));
    }
    yield* this.#guard(async function* (this: PostgresSession): Run {
      yield* this.#query(text, values, verb === 'WITH' ? COMMAND.select : command, tokens, sql);
    });
  }

  /** Runs a statement; its error is told, and ends what it ends. */
  async *#guard(work: (this: PostgresSession) => Run): Run {
    try {
      yield* work.call(this);
      this.#lastError = 0;
    } catch (error) {
      if (error instanceof BatchOver || error instanceof SyntaxFault) throw error;
      if (!(error instanceof pg.DatabaseError)) throw error;
      if (error.code === '57014' || this.#isCancelled) throw new BatchOver();
      yield* this.#tell(faultOfPostgres(error));
    }
  }

  async *#tell(fault: StatementFault): Run {
    this.#lastError = fault.message.number;
    yield { kind: 'error', message: fault.message };
    if (this.#count > 0 && (fault.endsTransaction || this.#xactAbort)) {
      await this.#send('ROLLBACK');
      this.#count = 0;
      yield { kind: 'transaction', change: 'rollback' };
    }
    yield { kind: 'done', command: 0, rowCount: null };
    if (fault.endsBatch || fault.endsTransaction || this.#xactAbort) throw new BatchOver();
  }

  async *#query(
    text: string,
    values: readonly unknown[],
    command: number,
    tokens: readonly Token[] = [],
    sql = '',
  ): Run {
    const { fields, rows, rowCount } = await this.#inSavepoint(text, values.map(toPostgres));
    if (fields.length > 0 && !text.startsWith('CREATE')) {
      const names = this.#names(tokens, sql);
      const columns = fields.map((field): ResultColumn => {
        const isUnnamed = field.name === '?column?' || UNNAMED.has(field.name);
        const known = names.get(field.name) ?? this.#casing.get(field.name) ?? field.name;
        return {
          name: isUnnamed && !names.has(field.name) ? '' : known,
          type: sqlTypeOf(field),
          nullable: true,
          identity: false,
        };
      });
      yield { kind: 'columns', columns };
      for (const row of rows as (string | null)[][]) {
        yield { kind: 'row', values: row.map((value, i) => fromPostgres(value, columns[i]!.type)) };
      }
    }
    this.#rowCount = BigInt(rowCount ?? 0);
    const counts = command === COMMAND.select || rowCount !== null;
    yield {
      kind: 'done',
      command,
      rowCount: this.#noCount || !counts || command === 0 ? null : this.#rowCount,
    };
  }

  /** A statement that fails leaves its transaction as it was: SQL Server's do, PostgreSQL's do not. */
  async #inSavepoint(text: string, values: readonly unknown[]): Promise<pg.QueryArrayResult> {
    if (this.#count === 0) return await this.#send(text, values);
    await this.#send('SAVEPOINT statement');
    try {
      const result = await this.#send(text, values);
      await this.#send('RELEASE statement');
      return result;
    } catch (error) {
      if (error instanceof pg.DatabaseError) await this.#send('ROLLBACK TO statement');
      throw error;
    }
  }

  async #send(text: string, values: readonly unknown[] = []): Promise<pg.QueryArrayResult> {
    try {
      return await this.#client.query({
        text,
        values: [...values],
        rowMode: 'array',
        types: { getTypeParser: () => (value: string) => value },
      } as pg.QueryArrayConfig);
    } catch (error) {
      if (this.#isGone || !(error instanceof pg.DatabaseError) || error.code?.startsWith('57P') === true) {
        throw new ServerGoneError(String(error));
      }
      throw error;
    }
  }

  // ---- transactions ----------------------------------------------------------------------------------------------

  async *#begin(): Run {
    if (this.#count === 0) {
      yield* this.#guard(async function* (this: PostgresSession): Run {
        await this.#send(`BEGIN ISOLATION LEVEL ${LEVELS[this.#isolation]}`);
        yield* [];
      });
      this.#count = 1;
      yield { kind: 'transaction', change: 'begin' };
    } else this.#count++;
    yield { kind: 'done', command: COMMAND.begin, rowCount: null };
  }

  async *#commit(): Run {
    if (this.#count === 0) {
      yield* this.#tell(
        faultOf(3902, 'The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.'),
      );
      return;
    }
    if (this.#count > 1) this.#count--;
    else {
      yield* this.#guard(async function* (this: PostgresSession): Run {
        await this.#send('COMMIT');
        this.#count = 0;
        yield { kind: 'transaction', change: 'commit' };
      });
    }
    yield { kind: 'done', command: COMMAND.commit, rowCount: null };
  }

  async *#rollback(name: string): Run {
    if (this.#count === 0) {
      yield* this.#tell(
        faultOf(3903, 'The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.'),
      );
      return;
    }
    if (name === '') {
      await this.#send('ROLLBACK');
      this.#count = 0;
      yield { kind: 'transaction', change: 'rollback' };
    } else {
      yield* this.#guard(async function* (this: PostgresSession): Run {
        await this.#inSavepointless(`ROLLBACK TO "save ${name.toLowerCase()}"`);
        yield* [];
      });
    }
    yield { kind: 'done', command: COMMAND.rollback, rowCount: null };
  }

  async *#save(name: string): Run {
    if (this.#count === 0) {
      yield* this.#tell(faultOf(628, 'Cannot issue SAVE TRANSACTION when there is no active transaction.'));
      return;
    }
    await this.#send(`SAVEPOINT "save ${name.toLowerCase()}"`);
    yield { kind: 'done', command: 0xd3, rowCount: null };
  }

  async #inSavepointless(text: string): Promise<void> {
    await this.#send('SAVEPOINT attempt');
    try {
      await this.#send(text);
    } catch (error) {
      await this.#send('ROLLBACK TO attempt');
      throw error;
    }
  }

  // ---- settings, variables and expressions -------------------------------------------------------------------------

  async *#set(tokens: readonly Token[], sql: string, variables: Map<string, Parameter>): Run {
    if (tokens[1]?.kind === 'variable') {
      await this.#assign(tokens.slice(1), sql, variables);
      return;
    }
    const option = wordOf(tokens[1]);
    const isOn = wordOf(tokens.at(-1)) === 'ON';
    switch (option) {
      case 'TRANSACTION':
        this.#isolation = tokens
          .slice(4)
          .map((token) => wordOf(token)?.toLowerCase())
          .join(' ') as IsolationLevel;
        return;
      case 'XACT_ABORT':
        this.#xactAbort = isOn;
        return;
      case 'NOCOUNT':
        this.#noCount = isOn;
        return;
      case 'LOCK_TIMEOUT': {
        const millis = Number(sql.slice(tokens[2]!.start, tokens.at(-1)!.end));
        yield* this.#guard(async function* (this: PostgresSession): Run {
          await this.#inSavepoint(`SET lock_timeout = ${Math.max(0, millis)}`, []);
          yield* [];
        });
        return;
      }
      case 'IMPLICIT_TRANSACTIONS':
        if (isOn) throw new SyntaxFault('the test server does not model IMPLICIT_TRANSACTIONS');
        return;
      case 'LANGUAGE':
        yield { kind: 'language', from: 'us_english', to: nameOf(tokens[2]!, sql) };
        return;
      default:
        return;
    }
  }

  async #declare(tokens: readonly Token[], sql: string, variables: Map<string, Parameter>): Promise<void> {
    for (const one of split(tokens.slice(1))) {
      const [name] = one;
      if (name?.kind !== 'variable') throw new SyntaxFault('the test server does not model this DECLARE');
      const at = one.findIndex((token) => isSymbol(token, '='));
      const typeWords = one.slice(1, at < 0 ? one.length : at).filter((token) => wordOf(token) !== 'AS');
      const type = { name: (wordOf(typeWords[0]) ?? 'INT').toLowerCase() } as SqlType;
      variables.set(name.text, { name: name.text, type, value: null, isOutput: false });
      if (at >= 0) await this.#assign([name, ...one.slice(at)], sql, variables);
    }
  }

  /** @x = expression */
  async #assign(tokens: readonly Token[], sql: string, variables: Map<string, Parameter>): Promise<void> {
    const [name] = tokens;
    const known = name?.kind === 'variable' ? variables.get(name.text) : undefined;
    if (name?.kind !== 'variable' || known === undefined) {
      throw new SyntaxFault('Must declare the scalar variable.');
    }
    const { text, values } = translate(tokens.slice(2), this.#scope(sql, variables));
    const { rows, fields } = await this.#inSavepoint(`SELECT ${text}`, values.map(toPostgres));
    const value = (rows as (string | null)[][])[0]?.[0] ?? null;
    variables.set(name.text, { ...known, value: fromPostgres(value, sqlTypeOf(fields[0]!)) });
  }

  async #value(
    tokens: readonly Token[],
    sql: string,
    variables: Map<string, Parameter>,
  ): Promise<string | null> {
    const [only] = tokens;
    if (tokens.length === 1 && (only?.kind === 'string' || only?.kind === 'number')) {
      const source = sql.slice(only.start, only.end);
      return only.kind === 'number' ? source : source.replace(/^[Nn]?'|'$/g, '').replaceAll("''", "'");
    }
    const { text, values } = translate(tokens, this.#scope(sql, variables));
    const { rows } = await this.#inSavepoint(`SELECT (${text})::text`, values.map(toPostgres));
    return (rows as (string | null)[][])[0]?.[0] ?? null;
  }

  async *#raise(tokens: readonly Token[], sql: string, variables: Map<string, Parameter>): Run {
    const [message, severity] = split(tokens.slice(2, closing(tokens, 1)));
    const text = (await this.#value(message ?? [], sql, variables)) ?? '';
    const level = Number(await this.#value(severity ?? [], sql, variables));
    if (level <= 10) {
      yield { kind: 'info', message: sqlMessage(50000, text, level, 1) };
      return;
    }
    yield* this.#tell({ ...faultOf(50000, text, level), endsBatch: false });
  }

  #scope(sql: string, variables: Map<string, Parameter>): Scope {
    return {
      sql,
      variable: (name) => variables.get(name.toUpperCase()),
      globalVariable: (name) => this.#globalVariable(name),
      call: (name, parts) => this.#call(name, parts),
    };
  }

  #globalVariable(name: string): string {
    switch (name) {
      case '@@TRANCOUNT':
        return String(this.#count);
      case '@@ROWCOUNT':
        return String(this.#rowCount);
      case '@@ERROR':
        return String(this.#lastError);
      case '@@SPID':
        return String(this.spid);
      case '@@SERVERNAME':
        return `'${this.#facts.serverName.slice(0, SERVER_NAME_LIMIT)}'::varchar(128)`;
      case '@@VERSION':
        return `'Test server of holdfast, which speaks TDS 7.4'::text`;
      case '@@IDENTITY':
        return 'lastval()::numeric(38,0)';
      default:
        throw new SyntaxFault(`the test server does not model ${name}`);
    }
  }

  #call(name: string, parts: readonly string[]): string | null {
    switch (name) {
      case 'ISNULL':
        return `COALESCE(${parts.join(', ')})`;
      case 'LEN':
        return `length(rtrim(${parts.join(', ')}))`;
      case 'GETDATE':
      case 'SYSDATETIME':
        return '(clock_timestamp()::timestamp)';
      case 'SYSUTCDATETIME':
      case 'GETUTCDATE':
        return `((clock_timestamp() AT TIME ZONE 'UTC')::timestamp)`;
      case 'DATEDIFF_BIG':
        if (parts[0]?.toLowerCase() !== 'millisecond') {
          throw new SyntaxFault(`the test server does not model DATEDIFF_BIG of ${parts[0] ?? 'nothing'}`);
        }
        return `(floor(extract(epoch FROM (${parts[2]})::timestamp - (${parts[1]})::timestamp) * 1000)::bigint)`;
      case 'NEWID':
        return 'gen_random_uuid()';
      case 'SCOPE_IDENTITY':
        return '(lastval()::numeric(38,0))';
      case 'XACT_STATE':
        return this.#count > 0 ? '1' : '0';
      case 'DB_NAME':
        return `'${this.database}'::varchar(128)`;
      case 'DATABASEPROPERTYEX':
        return /updateability/i.test(parts[1] ?? '')
          ? `(CASE WHEN pg_is_in_recovery() THEN 'READ_ONLY' ELSE 'READ_WRITE' END)::varchar(60)`
          : `'ONLINE'::varchar(60)`;
      case 'OBJECT_ID':
        return `to_regclass(replace(replace(replace(${parts[0]}, '[', ''), ']', ''), 'dbo.', ''))::oid::bigint`;
      case 'CHARINDEX':
        return `strpos(${parts[1]}, ${parts[0]})`;
      case 'SERVERPROPERTY':
        return `'16.0.1000.6'::varchar(128)`;
      case 'SCHEMA_ID':
        return `(SELECT oid::bigint FROM pg_namespace WHERE nspname = lower(${parts[0]}))`;
      case 'HAS_PERMS_BY_NAME':
        return `(has_table_privilege(replace(replace(${parts[0]}, '[', ''), ']', ''), ${parts[2]}))::int`;
      default:
        return null;
    }
  }

  /** Names as the text writes them: PostgreSQL answers in lower case. */
  #names(tokens: readonly Token[], sql: string): ReadonlyMap<string, string> {
    const names = new Map<string, string>();
    for (const token of tokens) {
      if (token.kind !== 'word' && token.kind !== 'quoted') continue;
      const source = sql.slice(token.start, token.end);
      names.set(nameOf(token, sql), token.kind === 'quoted' ? source.slice(1, -1) : source);
    }
    return names;
  }

  #remember(token: Token, sql: string): void {
    if (token.kind !== 'word' && token.kind !== 'quoted') return;
    const source = sql.slice(token.start, token.end);
    const key = nameOf(token, sql);
    if (!this.#casing.has(key)) this.#casing.set(key, token.kind === 'quoted' ? source.slice(1, -1) : source);
  }
}

/** Names that PostgreSQL gives to columns that have none. */
const UNNAMED = new Set(
  'count sum min max avg coalesce length int4 int8 text varchar numeric case clock_timestamp timestamp gen_random_uuid lastval bool'.split(
    ' ',
  ),
);

/** Snapshot is PostgreSQL's repeatable read, and serializable its own. */
const LEVELS: Readonly<Record<IsolationLevel, string>> = {
  'read uncommitted': 'READ COMMITTED',
  'read committed': 'READ COMMITTED',
  'repeatable read': 'REPEATABLE READ',
  snapshot: 'REPEATABLE READ',
  serializable: 'SERIALIZABLE',
};

function toPostgres(value: unknown): unknown {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'bigint' ? String(value) : value;
}

function fromPostgres(value: string | null, { name }: SqlType): SqlValue {
  if (value === null) return null;
  switch (name) {
    case 'bit':
      return value === 't' || value === '1';
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
      return BigInt(value);
    case 'real':
    case 'float':
      return Number(value);
    case 'varbinary':
      return Buffer.from(value.slice(2), 'hex');
    default:
      return value;
  }
}
