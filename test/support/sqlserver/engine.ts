/** What stands between the wire of the test server and the database that does the work. */

/** Type of a column or parameter, as SQL Server names it. */
export interface SqlType {
  readonly name:
    | 'bit'
    | 'tinyint'
    | 'smallint'
    | 'int'
    | 'bigint'
    | 'decimal'
    | 'money'
    | 'real'
    | 'float'
    | 'char'
    | 'varchar'
    | 'nchar'
    | 'nvarchar'
    | 'text'
    | 'ntext'
    | 'binary'
    | 'varbinary'
    | 'image'
    | 'date'
    | 'time'
    | 'datetime'
    | 'smalldatetime'
    | 'datetime2'
    | 'datetimeoffset'
    | 'uniqueidentifier'
    | 'xml'
    | 'sql_variant';
  /** characters or bytes; 'max' */ readonly length?: number | 'max';
  readonly precision?: number;
  readonly scale?: number;
}
/** null; boolean for bit; bigint for all integers; string for text, decimal, money ("12.3400"), uniqueidentifier, xml, dates and times (ISO, as PostgreSQL prints them with DateStyle ISO; datetimeoffset in UTC with offset); number for real/float; Buffer for binary. sql_variant: a string */
export type SqlValue = null | boolean | bigint | number | string | Buffer;
export interface ResultColumn {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
  readonly identity: boolean;
}
export interface SqlMessage {
  readonly number: number;
  readonly state: number;
  readonly class: number;
  readonly message: string;
  readonly line: number;
  readonly procedure: string;
}
export type IsolationLevel =
  'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable' | 'snapshot';
/** Everything that an execution tells, in order. */
export type EngineEvent =
  | { kind: 'columns'; columns: readonly ResultColumn[] }
  | { kind: 'row'; values: readonly SqlValue[] }
  /** One statement is over. command: the CurCmd of DONE (0xC1 select, 0xC3 insert, 0xC5 update, 0xC4 delete, 0xD4 begin tran, 0xD5 commit, 0xD2 rollback, 0xFD … others 0). rowCount null: DONE without DONE_COUNT */
  | { kind: 'done'; command: number; rowCount: bigint | null }
  | { kind: 'error' | 'info'; message: SqlMessage }
  | { kind: 'database'; from: string; to: string }
  | { kind: 'language'; from: string; to: string }
  | { kind: 'transaction'; change: 'begin' | 'commit' | 'rollback' }
  | { kind: 'returnValue'; name: string; type: SqlType; value: SqlValue }
  | { kind: 'returnStatus'; value: number };
export interface Parameter {
  readonly name: string;
  readonly type: SqlType;
  readonly value: SqlValue;
  readonly isOutput: boolean;
}
export interface EngineSession {
  readonly spid: number;
  readonly database: string;
  /** 8 bytes that are zero outside of a transaction are the gateway's business; this tells whether one is open. */
  readonly isInTransaction: boolean;
  runBatch(sql: string): AsyncIterable<EngineEvent>;
  /** sp_executesql: sql with declared parameters. */
  runStatement(sql: string, parameters: readonly Parameter[]): AsyncIterable<EngineEvent>;
  /** Any other procedure by name (the gateway does sp_executesql, sp_prepare, sp_execute, sp_prepexec, sp_unprepare itself). */
  callProcedure(name: string, parameters: readonly Parameter[]): AsyncIterable<EngineEvent>;
  begin(isolation: IsolationLevel | null, name: string): AsyncIterable<EngineEvent>;
  commit(name: string): AsyncIterable<EngineEvent>;
  rollback(name: string): AsyncIterable<EngineEvent>;
  save(name: string): AsyncIterable<EngineEvent>;
  bulkInsert(
    sql: string,
    columns: readonly ResultColumn[],
    rows: AsyncIterable<readonly SqlValue[]>,
  ): AsyncIterable<EngineEvent>;
  /** RESETCONNECTION: session state as at login (isolation level kept); rolls back unless keepTransaction. */
  reset(keepTransaction: boolean): Promise<void>;
  /** ATTENTION: the running call ends soon (its iterable then ends without further events). Resolves when no later call can be hit. */
  cancel(): Promise<void>;
  close(): Promise<void>;
}
export interface Engine {
  /** @throws EngineLoginError (a SqlMessage: 18456, 4060, 983 …) */
  open(login: {
    readonly user: string;
    readonly password: string;
    readonly database: string;
    readonly language: string;
    readonly readOnlyIntent: boolean;
  }): Promise<EngineSession>;
  stop(): Promise<void>;
}
export class EngineLoginError extends Error {
  readonly detail: SqlMessage;

  constructor(detail: SqlMessage) {
    super(detail.message);
    this.detail = detail;
  }
}

/** The database under it is gone. */
export class ServerGoneError extends Error {}
