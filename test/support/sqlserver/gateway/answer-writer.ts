import type { EngineEvent, ResultColumn } from '../engine.ts';
import { environmentToken, doneToken, messageToken } from '../../../../src/tedious/wire/write-token.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../../../../src/tedious/wire/token-kind.ts';
import { columnMetadata, row, shortText, typeInfo, valueBytes } from './write-values.ts';

export type DoneKind = typeof TOKEN.done | typeof TOKEN.doneInProcedure;

/** Makes tokens of what the engine tells. The last DONE is kept until it is known whether something follows. */
export class AnswerWriter {
  readonly #kind: DoneKind;
  readonly #serverName: string;
  readonly #write: (bytes: Buffer) => void;
  readonly #transaction: (change: 'begin' | 'commit' | 'rollback') => Buffer;
  #columns: readonly ResultColumn[] = [];
  #done: { command: number; rowCount: bigint | null; hasFailed: boolean } | null = null;
  #hasFailed = false;
  #status = 0;

  constructor(
    kind: DoneKind,
    serverName: string,
    write: (bytes: Buffer) => void,
    transaction: (change: 'begin' | 'commit' | 'rollback') => Buffer,
  ) {
    this.#kind = kind;
    this.#serverName = serverName;
    this.#write = write;
    this.#transaction = transaction;
  }

  event(event: EngineEvent): void {
    if (event.kind !== 'returnStatus') this.#flush(true);
    switch (event.kind) {
      case 'columns':
        this.#columns = event.columns;
        this.#write(columnMetadata(event.columns));
        return;
      case 'row':
        this.#write(row(this.#columns, event.values));
        return;
      case 'done':
        this.#done = { command: event.command, rowCount: event.rowCount, hasFailed: this.#hasFailed };
        this.#hasFailed = false;
        return;
      case 'error':
        this.#hasFailed = true;
        this.#write(messageToken(TOKEN.error, { ...event.message, serverName: this.#serverName }));
        return;
      case 'info':
        this.#write(messageToken(TOKEN.info, { ...event.message, serverName: this.#serverName }));
        return;
      case 'database':
        this.#write(environmentToken(ENVIRONMENT.database, event.to, event.from));
        return;
      case 'language':
        this.#write(environmentToken(ENVIRONMENT.language, event.to, event.from));
        return;
      case 'transaction':
        this.#write(this.#transaction(event.change));
        return;
      case 'returnValue': {
        const name = shortText(event.name);
        this.#write(
          Buffer.concat([
            Buffer.from([TOKEN.returnValue, 0, 0]),
            name,
            Buffer.from([1, 0, 0, 0, 0, 0, 0]),
            typeInfo(event.type),
            valueBytes(event.type, event.value),
          ]),
        );
        return;
      }
      case 'returnStatus':
        this.#status = event.value;
    }
  }

  /** The end of a batch: its last DONE says that nothing follows. */
  endBatch(): void {
    if (this.#done === null) this.#done = { command: 0, rowCount: null, hasFailed: this.#hasFailed };
    this.#flush(false);
  }

  /** The end of a call. */
  endCall(): void {
    this.#flush(true);
    const status = Buffer.alloc(5);
    status[0] = TOKEN.returnStatus;
    status.writeInt32LE(this.#status, 1);
    this.#write(status);
    this.#write(
      doneToken(this.#hasFailed ? DONE_STATUS.error : 0, { kind: TOKEN.doneProcedure, command: 0xe0 }),
    );
  }

  #flush(hasMore: boolean): void {
    const done = this.#done;
    if (done === null) return;
    this.#done = null;
    const status =
      (hasMore ? DONE_STATUS.more : 0) |
      (done.rowCount === null ? 0 : DONE_STATUS.count) |
      (done.hasFailed ? DONE_STATUS.error : 0);
    this.#write(
      doneToken(status, { kind: this.#kind, command: done.command, rowCount: done.rowCount ?? 0n }),
    );
  }
}
