import type { FunctionWorth } from './known-functions.ts';
import { builtInWorth } from './known-functions.ts';

/** Why something that a statement touches speaks against it. Reasons name objects of the catalogue, never values. */
export interface Problem {
  /** Why the statement is not proved to be a read; null if this does not speak against it. */
  readonly unproved: string | null;
  /** Why it may leave unseen traces in the session; null if it can't. */
  readonly unsafe: string | null;
  /**
   * Whether it acts outside of the database. `unseen`: it is code that nobody looks into, so that it may if anything in
   * the database can.
   */
  readonly outside: 'no' | 'unseen' | 'yes';
  /** True if it was seen to depend on the moment: SKIP LOCKED and the like. Unseen code always may. */
  readonly orderSensitive?: boolean;
}

/** Both unproved and unsafe, for the same reason. */
export function problem(reason: string, outside: Problem['outside'] = 'no'): Problem {
  return { unproved: reason, unsafe: reason, outside };
}

export function onlyUnproved(reason: string): Problem {
  return { unproved: reason, unsafe: null, outside: 'no' };
}

/** Of a function made by initdb; `direct` if the statement itself calls it, so that its trace is seen in the text. */
export function builtInProblem(name: string, volatility: string, direct: boolean): Problem | undefined {
  const worth: FunctionWorth = builtInWorth(name, volatility);
  const reason = `calls ${name}`;
  switch (worth) {
    case 'read':
      return undefined;
    case 'session-safe':
      return onlyUnproved(reason);
    case 'tracked':
      return direct ? onlyUnproved(reason) : problem(reason);
    case 'opaque':
      return problem(reason, 'unseen');
    case 'outside':
      return problem(reason, 'yes');
  }
}

/** Of a function that nobody has looked into. */
export function unseenFunction(name: string): Problem {
  return problem(`runs the function ${name}`, 'unseen');
}

/** Of a relation that is read. */
export function readProblem(name: string, kind: string): Problem | undefined {
  switch (kind) {
    case 'r':
    case 'p':
    case 'm':
    case 'v':
      return undefined;
    case 'S':
      return onlyUnproved(`reads the sequence ${name}`);
    default:
      return otherKindProblem(name, kind);
  }
}

/** Of a relation that is written. */
export function writeProblem(name: string, kind: string): Problem | undefined {
  return kind === 'r' || kind === 'p' || kind === 'v' ? undefined : otherKindProblem(name, kind);
}

function otherKindProblem(name: string, kind: string): Problem {
  if (kind === 'f') return problem(`${name} is a foreign table`, 'yes');
  return problem(`${name} is no table or view`);
}
