import type { Doom, Fate, LossPlan } from '../../session/loss-situation.ts';
import type { TdsEndpoint } from '../endpoint/tds-endpoint.ts';
import type { MessageToken } from '../wire/read-token.ts';
import { DONE_STATUS, TOKEN } from '../wire/token-kind.ts';
import { doneToken, messageToken } from '../wire/write-token.ts';
import {
  committedAnswer,
  doomMessage,
  endOf,
  ERROR_NUMBER,
  errorAnswer,
  errorToken,
  rolledBackAnswer,
  transactionChange,
  unpreparedAnswer,
} from './local-answers.ts';
import { wasSent, type TdsUnit } from './tds-unit.ts';

const LOGIN_FAILED_CLASS = 14;

/** The answers that the driver gives itself. */
export class LocalResponder {
  readonly #endpoint: TdsEndpoint;
  /** A request that the application gave up on has ended its transaction: told with the next answer (facts, trap 2). */
  #owed: Buffer | null = null;
  #isDoomTold = false;

  constructor(endpoint: TdsEndpoint) {
    this.#endpoint = endpoint;
  }

  /** What stands in front of the next answer. */
  takeOwedChange(): Buffer | null {
    const owed = this.#owed;
    this.#owed = null;
    return owed;
  }

  /** What became of a request that nobody waits for. */
  owe(fate: Fate): void {
    if (fate === 'finish') this.#owed = transactionChange('commit');
    else if (fate === 'finish-rollback') this.#owed = transactionChange('rollback');
  }

  /** A statement of a doomed session. True if it has ended the doom. */
  refuse(unit: TdsUnit, doom: Doom): boolean {
    if (unit.ending === 'rollback') {
      this.#isDoomTold = false;
      this.#give(rolledBackAnswer(unit));
      return true;
    }
    const number = doom.kind === 'outcome-unknown' ? ERROR_NUMBER.outcomeUnknown : ERROR_NUMBER.rolledBack;
    if (unit.ending === 'commit') {
      this.#isDoomTold = false;
      const gone = doom.kind === 'outcome-unknown' ? [] : [transactionChange('rollback')];
      this.#give(errorAnswer(unit, { number, message: doomMessage(doom) }, ...gone));
      return true;
    }
    this.#give(
      errorAnswer(
        unit,
        this.#isDoomTold
          ? {
              number: ERROR_NUMBER.doomed,
              message: 'the transaction is gone: nothing runs until it is rolled back',
            }
          : { number, message: doomMessage(doom) },
      ),
    );
    this.#isDoomTold = true;
    return false;
  }

  /** Tells a unit its fate. True if it has ended the doom. */
  settle(unit: TdsUnit, fate: Fate, doom: Doom | null, cause: Error | null): boolean {
    switch (fate) {
      case 'finish':
        this.#give(unit.ending === 'commit' ? committedAnswer(unit) : endOf(unit, 0));
        return false;
      case 'finish-rollback':
        this.#give(rolledBackAnswer(unit));
        return false;
      case 'finish-failed':
        this.#give(endOf(unit, DONE_STATUS.error));
        return false;
      case 'refuse':
        return this.refuse(unit, doom ?? { kind: 'outcome-unknown' });
      case 'unknown':
        this.#give(errorAnswer(unit, unknownError(cause)));
        return false;
      case 'lost':
        this.#give(
          errorAnswer(unit, {
            number: ERROR_NUMBER.resultLost,
            message:
              'the connection was lost behind the statement: it took effect, but its result is lost; do not run it again',
          }),
        );
        return false;
      case 'undone':
      case 'withdraw':
        this.#give(
          errorAnswer(unit, {
            number: ERROR_NUMBER.rolledBack,
            message:
              'the connection was lost: the statement did not take effect, and part of its result was given already; run it again',
          }),
        );
        return false;
      case 'send':
      case 'again':
        throw new Error(`a unit to be sent was to be answered instead (${fate})`);
    }
  }

  /** R5: what was given in part did not come again. */
  diverged(unit: TdsUnit, doom: Doom): void {
    this.#isDoomTold = true;
    this.#give(errorAnswer(unit, { number: ERROR_NUMBER.rolledBack, message: doomMessage(doom) }));
  }

  unprepared(): void {
    this.#give(unpreparedAnswer());
  }

  /** A hidden statement in front of the unit was refused: it did not run. */
  serverRefused(unit: TdsUnit, error: MessageToken): void {
    this.#give(Buffer.concat([messageToken(TOKEN.error, error), endOf(unit, DONE_STATUS.error)]));
  }

  /** It alone did not run: what it asks for is gone. */
  refuseAlone(unit: TdsUnit, message: string): void {
    this.#give(errorAnswer(unit, { number: ERROR_NUMBER.gone, message }));
  }

  /** R7: its rows would have to be held until all of them have come. */
  refuseBulkLoad(maxBytes: number): void {
    const message = `there is no room for the rows of this bulk load in the ${maxBytes} bytes of failover.maxProcessJournalBytes: nothing of it was sent; load them in smaller parts`;
    this.#give(
      Buffer.concat([errorToken({ number: ERROR_NUMBER.tooLarge, message }), doneToken(DONE_STATUS.error)]),
    );
  }

  /** No server was found for the first connection. */
  refuseLogin(error: Error): void {
    const { code } = error as { code?: unknown };
    if (typeof code === 'string' && /^E[A-Z]/.test(code) && code !== 'ELOGIN') {
      this.#endpoint.destroy(error);
      return;
    }
    this.#endpoint.loginFailed([
      {
        number: 18456,
        state: 1,
        class: LOGIN_FAILED_CLASS,
        message: error.message,
        serverName: '',
        procedure: '',
        line: 0,
      },
    ]);
  }

  /** The session ends. Of what waits more can be said than that the connection is gone: true if it was. */
  lastWords(pending: readonly TdsUnit[], plan: LossPlan | null, cause: Error): boolean {
    const index = pending.findIndex((unit) => !unit.isAbandoned);
    const unit = pending[index];
    if (unit === undefined) return false;
    const fate = plan?.resolve === null ? plan.fates[index] : undefined;
    const isOpenQuestion = plan === null ? wasSent(unit) : plan.resolve === index;
    if (isOpenQuestion || fate === 'unknown') {
      this.#give(errorAnswer(unit, unknownError(cause)));
      return true;
    }
    if (fate === 'finish' || fate === 'finish-rollback' || fate === 'finish-failed' || fate === 'lost') {
      this.settle(unit, fate, null, cause);
      return true;
    }
    return false;
  }

  #give(answer: Buffer): void {
    const owed = this.takeOwedChange();
    this.#endpoint.answer(owed === null ? answer : Buffer.concat([owed, answer]), true);
  }
}

function unknownError(cause: Error | null): { number: number; message: string } {
  const because = cause === null ? '' : ` (${cause.message})`;
  return {
    number: ERROR_NUMBER.outcomeUnknown,
    message: `the connection was lost while this was in flight, and nobody can say whether it took effect${because}: look before you repeat it`,
  };
}
