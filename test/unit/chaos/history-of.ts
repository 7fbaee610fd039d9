import type { ListRead, Observation, Transaction } from '../../chaos/transaction.ts';

/** A transaction of a history made by hand; what is left out is ordinary. */
export type Sketch = Partial<Transaction> & Pick<Transaction, 'marker'>;

let clock = 0;

/** Each one after the other, unless times are given. */
export function transaction({ observations = [], ...rest }: Sketch): Transaction {
  const beganAt = rest.beganAt ?? ++clock;
  return {
    process: 0,
    workload: 'list',
    isolation: 'SERIALIZABLE',
    autocommit: false,
    status: 'ok',
    beganAt,
    endSentAt: beganAt,
    end: 'COMMIT',
    endedAt: rest.endedAt ?? ++clock,
    observations: observations.map((step) =>
      'sentAt' in step && Number.isNaN(step.sentAt) ? { ...step, sentAt: beganAt } : step,
    ),
    effects: [],
    possibleEffects: [],
    error: null,
    ...rest,
  };
}

export function append(key: number, value: number): Observation {
  return { kind: 'append', key, value };
}

export function read(key: number, list: readonly number[], locked = false): ListRead {
  return { kind: 'list-read', key, list, locked, sentAt: Number.NaN };
}

/** All of them at the same time, so that only what they have read orders them. */
export function together(...sketches: Sketch[]): Transaction[] {
  return sketches.map((sketch) => transaction({ beganAt: 0, endedAt: 1_000_000, ...sketch }));
}
