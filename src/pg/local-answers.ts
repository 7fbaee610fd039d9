import { IDLE } from '../session/journal.ts';
import {
  BackendType,
  bodyless,
  commandComplete,
  errorResponse,
  noParameters,
  readyForQuery,
} from './backend-messages.ts';
import { FrontendType } from './frontend-messages.ts';

/**
 * Answers that the driver gives in the server's place, as bytes: pg's own parser and query classes then do with them
 * what they do with any answer.
 */

/** The rest of the answer to a unit which is known to have succeeded with this tag and no rows. */
export function successAnswer(unitBytes: Buffer, tag: string, alreadyGiven: number): Buffer {
  const answers: Buffer[] = [];
  let at = 0;
  while (at + 5 <= unitBytes.length) {
    switch (unitBytes[at]) {
      case FrontendType.Query:
      case FrontendType.Execute:
        answers.push(commandComplete(tag));
        break;
      case FrontendType.Parse:
        answers.push(bodyless(BackendType.ParseComplete));
        break;
      case FrontendType.Bind:
        answers.push(bodyless(BackendType.BindComplete));
        break;
      case FrontendType.Close:
        answers.push(bodyless(BackendType.CloseComplete));
        break;
      case FrontendType.Describe:
        if (unitBytes[at + 5] === 0x53) answers.push(noParameters());
        answers.push(bodyless(BackendType.NoData));
        break;
      default:
        break;
    }
    at += 1 + unitBytes.readUInt32BE(at + 1);
  }
  return Buffer.concat([...answers.slice(alreadyGiven), readyForQuery(IDLE)]);
}

/** An error; with `status` also the end of the answer. */
export function errorAnswer(error: SyntheticError, status: number | null): Buffer {
  const message = errorResponse(
    new Map([
      ['S', 'ERROR'],
      ['V', 'ERROR'],
      ['C', error.code],
      ['M', error.message],
      ['R', error.token],
    ]),
  );
  return status === null ? message : Buffer.concat([message, readyForQuery(status)]);
}

/** The end of an answer whose error was already given. */
export function endAnswer(status: number): Buffer {
  return readyForQuery(status);
}

/** An error of the driver's on its way through pg's parser; `token` finds the error object again behind it. */
export interface SyntheticError {
  readonly code: string;
  readonly message: string;
  readonly token: string;
}
