import { describe, expect, it } from 'vitest';
import { ApplicationErrors } from '../../chaos/application-errors.ts';
import type { Isolation } from '../../chaos/transaction.ts';
import {
  FailoverFailedError,
  InternalError,
  OutcomeUnknownError,
  ResultLostError,
} from '../../../src/errors.ts';

function note(error: unknown, isolation?: Isolation): { total: number; defects: number } {
  const errors = new ApplicationErrors();
  errors.note('here', error, isolation);
  return { total: errors.total, defects: errors.defects.length };
}

const ofTheServer = (code: string, message = ''): Error => Object.assign(new Error(message), { code });

describe('the errors that an application was given', () => {
  it('are not counted if a server that lives gives them, too', () => {
    for (const code of ['40P01', '23514']) expect(note(ofTheServer(code))).toEqual({ total: 0, defects: 0 });
    for (const isolation of ['REPEATABLE READ', 'SERIALIZABLE'] as const)
      expect(note(ofTheServer('40001'), isolation)).toEqual({ total: 0, defects: 0 });
  });

  it('are counted if they are the price of a failover', () => {
    for (const error of [
      new ResultLostError(''),
      new OutcomeUnknownError(''),
      ofTheServer('55000', 'currval of sequence "s" is not yet defined in this session'),
    ])
      expect(note(error)).toEqual({ total: 1, defects: 0 });
  });

  it('are violations if the driver should have kept them to itself', () => {
    for (const error of [
      ofTheServer('57P01'),
      ofTheServer('55000', 'something else'),
      ofTheServer('23505'),
      ofTheServer('40001'), // where there is no snapshot
      ofTheServer('ECONNRESET'),
      new Error('Connection terminated unexpectedly'),
      new FailoverFailedError(''),
      new InternalError(''),
    ])
      expect(note(error)).toEqual({ total: 1, defects: 1 });
  });
});
