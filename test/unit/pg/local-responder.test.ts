import { describe, expect, it } from 'vitest';
import { OutcomeUnknownError } from '../../../src/errors.ts';
import type { Conversation } from '../../../src/pg/conversation.ts';
import { ErrorPassage } from '../../../src/pg/error-passage.ts';
import { LocalResponder, type ResponderHost } from '../../../src/pg/local-responder.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { statementText } from '../../../src/pg/statement-text.ts';

const REFUSED = new OutcomeUnknownError('nobody knows');

/** A session of which only what is pending counts. */
function lab(): { responder: LocalResponder; pending: PgUnit[]; open: (text: string) => PgUnit } {
  const pending: PgUnit[] = [];
  const responder = new LocalResponder({ pending } as unknown as Conversation, new ErrorPassage(), {
    doom: null,
  } as unknown as ResponderHost);
  return {
    responder,
    pending,
    open: (text) => {
      const unit = Object.assign(makeUnit(true, 0), { texts: [statementText(text)] });
      pending.push(unit);
      responder.opened(unit);
      return unit;
    },
  };
}

describe('a COMMIT behind one that was answered with an error of ours', () => {
  it('is refused with the same if it is repeated', () => {
    const { responder, pending, open } = lab();
    const commit = open('COMMIT');
    pending.shift();
    responder.failed(commit, REFUSED);
    const again = open('COMMIT');
    expect(responder.refuseRepeated()).toBe(true);
    expect(responder.owns(again)).toBe(true);
  });

  it('is another one if something was pipelined between them that is over', () => {
    const { responder, pending, open } = lab();
    const commit = open('COMMIT');
    pending.shift();
    // Its answer is held back meanwhile.
    open('BEGIN');
    pending.shift();
    responder.failed(commit, REFUSED);
    open('COMMIT');
    expect(responder.refuseRepeated()).toBe(false);
  });

  it('is another one if something was pipelined between them that is not over', () => {
    const { responder, pending, open } = lab();
    const commit = open('COMMIT');
    open('BEGIN');
    responder.failed(commit, REFUSED);
    pending.shift();
    pending.shift();
    open('COMMIT');
    expect(responder.refuseRepeated()).toBe(false);
  });
});
