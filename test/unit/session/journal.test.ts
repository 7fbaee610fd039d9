import { describe, expect, it } from 'vitest';
import { FAILED, IDLE, IN_TRANSACTION, Journal, type Unit } from '../../../src/session/journal.ts';
import type { UnitDigest } from '../../../src/session/response-digest.ts';

const LIMITS = { maxStatements: 4, maxBytes: 1_000 };

let position = 0;

function unit(bytes = 10): Unit {
  const start = position;
  position += bytes;
  return {
    start,
    end: position,
    closed: true,
    writtenTo: position,
    dropped: false,
    sentSequence: 0,
    acknowledgedSequence: 0,
    digest: null,
    committed: false,
    completions: 0,
    error: null,
    withdrawn: false,
  };
}

function committed(): Unit {
  return { ...unit(), committed: true };
}

function digest(status: number): UnitDigest {
  return { multisetA: 1, multisetB: 2, sequenceA: 3, sequenceB: 4, messages: 1, status };
}

function openJournal(limits = LIMITS): Journal<Unit> {
  const journal = new Journal<Unit>(limits);
  journal.complete(unit(), digest(IN_TRANSACTION), false);
  return journal;
}

describe('the transaction status', () => {
  it('is that of the last ReadyForQuery', () => {
    const journal = new Journal<Unit>(LIMITS);
    for (const [status, open] of [
      [IN_TRANSACTION, true],
      [FAILED, true],
      [IN_TRANSACTION, true],
      [IDLE, false],
    ] as const) {
      journal.complete(unit(), digest(status), false);
      expect({ status: journal.status, open: journal.open }).toEqual({ status, open });
    }
  });

  it('says when a transaction of the application has ended', () => {
    const journal = new Journal<Unit>(LIMITS);
    expect(journal.complete(unit(), digest(IDLE), false)).toBe(false);
    expect(journal.complete(unit(), digest(IN_TRANSACTION), false)).toBe(false);
    expect(journal.complete(unit(), digest(FAILED), false)).toBe(false);
    expect(journal.complete(unit(), digest(IDLE), false)).toBe(true);
    expect(journal.complete(committed(), digest(IDLE), false)).toBe(true);
  });
});

describe('what is journalled', () => {
  it('is each unit of the open transaction with its digest, failed ones too', () => {
    const journal = openJournal();
    const failed = unit();
    journal.complete(failed, digest(FAILED), false);
    expect(journal.units).toHaveLength(2);
    expect(journal.units[1]).toBe(failed);
    expect(failed.digest?.status).toBe(FAILED);
    expect(journal.unreplayable).toBeNull();
  });

  it('is nothing outside of a transaction', () => {
    const journal = new Journal<Unit>(LIMITS);
    journal.complete(unit(), digest(IDLE), false);
    expect(journal.units).toEqual([]);
  });

  it('is let go when the transaction ends', () => {
    const journal = openJournal();
    journal.complete(unit(), digest(IDLE), false);
    expect(journal.units).toEqual([]);
    expect(journal.keepFrom(77)).toBe(77);
  });

  it('is kept from its first byte', () => {
    const journal = new Journal<Unit>(LIMITS);
    const first = unit();
    journal.complete(first, digest(IN_TRANSACTION), false);
    journal.complete(unit(), digest(IN_TRANSACTION), false);
    expect(journal.keepFrom(first.end + 500)).toBe(first.start);
  });
});

