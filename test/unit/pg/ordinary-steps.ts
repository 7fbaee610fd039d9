import { KINDS } from './wal-model.ts';

/** With 61 in it a step leaves no standby out; the rest of the number chooses how a transaction ends. */
const thorough = (kind: number, choice = 0): number => kind + KINDS * 16 * (61 + 64 * choice);
const REPLICATE = thorough(36);

/** Begin, finish, write something else, use ids, replicate everything to all; and a failover that all take part in. */
export const ordinarySteps: readonly (readonly number[])[] = [
  ...[0, 0, 26, 28].map((kind) => [thorough(kind)]),
  ...[0, 1, 2, 3].map((choice) => [thorough(12, choice)]),
  [REPLICATE],
  [thorough(55), REPLICATE],
];
