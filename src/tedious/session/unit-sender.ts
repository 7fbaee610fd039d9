import { batchMessage, ServerError } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { commitBatch } from '../token/token-batches.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { prepareAgain } from './hidden-prepare.ts';
import type { LastResult } from './last-result.ts';
import type { PreparedHandles } from './prepared-handles.ts';
import type { SessionTokens } from './session-tokens.ts';
import type { TdsUnit } from './tds-unit.ts';
import { isUnclear } from './make-unit.ts';
import { MARK } from './visibility.ts';
import { wrappedMessage } from './wrapped-statement.ts';

export interface SendingSession {
  readonly connection: ServerConnection | null;
  readonly handles: PreparedHandles;
  readonly tokens: SessionTokens;
  readonly lastResult: LastResult;
  /** The session has tokens, and whoever runs its statements may write them. */
  readonly mayWriteTokens: boolean;
  /** A transaction of the application is open. */
  readonly isOpen: boolean;
  /** It has done nothing yet but read. */
  readonly hasOnlyRead: boolean;
  /** There may be a savepoint in it: what is written now could be undone, and the transaction be committed all the same. */
  readonly mayHaveSavepoint: boolean;
  /** The unit goes to the server now. */
  transmit(unit: TdsUnit, message: RequestMessage, isAgain: boolean): void;
  /** It gets its answer from the driver. */
  answerLocally(unit: TdsUnit, how: 'unprepared' | ServerError): void;
}

/** Decides in which form a unit goes out, and sees to it that the server knows what it needs. */
export class UnitSender {
  readonly #session: SendingSession;

  constructor(session: SendingSession) {
    this.#session = session;
  }

  send(unit: TdsUnit, isAgain: boolean): void {
    const step = this.#firstStep(unit);
    if (step === null) {
      this.#transmit(unit, isAgain);
      return;
    }
    const { connection } = this.#session;
    step.then(
      () => {
        if (this.#session.connection === connection) this.#transmit(unit, isAgain);
      },
      (error: unknown) => {
        // A lost connection is told to the session by itself: the unit was not sent (R1).
        if (error instanceof ServerError && this.#session.connection === connection) {
          this.#session.answerLocally(unit, error);
        }
      },
    );
  }

  /** What has to be done on the server before the unit can go out; null if nothing. */
  #firstStep(unit: TdsUnit): Promise<void> | null {
    const { connection, handles, tokens, isOpen, mayHaveSavepoint, mayWriteTokens, lastResult } =
      this.#session;
    if (connection === null) return null;
    if (unit.request.kind === 'execute') {
      const { handle } = unit.request;
      const missing = handles.missing(handle);
      if (missing !== null) {
        return prepareAgain(connection, missing).then((real) => {
          if (real !== null) handles.preparedAgain(handle, real);
        });
      }
    }
    // Of a COMMIT by itself the token goes with it.
    const { asksForIdentity, asksForScopeIdentity, asksForRowCount } = unit.analysis;
    // A token in front of it would change the answer.
    const asks = asksForIdentity || asksForScopeIdentity || asksForRowCount;
    if (
      isOpen &&
      isUnclear(unit) &&
      mayWriteTokens &&
      tokens.writtenKey === null &&
      !mayHaveSavepoint &&
      !asks
    ) {
      return tokens.write(connection).then(() => {
        lastResult.tokenWritten();
      });
    }
    return null;
  }

  #transmit(unit: TdsUnit, isAgain: boolean): void {
    const { handles, tokens, isOpen, hasOnlyRead, mayWriteTokens } = this.#session;
    const { request, message, analysis } = unit;
    if (request.kind === 'unprepare' && handles.missing(request.handle) !== null) {
      this.#session.answerLocally(unit, 'unprepared');
      return;
    }
    if (request.kind === 'execute' || request.kind === 'unprepare') {
      const real = handles.realOf(request.handle);
      message.payload.writeInt32LE(real ?? request.handle, request.handleAt);
    }
    const { schema, writtenKey } = tokens;
    if (isOpen && unit.ending !== 'none' && unit.ending !== 'rollback') {
      if (writtenKey !== null) {
        if (!unit.keys.includes(writtenKey)) unit.keys.push(writtenKey);
      } else if (unit.ending === 'commit' && mayWriteTokens && !hasOnlyRead && !beginsAnother(unit)) {
        const key = tokens.newKey();
        unit.keys.push(key);
        unit.form = 'commit-batch';
        this.#session.transmit(
          unit,
          { ...batchMessage(commitBatch(schema, key)), reset: message.reset },
          isAgain,
        );
        return;
      }
    } else if (!isOpen && unit.ending === 'none' && !unit.opens && analysis.isSingleWrite && mayWriteTokens) {
      const key = tokens.newKey();
      unit.keys.push(key);
      unit.form = 'wrapped';
      this.#session.transmit(unit, wrappedMessage(unit, schema, key, MARK), isAgain);
      return;
    }
    this.#session.transmit(unit, message, isAgain);
  }
}

function beginsAnother({ request }: TdsUnit): boolean {
  if (request.kind !== 'transaction') return false;
  const { transaction } = request;
  return transaction.kind === 'commit' && transaction.begins;
}
