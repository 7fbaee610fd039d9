import type { Command, ModelCluster, Operation } from './model-server.ts';
import type { ModelSession, ModelUnit } from './model-session.ts';
import type { Random } from './random.ts';

/** Writes that the application means to take effect together or not at all. */
interface Group {
  /** Between BEGIN and COMMIT; otherwise the implicit transaction of one unit. */
  readonly isTransaction: boolean;
  readonly writes: { readonly id: number; readonly unit: ModelUnit }[];
  /** The unit that holds its BEGIN, or the COMMIT AND CHAIN before it. */
  readonly opener: ModelUnit | null;
  /** The unit that commits it, and where in its answer the tag of the COMMIT stands; null: never, or rolled back. */
  commit: { readonly unit: ModelUnit; readonly index: number } | null;
}

const INSIDE: readonly (readonly Operation[])[] = [['write', 'commit'], ['commit', 'begin'], ['commit', 'write'],
  ['write', 'commit', 'begin', 'write'], ['rollback', 'write'], ['commit', 'begin', 'commit'], ['write', 'fail']]; // prettier-ignore
const OUTSIDE: readonly (readonly Operation[])[] = [['begin', 'write', 'commit'], ['begin', 'write'], ['write', 'write'],
  ['write', 'fail'], ['read', 'write'], ['hotRead', 'write'], ['write', 'commit']]; // prettier-ignore

/** Sends statements, remembers what it meant by them, and at the end asks the database. */
export class ModelApplication {
  readonly #session: ModelSession;
  readonly #random: Random;
  readonly #groups: Group[] = [];
  readonly units: ModelUnit[] = [];
  /** How many statements it sends without waiting for answers. */
  readonly #depth: number;
  #open: Group | null = null;
  #writes = 0;
  /** Answers it has looked at. */
  #read = 0;
  #mustRollBack = false;

  constructor(session: ModelSession, random: Random) {
    this.#session = session;
    this.#random = random;
    this.#depth = random.chance(40) ? 1 + random.below(5) : 1;
  }

  get isPipelining(): boolean {
    return this.#depth > 1;
  }

