import { serialize } from 'pg-protocol';
import { SYNC_MESSAGE } from '../frontend-messages.ts';
import { tokenText } from './token-key.ts';

/** Name of the hidden token's statement and portal: named, or a user's suspended unnamed portal would be lost (A6). */
const TOKEN = 'holdfast_token';
const UUID_OID = 2950;

/** One more statement of the application's string. On a line of its own: the string may end in a comment. */
export function queryWithToken(text: string, at: number, statement: string): Buffer {
  const behind = text.slice(at);
  return serialize.query(`${text.slice(0, at)}\n;${statement}${behind === '' ? '' : `;${behind}`}`);
}

/**
 * The messages that carry commit tokens over one connection. The statement is prepared with the first one; where it may
 * be gone, it is prepared anew, as a failing Bind would break the application's transaction.
 */
export class TokenMessages {
  readonly #sql: string;
  readonly #parse: Buffer;
  readonly #keepsStatements: boolean;
  #isPrepared = false;

  /** @param keepsStatements false behind a pooler, where the next session may find them, or this one not */
  constructor(sql: string, keepsStatements: boolean) {
    this.#sql = sql;
    this.#keepsStatements = keepsStatements;
    // To close one that is not there is no error.
    this.#parse = Buffer.concat([
      serialize.close({ type: 'S', name: TOKEN }),
      serialize.parse({ name: TOKEN, text: sql, types: [UUID_OID] }),
    ]);
  }

  statementMayBeGone(): void {
    this.#isPrepared = false;
  }

  /** As a unit of its own. */
  unit(key: Buffer): Buffer {
    return this.#with(key, UNNAMED, SYNC_MESSAGE);
  }

  /** Behind messages of the application that end in a Sync, and in front of that. */
  behind(view: Buffer, key: Buffer, isUnnamed: boolean): Buffer {
    const messages = this.#with(key, isUnnamed ? UNNAMED : NAMED, SYNC_MESSAGE);
    return Buffer.concat([view.subarray(0, view.length - SYNC_MESSAGE.length), messages]);
  }

  /** A Query's only statement by the extended protocol, with the token behind it. */
  behindQuery(text: string, key: Buffer): Buffer {
    return Buffer.concat([
      serialize.parse({ text }),
      BIND_DESCRIBE_EXECUTE,
      this.#with(key, UNNAMED, SYNC_MESSAGE),
    ]);
  }

  /** As SQL of its own. */
  statement(key: Buffer): string {
    return this.#sql.replace('$1', `'${tokenText(key)}'`);
  }

  #with(key: Buffer, run: RunMessages, end: Buffer): Buffer {
    const isNew = !this.#isPrepared;
    this.#isPrepared = this.#keepsStatements;
    const messages = isNew ? Buffer.concat([this.#parse, run.bytes, end]) : Buffer.concat([run.bytes, end]);
    key.copy(messages, (isNew ? this.#parse.length : 0) + run.keyAt);
    return messages;
  }
}

/** Bind and Execute, with where in them the key belongs. */
interface RunMessages {
  readonly bytes: Buffer;
  readonly keyAt: number;
}

function runMessages(portal: string): RunMessages {
  const placeholder = Buffer.from('0123456789abcdef', 'latin1');
  const bytes = Buffer.concat([
    serialize.bind({ portal, statement: TOKEN, values: [placeholder] }),
    serialize.execute({ portal }),
  ]);
  return { bytes, keyAt: bytes.indexOf(placeholder) };
}

const UNNAMED = runMessages('');
const NAMED = runMessages(TOKEN);

const BIND_DESCRIBE_EXECUTE = Buffer.concat([
  serialize.bind(),
  serialize.describe({ type: 'P' }),
  serialize.execute(),
]);