describe('a COMMIT whose ReadyForQuery says that a transaction is open (A1)', () => {
  it('ends the journalled transaction: it is never sent again', () => {
    const journal = openJournal();
    const unitWithCommit = committed();
    expect(journal.complete(unitWithCommit, digest(IN_TRANSACTION), false)).toBe(true);
    expect(journal.open).toBe(true);
    expect(journal.units).not.toContain(unitWithCommit);
    expect(journal.units).toEqual([]);
    expect(journal.unreplayable).toMatch(/multi-statement string/);
  });

  it('leaves a transaction that can not be replayed, whatever comes', () => {
    const journal = openJournal();
    journal.complete(committed(), digest(FAILED), false);
    journal.complete(unit(), digest(FAILED), false);
    expect(journal.units).toEqual([]);
    expect(journal.unreplayable).not.toBeNull();
    journal.complete(unit(), digest(IDLE), false);
    expect(journal.unreplayable).toBeNull();
  });

  it('is the same if no transaction was open before: INSERT; COMMIT; BEGIN', () => {
    const journal = new Journal<Unit>(LIMITS);
    expect(journal.complete(committed(), digest(IN_TRANSACTION), false)).toBe(true);
    expect(journal.unreplayable).not.toBeNull();
  });

  it('ROLLBACK AND CHAIN, which has no such tag, is replayed to the letter', () => {
    const journal = openJournal();
    expect(journal.complete(unit(), digest(IN_TRANSACTION), false)).toBe(false);
    expect(journal.units).toHaveLength(2);
  });
});

describe('COMMIT AND CHAIN (A1)', () => {
  function chained(limits = LIMITS): Journal<Unit> {
    const journal = openJournal(limits);
    journal.complete(committed(), digest(IN_TRANSACTION), true);
    return journal;
  }

  it('begins a journal that asks for its BEGIN', () => {
    const journal = chained();
    expect(journal.awaitsChainedBegin).toBe(true);
    const begin = { ...unit(), start: 0, end: 0 };
    journal.beginChained(begin);
    expect(journal.awaitsChainedBegin).toBe(false);
    expect(journal.units).toEqual([begin]);
    expect(journal.unreplayable).toBeNull();
  });

  it('can not be replayed before that: without BEGIN it would run in autocommit', () => {
    const journal = chained();
    expect(journal.unreplayable).not.toBeNull();
    journal.complete(unit(), digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).not.toBeNull();
  });

  it('puts the BEGIN in front of what was pipelined behind it', () => {
    const journal = chained();
    const next = unit();
    journal.complete(next, digest(IN_TRANSACTION), false);
    const begin = { ...unit(), start: 0, end: 0 };
    journal.beginChained(begin);
    expect(journal.units).toEqual([begin, next]);
    expect(journal.unreplayable).toBeNull();
  });

  it('asks for nothing any more once it has ended', () => {
    const journal = chained();
    journal.complete(unit(), digest(IDLE), false);
    expect(journal.awaitsChainedBegin).toBe(false);
  });

  it('counts its bytes from its own first one, however many went through the session before', () => {
    position = 50_000_000;
    const journal = chained();
    journal.beginChained({ ...unit(), start: 0, end: 0 });
    const next = unit();
    journal.complete(next, digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).toBeNull();
    expect(journal.keepFrom(0)).toBe(next.start);
  });
});

describe('a transaction over a cap (R7)', () => {
  it('goes on, is not replayable, and says why', () => {
    const journal = openJournal();
    for (let i = 0; i < 3; i++) journal.complete(unit(), digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).toBeNull();
    journal.complete(unit(), digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).toMatch(/more than 4 statements \(failover\.maxJournalStatements\)/);
    expect(journal.units).toEqual([]);
    expect(journal.open).toBe(true);
    expect(journal.complete(unit(), digest(IDLE), false)).toBe(true);
    expect(journal.unreplayable).toBeNull();
  });

  it('of bytes says so too', () => {
    const journal = openJournal();
    journal.complete(unit(989), digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).toBeNull();
    journal.complete(unit(2), digest(IN_TRANSACTION), false);
    expect(journal.unreplayable).toMatch(/more than 1000 bytes \(failover\.maxJournalBytes\)/);
  });

  it('keeps its first reason', () => {
    const journal = openJournal();
    journal.makeUnreplayable('COPY');
    journal.makeUnreplayable('something else');
    expect(journal.unreplayable).toBe('COPY');
  });
});

describe('a transaction that is over without an answer', () => {
  it('leaves nothing behind', () => {
    const journal = openJournal();
    journal.makeUnreplayable('COPY');
    journal.reset();
    expect(journal).toMatchObject({
      status: IDLE,
      open: false,
      units: [],
      unreplayable: null,
      awaitsChainedBegin: false,
    });
  });
});