  /** Sends the next statement, unless it waits for an answer. */
  act(): void {
    if (this.#session.pending.length >= this.#depth || this.#session.kind === 'closed') return;
    this.#look();
    this.#submit(this.#next());
  }

  /** Ends what is open, so that the last word about each transaction is said. */
  finish(): void {
    this.#look();
    if (this.#open !== null) this.#submit([this.#random.chance(50) ? 'commit' : 'rollback']);
  }

  #next(): readonly Operation[] {
    const random = this.#random;
    if (this.#mustRollBack) return ['rollback'];
    const statement: Operation = random.pick([
      'read',
      'read',
      'write',
      'write',
      'write',
      'hotRead',
      'fail',
      'poison',
    ]);
    const rare: Operation =
      statement === 'fail' || statement === 'poison' || statement === 'hotRead'
        ? random.chance(30)
          ? statement
          : 'write'
        : statement;
    if (this.#open === null) {
      if (random.chance(45)) return ['begin'];
      return random.chance(15) ? random.pick(OUTSIDE) : [rare];
    }
    if (random.chance(30))
      return [
        random.pick<Operation>([
          'commit',
          'commit',
          'commit',
          'commit',
          'rollback',
          'chain',
          'rollbackAndChain',
        ]),
      ];
    return random.chance(10) ? random.pick(INSIDE) : [rare];
  }

  #submit(operations: readonly Operation[]): void {
    const commands = operations.map((operation): Command => {
      return { operation, write: operation === 'write' || operation === 'poison' ? ++this.#writes : 0 };
    });
    // The extended protocol takes one statement at a time.
    const unit = this.#session.submit(commands, commands.length > 1 || this.#random.chance(50));
    this.units.push(unit);
    this.#mustRollBack = false;
    let implicit: Group | null = null;
    for (const [index, { operation, write }] of commands.entries()) {
      switch (operation) {
        case 'begin':
          this.#open ??= this.#group(true, unit);
          break;
        case 'commit':
        case 'chain':
          if (this.#open !== null) this.#open.commit = { unit, index };
          this.#open = operation === 'chain' && this.#open !== null ? this.#group(true, unit) : null;
          break;
        case 'rollback':
          this.#open = null;
          break;
        case 'rollbackAndChain':
          this.#open = this.#open === null ? null : this.#group(true, unit);
          break;
        case 'write':
        case 'poison':
          if (this.#open === null && implicit === null) {
            implicit = this.#group(false, null);
            implicit.commit = { unit, index: commands.length - 1 };
          }
          (this.#open ?? implicit)!.writes.push({ id: write, unit });
          break;
        case 'read':
        case 'hotRead':
        case 'fail':
          break;
      }
    }
  }

  #group(isTransaction: boolean, opener: ModelUnit | null): Group {
    const group: Group = { isTransaction, opener, writes: [], commit: null };
    this.#groups.push(group);
    return group;
  }

  /** Looks at the answers that came since: an error usually makes it roll back. */
  #look(): void {
    for (; this.#read < this.units.length; this.#read++) {
      const unit = this.units[this.#read]!;
      const [told] = unit.told;
      if (told === undefined) return;
      const isError = told.kind !== 'answer' || told.messages.some(({ kind }) => kind === 'E');
      if (!isError || this.isPipelining) continue;
      const [first] = unit.commands;
      const isEnd =
        unit.commands.length === 1 && (first!.operation === 'commit' || first!.operation === 'chain');
      if (isEnd)
        this.#open = null; // An error that a COMMIT got has ended its transaction (A13).
      else if (unit.commands.length > 1)
        this.#mustRollBack = true; // Nobody can know where it stopped.
      else if (this.#open !== null && this.#random.chance(70)) this.#mustRollBack = true;
    }
  }

  /** What is wrong between what the application was told and what the database has; empty if nothing is. */
  audit(cluster: ModelCluster): readonly string[] {
    const problems: string[] = [];
    for (const unit of this.units) {
      const isOver = this.#session.kind === 'closed';
      if (unit.told.length > 1 || (unit.told.length === 0 && !isOver))
        problems.push(`unit ${unit.number} got ${unit.told.length} answers`);
      if (unit.told[0]?.kind === 'unknown' && this.#mustBeKnown(unit))
        problems.push(`unit ${unit.number} is unknown, though there are tokens`);
      if (unit.sentAfterWithdrawal) problems.push(`unit ${unit.number} was sent after it was withdrawn`);
    }
    for (const group of this.#groups) this.#auditGroup(group, cluster, problems);
    return problems;
  }

  /** With tokens an application that waits for each answer gets to know what became of everything that may have one. */
  #mustBeKnown(unit: ModelUnit): boolean {
    if (!this.#session.hasTokens || this.isPipelining || unit.withdrawn || unit.mayBeUnknown) return false;
    return true;
  }

  #auditGroup(group: Group, cluster: ModelCluster, problems: string[]): void {
    const expected = expectationOf(group);
    let present = 0;
    let missing = 0;
    for (const { id, unit } of group.writes) {
      const times = cluster.timesPresent(id);
      // On another branch of the history it had been committed before it was found not to be.
      const isExcused =
        (group.isTransaction && serverRefused(group.opener, unit)) || cluster.hasComeBack.has(id);
      const where = `write ${id} of unit ${unit.number}`;
      const told = rowToldOf(unit, id);
      const comeBackAt = cluster.hasComeBack.get(id);
      const wasToldBefore = comeBackAt !== undefined && (unit.answeredAt ?? 0) <= comeBackAt;
      if (
        times === 1 &&
        told !== undefined &&
        !wasToldBefore &&
        cluster.committedIn.get(id)?.rows.get(id) !== told
      )
        problems.push(`${where} was told with another row than is there`);
      if (times > 1) problems.push(`${where} is there ${times} times`);
      if (expected.kind === 'absent' && times > 0 && !isExcused)
        problems.push(`${where} is there, though ${expected.because}`);
      const isTold = wasTold(unit, id);
      // Where the server refused to open the transaction, what was pipelined behind ran one by one, as with pg.
      if (isTold && times === 0 && !isExcused) missing++;
      if (times > 0 && !isExcused) present++;
      const committed = cluster.committedIn.get(id);
      const lostAt = committed === undefined ? undefined : cluster.lostAt.get(committed);
      const lostLater = lostAt !== undefined && lostAt >= expected.since;
      if (expected.kind === 'present' && isTold && times === 0 && !lostLater && !isExcused)
        problems.push(`${where} is missing, though ${expected.because}`);
      if (group.isTransaction && cluster.inAutocommit.has(id) && !isExcused)
        problems.push(`${where} ran in autocommit`);
    }
    if (present > 0 && missing > 0)
      problems.push(`a transaction is there in part: ${group.writes.map(({ id }) => id).join()}`);
  }
}

interface Expectation {
  readonly kind: 'present' | 'absent' | 'either';
  readonly because: string;
  readonly since: number;
}

function expectationOf({ commit, isTransaction }: Group): Expectation {
  if (commit === null) return { kind: 'absent', because: 'it was never committed', since: 0 };
  const { unit, index } = commit;
  const [told] = unit.told;
  const since = unit.toldAt ?? 0;
  if (told === undefined || told.kind === 'closed' || told.kind === 'unknown')
    return { kind: 'either', because: 'unknown', since };
  if (told.kind === 'lost') return { kind: 'present', because: 'it was told as committed', since };
  if (told.kind !== 'answer') {
    // A string may have committed before it was refused only if it was told so.
    return { kind: 'absent', because: `it was told as ${told.kind}`, since };
  }
  const failed = told.messages.some(({ kind }) => kind === 'E');
  if (failed) {
    const isSole =
      unit.commands.length === 1 || !unit.commands.some(({ operation }) => operation === 'commit');
    return isSole
      ? { kind: 'absent', because: 'the server refused it', since }
      : { kind: 'either', because: 'a string failed', since };
  }
  const answer = told.messages[index];
  if (isTransaction && answer?.kind === 'C' && answer.tag === 'ROLLBACK')
    return { kind: 'absent', because: 'its COMMIT rolled back', since };
  return { kind: 'present', because: 'it was told as committed', since };
}

/** True if the server's own answer said that the write was made. */
function wasTold(unit: ModelUnit, write: number): boolean {
  const [told] = unit.told;
  return (
    told?.kind === 'answer' &&
    // An error behind it takes it back with the rest of its string.
    !told.messages.some(({ kind }) => kind === 'E') &&
    told.messages.some((message) => message.kind === 'C' && message.tag === `INSERT ${write}`)
  );
}

/** What the application was told that the database drew for the write. */
function rowToldOf(unit: ModelUnit, write: number): number | undefined {
  const [told] = unit.told;
  if (told?.kind !== 'answer' || told.messages.some(({ kind }) => kind === 'E')) return undefined;
  for (const message of told.messages)
    if (message.kind === 'C' && message.tag === `INSERT ${write}`) return message.row;
  return undefined;
}

/**
 * The server itself did not open the transaction: what was pipelined behind runs in autocommit with any driver. Of what
 * is unknown nobody can tell.
 */
function serverRefused(opener: ModelUnit | null, unit: ModelUnit): boolean {
  const [told] = opener?.told ?? [];
  const openerIsTold = told?.kind === 'unknown' || told?.kind === 'refuse';
  if (openerIsTold && unit.told[0]?.kind === 'unknown') return true;
  // Behind a COMMIT that failed AND CHAIN is refused; the session was closed before that was heard.
  const chains = opener?.commands.some(
    ({ operation }) => operation === 'chain' || operation === 'rollbackAndChain',
  );
  if (chains === true && told?.kind === 'closed' && unit.told[0]?.kind === 'closed') return true;
  return told?.kind === 'answer' && told.messages.some(({ kind }) => kind === 'E');
}
