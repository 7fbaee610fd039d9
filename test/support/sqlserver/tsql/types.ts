import type { FieldDef } from 'pg';
import type { SqlType } from '../engine.ts';

/** Names of T-SQL types and what PostgreSQL has for them. bit is smallint, so that it can be compared with 1. */
const TO_POSTGRES: Readonly<Record<string, string>> = {
  BIT: 'smallint',
  TINYINT: 'integer',
  SMALLINT: 'integer',
  INT: 'integer',
  INTEGER: 'integer',
  BIGINT: 'bigint',
  DECIMAL: 'numeric',
  NUMERIC: 'numeric',
  MONEY: 'numeric(19,4)',
  REAL: 'real',
  FLOAT: 'double precision',
  CHAR: 'char',
  VARCHAR: 'varchar',
  NCHAR: 'char',
  NVARCHAR: 'varchar',
  SYSNAME: 'varchar(128)',
  TEXT: 'text',
  NTEXT: 'text',
  DATE: 'date',
  TIME: 'time',
  DATETIME: 'timestamp(3)',
  SMALLDATETIME: 'timestamp(0)',
  DATETIME2: 'timestamp',
  DATETIMEOFFSET: 'timestamptz',
  UNIQUEIDENTIFIER: 'uuid',
  BINARY: 'bytea',
  VARBINARY: 'bytea',
  IMAGE: 'bytea',
  XML: 'text',
};
const WITHOUT_LENGTH = new Set(['bytea', 'timestamp(3)', 'timestamp(0)', 'timestamp', 'double precision']);

export function isTypeName(word: string): boolean {
  return word in TO_POSTGRES;
}

/** @param argument what stands in parentheses behind the name; '' for none */
export function postgresType(name: string, argument: string): string {
  const type = TO_POSTGRES[name];
  if (type === undefined) throw new Error(`the test server does not model the type ${name}`);
  if (argument === '' || WITHOUT_LENGTH.has(type) || type.includes('(')) return type;
  if (argument.toUpperCase() === 'MAX') return 'text';
  return `${type}(${argument})`;
}

/** The type to which a parameter is cast. */
export function parameterCast({ name }: SqlType): string {
  const base = TO_POSTGRES[name.toUpperCase()] ?? 'text';
  // Their length is SQL Server's business: it would cut what is too long.
  return base === 'char' || base === 'varchar' ? 'text' : base;
}

const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  float4: 700,
  float8: 701,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
} as const;

const HEADER = 4;

/** What a column of PostgreSQL is for the client. */
export function sqlTypeOf({ dataTypeID, dataTypeModifier }: FieldDef): SqlType {
  switch (dataTypeID) {
    case OID.bool:
    case OID.int2:
      return { name: 'bit' };
    case OID.int4:
      return { name: 'int' };
    case OID.int8:
      return { name: 'bigint' };
    case OID.float4:
      return { name: 'real' };
    case OID.float8:
      return { name: 'float' };
    case OID.bytea:
      return { name: 'varbinary', length: 'max' };
    case OID.date:
      return { name: 'date' };
    case OID.time:
      return { name: 'time', scale: 6 };
    case OID.timestamp:
      return { name: 'datetime2', scale: 6 };
    case OID.timestamptz:
      return { name: 'datetimeoffset', scale: 6 };
    case OID.uuid:
      return { name: 'uniqueidentifier' };
    case OID.numeric:
      return dataTypeModifier < 0
        ? { name: 'decimal', precision: 38, scale: 6 }
        : {
            name: 'decimal',
            precision: ((dataTypeModifier - HEADER) >> 16) & 0xffff,
            scale: (dataTypeModifier - HEADER) & 0xffff,
          };
    case OID.varchar:
    case OID.bpchar:
      return dataTypeModifier < 0
        ? { name: 'nvarchar', length: 'max' }
        : { name: 'nvarchar', length: dataTypeModifier - HEADER };
    default:
      return { name: 'nvarchar', length: 'max' };
  }
}
