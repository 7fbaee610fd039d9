import { serialize } from 'pg-protocol';
import { SYNC_MESSAGE } from '../frontend-messages.ts';
import { tokenText } from '../../session/token-key.ts';
import type { TokenStatements } from './token-objects.ts';

/** Name of the hidden token's statement and portal: named, or a user's suspended unnamed portal would be lost (A6). */
const TOKEN = 'holdfast_token';
/** Of the statement for what has changed rows. */
const NEW_TOKEN = 'holdfast_new_token';
const UUID_OID = 2950;
const INT8_OID = 20;
const MILLIS_BYTES = 6;

/** One more statement of the application's string. On a line of its own: the string may end in a comment. */
export function queryWithToken(text: string, at: number, statement: string): Buffer {
  const behind = text.slice(at);
  return serialize.query(`${text.slice(0, at)}\n;${statement}${behind === '' ? '' : `;${behind}`}`);
}

/**
 * The messages that carry commit tokens over one connection. The statements are prepared with the first token of theirs;
 * where they may be gone, they are prepared anew, as a failing Bind would break the application's transaction.
 */
export class TokenMessages {
  readonly #sql: string;
  readonly #put: PreparedToken;
  readonly #insert: PreparedToken;

  /** @param keepsStatements false behind a pooler, where the next session may find them, or this one not */
  constructor({ put, insert }: TokenStatements, keepsStatements: boolean) {
    this.#sql = put;
    this.#put = new PreparedToken(TOKEN, put, [UUID_OID], PUT, keepsStatements);
    this.#insert = new PreparedToken(NEW_TOKEN, insert, [UUID_OID, INT8_OID], INSERT, keepsStatements);
  }

  statementMayBeGone(): void {
    this.#put.isPrepared = false;
    this.#insert.isPrepared = false;
  }

  /** As a unit of its own. `changesRows`: its transaction has changed rows. */
  unit(key: Buffer, changesRows: boolean): Buffer {
    return (changesRows ? this.#insert : this.#put).behind(NOTHING, 0, key, false);
  }

  /**
   * Behind messages of the application that end in a Sync, and in front of that.
   *
   * @param isUnnamed the unnamed portal is not in use
   * @param changesRows it does nothing but change rows
   */
  behind(view: Buffer, key: Buffer, isUnnamed: boolean, changesRows: boolean): Buffer {
    const statement = changesRows ? this.#insert : this.#put;
    return statement.behind(view, view.length - SYNC_MESSAGE.length, key, !isUnnamed);
  }

  /** A Query's only statement by the extended protocol, with the token behind it. */
  behindQuery(text: string, key: Buffer, changesRows: boolean): Buffer {
    const query = Buffer.concat([serialize.parse({ text }), BIND_DESCRIBE_EXECUTE]);
    return (changesRows ? this.#insert : this.#put).behind(query, query.length, key, false);
  }

  /** As SQL of its own. */
  statement(key: Buffer): string {
    return this.#sql.replace('$1', `'${tokenText(key)}'`);
  }
}

/** One of the statements that carry tokens, on one connection. */
class PreparedToken {
  readonly #parse: Buffer;
  readonly #run: { readonly unnamed: RunMessages; readonly named: RunMessages };
  readonly #keepsStatements: boolean;
  isPrepared = false;

  constructor(
    name: string,
    text: string,
    types: number[],
    run: { readonly unnamed: RunMessages; readonly named: RunMessages },
    keepsStatements: boolean,
  ) {
    // To close one that is not there is no error.
    this.#parse = Buffer.concat([
      serialize.close({ type: 'S', name }),
      serialize.parse({ name, text, types }),
    ]);
    this.#run = run;
    this.#keepsStatements = keepsStatements;
  }

  /** The first `length` bytes of `view`, the token, and a Sync. */
  behind(view: Buffer, length: number, key: Buffer, isNamed: boolean): Buffer {
    const parse = this.isPrepared ? NOTHING : this.#parse;
    this.isPrepared = this.#keepsStatements;
    const { bytes, keyAt, millisAt } = isNamed ? this.#run.named : this.#run.unnamed;
    const messages = Buffer.allocUnsafe(length + parse.length + bytes.length);
    view.copy(messages, 0, 0, length);
    parse.copy(messages, length);
    const at = length + parse.length;
    bytes.copy(messages, at);
    key.copy(messages, at + keyAt);
    if (millisAt !== null) key.copy(messages, at + millisAt, 0, MILLIS_BYTES);
    return messages;
  }
}

const NOTHING = Buffer.alloc(0);

/** Bind, Execute and Sync, with where in them the key belongs, and its milliseconds. */
interface RunMessages {
  readonly bytes: Buffer;
  readonly keyAt: number;
  readonly millisAt: number | null;
}

function runMessages(statement: string, portal: string): RunMessages {
  const key = Buffer.from('0123456789abcdef', 'latin1');
  const millis = Buffer.from('\0\0MILLIS', 'latin1');
  const takesMillis = statement === NEW_TOKEN;
  const bytes = Buffer.concat([
    serialize.bind({ portal, statement, values: takesMillis ? [key, millis] : [key] }),
    serialize.execute({ portal }),
    SYNC_MESSAGE,
  ]);
  return {
    bytes,
    keyAt: bytes.indexOf(key),
    millisAt: takesMillis ? bytes.indexOf(millis) + millis.length - MILLIS_BYTES : null,
  };
}

const PUT = { unnamed: runMessages(TOKEN, ''), named: runMessages(TOKEN, TOKEN) };
const INSERT = { unnamed: runMessages(NEW_TOKEN, ''), named: runMessages(NEW_TOKEN, TOKEN) };

const BIND_DESCRIBE_EXECUTE = Buffer.concat([
  serialize.bind(),
  serialize.describe({ type: 'P' }),
  serialize.execute(),
]);
