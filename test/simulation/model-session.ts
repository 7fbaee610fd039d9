import type { Conversation } from '../../src/pg/conversation.ts';
import { makeUnit, sendAgain, type PgUnit } from '../../src/pg/pg-unit.ts';
import type { Responder } from '../../src/pg/responder.ts';
import type { ServerConnection } from '../../src/pg/server-connection.ts';
import { commitStart } from '../../src/pg/sql/token-place.ts';
import { TokenKeeper, type TokenSource } from '../../src/pg/token/token-keeper.ts';
import { isForApplication } from '../../src/pg/token/unit-token.ts';
import { statementText } from '../../src/pg/statement-text.ts';
import type { CommitMark } from '../../src/pg/commit-mark.ts';
import { TransactionMarks } from '../../src/pg/transaction-marks.ts';
import {
  endingOf,
  isTransactionControl,
  onlyOpens,
  opensTransaction,
  proofOf,
} from '../../src/pg/unit-facts.ts';
import { FAILED, IDLE, Journal } from '../../src/session/journal.ts';
import { planLoss } from '../../src/session/loss-plan.ts';
import type {
  CommitOutcome,
  Doom,
  Fate,
  LossPlan,
  MarkState,
  PendingUnit,
} from '../../src/session/loss-situation.ts';
import { sameResults, type UnitDigest } from '../../src/session/response-digest.ts';
import {
  INITIAL,
  transition,
  type Effect,
  type SessionEvent,
  type SessionState,
} from '../../src/session/state.ts';
import {
  ModelBackend,
  SQL,
  type Command,
  type Message,
  type ModelCluster,
  type ServerTransaction,
  type TokenInUnit,
} from './model-server.ts';
import type { Random } from './random.ts';

/** What the application was told for a statement. */
export type Told =
  | { readonly kind: 'answer'; readonly messages: readonly Message[] }
  | { readonly kind: 'unknown' | 'lost' | 'undone' | 'withdraw' | 'refuse' | 'closed' };

export interface ModelUnit extends PgUnit {
  readonly number: number;
  readonly commands: readonly Command[];
  readonly told: Told[];
  /** Step in which the server's word about it came, or else the driver's. */
  toldAt: number | null;
  /** Step in which its answer, or what stands in its place, was complete. */
  answeredAt: number | null;
  /** It reached a server after the application had given up on it. */
  sentAfterWithdrawal: boolean;
  /** It was once sent without a token, or the resolver could not tell. */
  mayBeUnknown: boolean;
}

export interface SessionTraits {
  readonly marksWork: boolean;
  readonly maxStatements: number;
  /** There is a token table; then no marks are made. */
  readonly tokens: boolean;
  /** Percent of the questions that the resolver can't answer. */
  readonly unresolved: number;
  readonly random: Random;
}

type ToServer =
  | {
      readonly kind: 'unit';
      readonly unit: ModelUnit;
      readonly markInside: number | null;
      readonly token: TokenInUnit | null;
      readonly isConverted: boolean;
    }
  | { readonly kind: 'token'; readonly key: number; readonly answer: Responder }
  | { readonly kind: 'mark'; readonly request: number }
  | { readonly kind: 'chain' };
type ToClient =
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'ready'; readonly status: number }
  | {
      readonly kind: 'token';
      readonly messages: readonly Message[];
      readonly answer: Responder;
      readonly status: number;
    }
  | {
      readonly kind: 'mark';
      readonly isInside: boolean;
      readonly request: number;
      readonly transaction: ServerTransaction | null;
      readonly failed: boolean;
    }
  | { readonly kind: 'chain' };

interface Wire {
  readonly epoch: number;
  readonly backend: ModelBackend;
  readonly toServer: ToServer[];
  readonly toClient: ToClient[];
}

/** In a failed transaction COMMIT rolls back. */
const ENDING: ReadonlySet<string> = new Set(['rollback', 'rollbackAndChain', 'chain', 'commit']);

const STATUS = { I: IDLE, T: 0x54, E: FAILED } as const;

/**
 * A session as the engine drives the machine: the same decisions in the same places as in `pg/logical-session.ts`, but
 * without bytes, sockets and time. Each `step…` lets one thing happen.
 */
export class ModelSession {
  readonly #cluster: ModelCluster;
  readonly #traits: SessionTraits;
  readonly #journal: Journal<ModelUnit>;
  readonly #marks = new TransactionMarks();
  readonly pending: ModelUnit[] = [];
  readonly #fates = new Map<ModelUnit, Fate>();
  #state: SessionState = INITIAL;
  #wire: Wire | null = null;
  #given: Message[] = [];
  /** Messages that must come again, of the first pending unit. */
  #toSkip: Message[] | null = null;
  #hasDiverged = false;
  #holds = 0;
  #marksAwaited = 0;
  #position = 0;
  #sequence = 0;
  #markState: MarkState = 'unknown';
  #markInDoubt: ServerTransaction | null = null;
  #planIsFinal = false;
  #replay: { readonly units: readonly ModelUnit[]; index: number } | null = null;
  #units = 0;
  readonly #tokens: TokenKeeper;
  #keys = 0;
  /** The old server process could not be ended. */
  #isRefused = false;
  /** What of the first pending unit's answer is kept back. */
  #held: Message[] = [];
  /** Server processes that live on without their client; the first is that on which the application's work ran. */
  readonly #zombies: { readonly wire: Wire; readonly isOrigin: boolean }[] = [];
  step = 0;
  readonly seen = new Map<string, number>();

  constructor(cluster: ModelCluster, traits: SessionTraits) {
    this.#cluster = cluster;
    this.#traits = traits;
    this.#journal = new Journal({ maxStatements: traits.maxStatements, maxBytes: 1_000_000 });
    this.#tokens = this.#tokenKeeper();
    this.#wire = this.#newWire(0);
    this.#tokens.connected(this.#tokenSource(), false);
    this.dispatch({ kind: 'connected', epoch: 0 });
  }

  get kind(): SessionState['kind'] {
    return this.#state.kind;
  }

  get hasTokens(): boolean {
    return this.#traits.tokens;
  }

  get epoch(): number {
    return 'epoch' in this.#state ? this.#state.epoch : 0;
  }

  get isQuiet(): boolean {
    const wire = this.#wire;
    const isIdle = wire === null || (wire.toServer.length === 0 && wire.toClient.length === 0);
    return this.kind === 'closed' || (this.kind === 'online' && this.pending.length === 0 && isIdle);
  }

  dispatch(event: SessionEvent): void {
    this.#count(`${event.kind} in ${this.#state.kind}`);
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  // ---- the application ---------------------------------------------------------------------------------------

  submit(commands: readonly Command[], simple: boolean): ModelUnit {
    const unit: ModelUnit = {
      ...makeUnit(simple, this.#position),
      executes: simple ? 0 : 1,
      mayBeUnknown: false,
      number: ++this.#units,
      commands,
      told: [],
      toldAt: null,
      answeredAt: null,
      sentAfterWithdrawal: false,
    };
    unit.texts.push(statementText(commands.map(({ operation }) => SQL[operation]).join('; ')));
    unit.end = this.#position += 1;
    unit.closed = true;
    this.pending.push(unit);
    this.#flush();
    return unit;
  }

  /** The application gives up on what is under way (R15). */
  withdraw(): void {
    if (this.kind === 'closed' || this.pending.length === 0) return;
    for (const unit of this.pending) unit.withdrawn = true;
    this.dispatch({ kind: 'withdrawn', pending: this.#facts() });
  }

  // ---- the network -------------------------------------------------------------------------------------------

  /** The server takes one message from the wire; returns false if there is none. */
  serve(): boolean {
    const wire = this.#wire;
    const next = wire?.toServer.shift();
    if (wire === null || next === undefined) return false;
    serve(wire, next);
    return true;
  }

  /** The client takes one message from the wire. */
  receive(): boolean {
    const next = this.#wire?.toClient.shift();
    if (next === undefined || this.kind !== 'online') return false;
    switch (next.kind) {
      case 'token':
        for (const message of next.messages) {
          const bytes = bytesOf(message);
          next.answer.message(bytes[0]!, bytes, 0, bytes.length);
        }
        next.answer.ready(next.status);
        break;
      case 'message':
        this.#message(next.message);
        break;
      case 'ready':
        this.#ready(next.status);
        break;
      case 'mark':
        this.#markAnswered(next);
        break;
      case 'chain':
        if (this.#journal.awaitsChainedBegin) this.#journal.beginChained(chainedBegin());
        this.#letGo();
        break;
    }
    return true;
  }

  /** The connection breaks; its server still takes the first `served` of what is on the way to it. */
  lose(served: number): void {
    const wire = this.#wire;
    if (wire === null) return;
    for (const next of wire.toServer.splice(0, served)) serve(wire, next);
    this.#leave(wire);
    this.#lost();
  }

  /** With tokens the server may not notice for a while, and goes on. */
  #leave(wire: Wire): void {
    this.#wire = null;
    if (!this.#traits.tokens || this.#traits.random.chance(40)) wire.backend.die();
    else this.#zombies.push({ wire, isOrigin: this.kind === 'online' });
  }

  /** A server process whose client is gone does what is still on the way to it. */
  serveZombie(): void {
    const zombie = this.#zombies[this.#traits.random.below(this.#zombies.length)];
    const next = zombie?.wire.toServer.shift();
    if (zombie !== undefined && next !== undefined) serve(zombie.wire, next);
  }

  /** Their server is replaced by another one, or they are terminated. */
  bury(whom: 'all' | 'replays' | 'origin' = 'all'): void {
    for (const { wire, isOrigin } of this.#zombies.splice(0)) {
      if (whom === 'all' || (whom === 'origin') === isOrigin) wire.backend.die();
      else this.#zombies.push({ wire, isOrigin });
      if (this.#zombies.length > 100) throw new Error('too many');
    }
  }

  /** A loss event that comes late, or for the second time. */
  tellOldLoss(random: Random): void {
    const state = this.#state;
    if (!('epoch' in state)) return;
    const epoch = state.kind === 'reconnecting' ? state.epoch : state.epoch - 1 - random.below(2);
    this.dispatch({ kind: 'lost', epoch, plan: this.#makePlan() });
  }

  // ---- recovery, one step at a time --------------------------------------------------------------------------

  recover(random: Random): void {
    const state = this.#state;
    switch (state.kind) {
      case 'reconnecting': {
        // R4: a unit in doubt is left to the resolver.
        this.bury(state.plan.resolve === null ? 'all' : 'replays');
        this.#tokens.connected(this.#tokenSource(), false);
        this.#wire = this.#newWire(state.epoch);
        this.#marks.reset();
        this.#holds = 0;
        this.#marksAwaited = 0;
        this.dispatch({
          kind: 'reconnected',
          epoch: state.epoch,
          plan: this.#planIsFinal ? null : this.#makePlan(),
        });
        return;
      }
      case 'resolving': {
        const inDoubt = this.pending[state.unit];
        if (inDoubt !== undefined && inDoubt.tokenKeys.length > 0) {
          this.#resolveTokens(inDoubt, state.epoch);
          return;
        }
        const committed = this.#markInDoubt !== null && this.#cluster.isCommitted(this.#markInDoubt);
        const outcome: CommitOutcome = random.chance(25)
          ? 'unknown'
          : committed
            ? 'committed'
            : 'not-committed';
        this.#planIsFinal = true;
        this.#count(`resolved ${outcome}`);
        this.dispatch({
          kind: 'resolved',
          epoch: state.epoch,
          verdict: { outcome, isFinal: outcome !== 'committed' },
        });
        return;
      }
      case 'replaying':
        if (this.#isRefused || random.chance(2))
          this.dispatch({
            kind: 'gave-up',
            epoch: state.epoch,
            doom: { kind: 'not-replayable', reason: 'pinned' },
          });
        else this.#replayOne(state.epoch);
        return;
      case 'waiting':
        this.dispatch({ kind: 'released', epoch: state.epoch, pending: this.#facts() });
        return;
      case 'connecting':
      case 'online':
      case 'closed':
        return;
    }
  }

  /** As `resolveTokens` and `SessionRecovery.#resolve`. */
  #resolveTokens(unit: ModelUnit, epoch: number): void {
    const { random, unresolved } = this.#traits;
    let outcome: CommitOutcome = 'not-committed';
    if (random.chance(unresolved)) {
      outcome = 'unknown';
      unit.mayBeUnknown = true;
    }
    let isOfEarlierAttempt = false;
    for (const key of outcome === 'unknown' ? [] : unit.tokenKeys.map(numberOf)) {
      // The one that has put it is waited for, or ended.
      for (const { wire } of this.#zombies) {
        if (!wire.backend.hasPut(key)) continue;
        if (random.chance(50)) for (const next of wire.toServer.splice(0)) serve(wire, next);
        if (wire.backend.hasPut(key)) wire.backend.die();
      }
      if (this.#cluster.token(key) === 'committed') {
        outcome = 'committed';
        isOfEarlierAttempt = key !== numberOf(unit.tokenKeys.at(-1)!);
        break;
      }
      if (this.#cluster.token(key) === null) this.#cluster.fence(key);
    }
    this.#count(`token resolved ${outcome}`);
    if (random.chance(5)) {
      this.lose(0);
      return;
    }
    this.#planIsFinal = true;
    // A process that can't be ended holds its locks: nothing runs again beside it.
    if (outcome === 'not-committed') {
      if (random.chance(30)) this.#isRefused = true;
      else this.bury('origin');
    }
    const isFinal = outcome === 'unknown';
    this.dispatch({ kind: 'resolved', epoch, verdict: { outcome, isFinal, isOfEarlierAttempt } });
  }

  #replayOne(epoch: number): void {
    const replay = this.#replay!;
    const unit = replay.units[replay.index++];
    if (unit === undefined) {
      for (const one of replay.units) if (!isTransactionControl(one)) this.#marks.unitSent(factsOf(one));
      if (this.#traits.marksWork && this.#marks.wanted) {
        const { transaction, failed } = this.#wire!.backend.mark();
        if (!failed) this.#marks.answered(markOf(transaction), this.#marks.request());
      }
      this.dispatch({ kind: 'replayed', epoch });
      return;
    }
    const answer = this.#wire!.backend.run(unit.commands, unit.simple);
    const digest = digestOf(answer.messages, STATUS[answer.status]);
    const same = unit.digest === null ? digest.status !== IDLE : sameResults(unit.digest, digest);
    if (same) return;
    this.#planIsFinal = true;
    this.dispatch({ kind: 'gave-up', epoch, doom: { kind: 'diverged', reason: 'other results' } });
  }

  // ---- sending -----------------------------------------------------------------------------------------------

  #flush(): void {
    const wire = this.#wire;
    if (this.#state.kind !== 'online' || wire === null) return;
    if (this.#state.doom !== null) {
      for (const unit of this.pending) {
        if (!this.#fates.has(unit)) this.#fates.set(unit, 'refuse');
        if (endsDoom(unit)) break;
      }
      this.#settle();
      // As the engine: what came behind the end of the doom goes on.
      if (!('doom' in this.#state) || (this.#state.doom as Doom | null) === null) this.#flush();
      return;
    }
    if (this.#holds > 0) return;
    for (const unit of this.pending) {
      if (unit.writtenTo === unit.end || this.#fates.has(unit)) continue;
      // R11: nothing leaves behind a unit whose first part is still being compared.
      if ((this.#hasDiverged || this.#toSkip?.length) && unit !== this.pending[0]) break;
      // R6: the mark must have arrived before what may end the transaction leaves.
      const isUncovered = this.#traits.marksWork && this.#marks.isUncovered && !this.#marks.isKnown;
      if (
        (this.#marksAwaited > 0 ||
          (isUncovered && this.#journal.status !== FAILED && unit !== this.pending[0])) &&
        endingOf(unit) !== 'none'
      )
        break;
      if (this.#tokens.isOn && this.#tokens.mustWait(unit)) break;
      const isInside = this.#journal.open || this.pending.some((one) => onlyOpens(one));
      if (!isTransactionControl(unit) && isInside) this.#marks.unitSent(factsOf(unit));
      unit.sentSequence = ++this.#sequence;
      unit.writtenTo = unit.end;
      this.#noteSent(unit);
      if (this.#tokens.isOn) this.#tokens.sending(unit, this.#expecting(wire, unit));
      // Sent without one: behind refusals, or where it could not tell.
      if (this.#tokens.isOn && unit.token === null && !factsOf(unit).provedRead && !onlyOpens(unit))
        unit.mayBeUnknown = unit.tokenRefusals > 0 || mayHaveNoToken(unit, this.#journal.open);
      const isMarked = this.#isMarked(unit);
      const request = this.#marks.request();
      wire.toServer.push({
        kind: 'unit',
        unit,
        markInside: isMarked && !unit.simple ? request : null,
        token: tokenOf(unit),
        isConverted: unit.token?.position === 'inside',
      });
      if (isMarked && unit.simple) {
        wire.toServer.push({ kind: 'mark', request });
        this.#marksAwaited++;
      }
    }
  }

  #isMarked(unit: ModelUnit): boolean {
    if (!this.#traits.marksWork || !this.#marks.wanted || this.#marksAwaited > 0) return false;
    return this.#journal.status !== FAILED && !isTransactionControl(unit);
  }

  #noteSent(unit: ModelUnit): void {
    if (unit.withdrawn) unit.sentAfterWithdrawal = true;
  }

  #letGo(): void {
    if (this.#holds > 0) this.#holds--;
    if (this.#holds === 0) this.#flush();
  }

  // ---- answers -----------------------------------------------------------------------------------------------

  #message(message: Message): void {
    const unit = this.pending[0]!;
    const bytes = bytesOf(message);
    if (unit.token?.isVisible(bytes[0]!, bytes, 0, bytes.length) === false) return;
    if (message.kind === 'D') throw new Error('a row of the token was shown');
    unit.toldAt = this.step;
    if (message.kind === 'C') {
      unit.completions++;
      if (message.tag === 'COMMIT') unit.committed = true;
    } else unit.error = message.code;
    if (this.#hasDiverged) return;
    if (this.#toSkip !== null && this.#toSkip.length > 0) {
      const expected = this.#toSkip.shift()!;
      this.#hasDiverged = JSON.stringify(expected) !== JSON.stringify(message);
      return;
    }
    if (unit.held !== null) {
      this.#held.push(message);
      if (!this.#traits.random.chance(10)) return;
      unit.held = null; // Too much of it.
      this.#given.push(...this.#held.splice(0));
      return;
    }
    this.#given.push(message);
  }

  #ready(status: number): void {
    const refusal = this.pending[0]!.token?.refusal ?? null;
    if (refusal !== null && (!isForApplication(refusal) || status !== IDLE)) {
      this.#tokenRefused(this.pending[0]!);
      return;
    }
    const unit = this.pending.shift()!;
    const diverged = this.#hasDiverged || (this.#toSkip !== null && this.#toSkip.length > 0);
    this.#hasDiverged = false;
    this.#toSkip = null;
    const given = this.#given;
    this.#given = [];
    if (diverged) {
      this.#diverged(unit, status);
      return;
    }
    unit.acknowledgedSequence = ++this.#sequence;
    const chains = unit.committed && status !== IDLE && endingOf(unit) === 'commit-and-chain';
    const ended = this.#journal.complete(unit, digestOf(given, status), chains);
    if (ended || status === IDLE) {
      this.#marks.reset();
      // Of a unit behind whose end a transaction is open nobody knows what it wrote into that one.
      if (status !== IDLE && !isTransactionControl(unit)) {
        this.#marks.unitSent({ provedRead: false, staysInside: false });
      }
      this.#countSent();
    } else if (unit.commands.some(({ operation }) => ENDING.has(operation))) {
      // Another transaction is open behind it, with another xid or none.
      this.#marks.reset();
      this.#countSent();
      if (!isTransactionControl(unit)) this.#marks.unitSent(factsOf(unit));
    }
    given.push(...this.#held.splice(0));
    unit.held = null;
    if (refusal !== null) given.push({ kind: 'E', code: refusal.code });
    this.#tell(unit, { kind: 'answer', messages: given });
    if (this.pending.length > 0) {
      this.#settle();
      this.#flush();
    } else if (status !== IDLE && this.#journal.awaitsChainedBegin) {
      this.#holds++;
      this.#wire?.toServer.push({ kind: 'chain' });
    }
  }

  #diverged(unit: ModelUnit, status: number): void {
    const state = this.#state;
    if (state.kind !== 'online') throw new Error(`an answer came while ${state.kind}`);
    this.#tell(unit, { kind: 'refuse' });
    const doom: Doom = { kind: 'diverged', reason: 'a statement in flight' };
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom, open: status !== IDLE });
    this.#settle();
    this.#flush();
  }

  #markAnswered({ isInside, request, transaction, failed }: Extract<ToClient, { kind: 'mark' }>): void {
    if (!isInside) this.#marksAwaited--;
    if (!failed) this.#marks.answered(markOf(transaction), request);
    else if (this.#journal.status !== FAILED) {
      this.lose(0);
      return;
    }
    this.#flush();
  }

  #settle(): void {
    for (;;) {
      const unit = this.pending[0];
      const fate = unit === undefined ? undefined : this.#fates.get(unit);
      if (unit === undefined || fate === undefined) return;
      this.pending.shift();
      this.#fates.delete(unit);
      const given = this.#given;
      this.#given = [];
      this.#toSkip = null;
      this.#count(`fate ${fate}`);
      if (unit.held !== null) given.push(...this.#held.splice(0));
      this.#answer(unit, fate, given);
    }
  }

  #answer(unit: ModelUnit, fate: Fate, given: readonly Message[]): void {
    const ending = endingOf(unit);
    switch (fate) {
      case 'finish':
        if (unit.token?.position === 'inside' || unit.token?.position === 'in-string') {
          const isOwed =
            unit.token.position === 'in-string' && ending === 'trailing-commit' && !unit.committed;
          this.#tell(unit, {
            kind: 'answer',
            messages: isOwed ? [...given, { kind: 'C', tag: 'COMMIT' }] : given,
          });
          return;
        }
        this.#tell(unit, {
          kind: 'answer',
          messages: given.length > 0 ? given : [{ kind: 'C', tag: 'COMMIT' }],
        });
        return;
      case 'finish-rollback':
        this.#tell(unit, { kind: 'answer', messages: [{ kind: 'C', tag: 'ROLLBACK' }] });
        return;
      case 'finish-failed':
        this.#tell(unit, { kind: 'answer', messages: given });
        return;
      case 'unknown':
      case 'lost':
      case 'undone':
      case 'withdraw':
        this.#tell(unit, { kind: fate });
        return;
      case 'refuse':
        if (ending === 'rollback')
          this.#tell(unit, { kind: 'answer', messages: [{ kind: 'C', tag: 'ROLLBACK' }] });
        else this.#tell(unit, { kind: 'refuse' });
        if (endsDoom(unit) && 'doom' in this.#state && this.#state.doom !== null) {
          this.dispatch({ kind: 'doom-ended' });
        }
        return;
      case 'send':
      case 'again':
        throw new Error(`a unit to be sent was to be answered (${fate})`);
    }
  }

  #tell(unit: ModelUnit, told: Told): void {
    unit.told.push(told);
    unit.answeredAt = this.step;
    unit.toldAt ??= this.step;
  }

  // ---- loss --------------------------------------------------------------------------------------------------

  #lost(): void {
    const state = this.#state;
    if (state.kind === 'closed' || state.kind === 'connecting') return;
    this.#holds = 0;
    this.#toSkip = null;
    const [first] = this.pending;
    if (this.#hasDiverged && first !== undefined) Object.assign(first, { error: null, completions: 0 });
    this.#hasDiverged = false;
    this.#replay = null;
    if (state.kind === 'online') {
      this.#markInDoubt = this.#marks.mark as unknown as ServerTransaction | null;
      this.#markState = this.#marks.state;
      this.#planIsFinal = false;
      this.#isRefused = false;
    }
    this.dispatch({ kind: 'lost', epoch: state.epoch, plan: this.#makePlan() });
  }

  /** What was sent behind the end of a transaction belongs to the next one, and nobody knows yet what it did. */
  #countSent(): void {
    for (const one of this.pending) {
      if (one.writtenTo > one.start && !isTransactionControl(one)) this.#marks.unitSent(factsOf(one));
    }
  }

  #makePlan(): LossPlan {
    return planLoss({
      open: this.#journal.open,
      failed: this.#journal.status === FAILED,
      unreplayable: this.#journal.open ? this.#journal.unreplayable : null,
      mark: this.#markState,
      givenUp: null,
      pending: this.#facts(),
    });
  }

  #facts(): PendingUnit[] {
    return this.pending.map((unit, index) => ({
      sent: unit.writtenTo > unit.start || unit.tokenKeys.length > 0,
      given: index === 0 && this.#given.length > 0,
      ending: endingOf(unit),
      opens: opensTransaction(unit),
      repeatable: onlyOpens(unit) || factsOf(unit).provedRead,
      actsOutside: null,
      proof: proofOf(unit),
      canBeResolved: unit.tokenKeys.length > 0 && (unit.token !== null || unit.writtenTo === unit.start),
      isAnswered: unit.token?.isReached === true && unit.error === null,
      verdict: null,
      withdrawn: unit.withdrawn,
    }));
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'reconnect':
      case 'resolve':
      case 'await-release':
        return; // `recover` goes on from here.
      case 'discard-connection':
        if (this.#wire !== null) this.#leave(this.#wire);
        this.#replay = null;
        return;
      case 'replay':
        this.#replay = { units: this.#journal.units, index: 0 };
        return;
      case 'rollback':
        this.#journal.reset();
        this.#marks.reset();
        this.#wire?.backend.run([{ operation: 'rollback', write: 0 }], true);
        return;
      case 'resume':
        this.#resume(effect.plan, effect.doom);
        return;
      case 'close':
        this.#wire?.backend.die();
        this.#wire = null;
        for (const unit of this.pending.splice(0)) this.#tell(unit, { kind: 'closed' });
        return;
    }
  }

  #resume(plan: LossPlan, doom: Doom | null): void {
    if (plan.transaction !== 'replay') {
      this.#journal.reset();
      this.#marks.reset();
    }
    this.pending.forEach((unit, index) => {
      const fate = plan.fates[index] ?? (doom === null ? 'send' : 'refuse');
      if (fate !== 'send' && fate !== 'again') {
        this.#fates.set(unit, fate);
        return;
      }
      this.#count(`fate ${fate}`);
      if (index === 0) this.#held = [];
      sendAgain(unit);
      unit.toldAt = null;
    });
    if (this.#isRefused) {
      this.#settle();
      this.dispatch({ kind: 'failed' });
      return;
    }
    const head = this.pending[0];
    if (head !== undefined && !this.#fates.has(head)) {
      this.#toSkip = this.#given.length === 0 ? null : [...this.#given];
    }
    this.#settle();
    this.#flush();
  }

  #newWire(epoch: number): Wire {
    const { random } = this.#traits;
    // Serialization failures, cancels; privileges taken away; the statement gone; a READ ONLY transaction.
    const tokenError = (): string | null =>
      random.chance(4) ? random.pick(['40001', '57014', '42501', '26000', '25006']) : null;
    return { epoch, backend: new ModelBackend(this.#cluster, tokenError), toServer: [], toClient: [] };
  }

  // ---- tokens ------------------------------------------------------------------------------------------------

  #tokenSource(): TokenSource | null {
    if (!this.#traits.tokens) return null;
    return {
      statements: { put: '', insert: '' },
      nextKey: () => {
        const key = Buffer.alloc(16);
        key.writeUInt32BE(++this.#keys);
        return key;
      },
      refused: ({ code }) => code === '26000',
    };
  }

  /** The real one, over the parts of the conversation that it looks at. */
  #tokenKeeper(): TokenKeeper {
    const conversation = {
      journal: this.#journal,
      pending: this.pending,
      isFresh: (unit: ModelUnit) =>
        this.pending[0] !== unit || (this.#given.length === 0 && this.#toSkip === null),
    };
    const marks = this.#marks;
    return new TokenKeeper(
      {
        isSurelyRead: (unit) => factsOf(unit as ModelUnit).provedRead,
        get mayHaveWritten() {
          return marks.mayHaveWritten;
        },
        rulesMayAnswer: false,
        tokenRefused: (unit) => {
          this.#tokenRefused(unit as ModelUnit);
        },
      },
      conversation as unknown as Conversation,
    );
  }

  /** A token that has an answer of its own goes out in front of the unit. */
  #expecting(wire: Wire, unit: ModelUnit): ServerConnection {
    const expect = (answer: Responder): void => {
      wire.toServer.push({ kind: 'token', key: numberOf(unit.tokenKeys.at(-1)!), answer });
    };
    return { expect } as unknown as ServerConnection;
  }

  #tokenRefused(unit: ModelUnit): void {
    const refusal = unit.token?.refusal ?? null;
    if (refusal !== null) this.#tokens.noteRefusal(unit, refusal);
    this.#count('token refused');
    this.lose(0);
  }

  #count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }
}

function serve(wire: Wire, next: ToServer): void {
  if (next.kind === 'mark') {
    wire.toClient.push({ kind: 'mark', isInside: false, request: next.request, ...wire.backend.mark() });
    return;
  }
  if (next.kind === 'token') {
    const { messages, status } = wire.backend.putToken(next.key);
    wire.toClient.push({ kind: 'token', messages, answer: next.answer, status: STATUS[status] });
    return;
  }
  if (next.kind === 'chain') {
    wire.toClient.push({ kind: 'chain' });
    return;
  }
  const { messages, status } = wire.backend.run(
    next.unit.commands,
    next.unit.simple && !next.isConverted,
    next.token,
  );
  for (const message of messages) wire.toClient.push({ kind: 'message', message });
  const failed = messages.some(({ kind }) => kind === 'E');
  if (next.markInside !== null && !failed) {
    wire.toClient.push({ kind: 'mark', isInside: true, request: next.markInside, ...wire.backend.mark() });
  }
  wire.toClient.push({ kind: 'ready', status: STATUS[status] });
}

function endsDoom(unit: ModelUnit): boolean {
  const ending = endingOf(unit);
  return ending === 'rollback' || ending === 'commit' || ending === 'prepare';
}

/** R6: a string with work behind a COMMIT or ROLLBACK, a chain behind reads only, and what has no transaction to end. */
function mayHaveNoToken(unit: ModelUnit, isOpen: boolean): boolean {
  switch (endingOf(unit)) {
    case 'none':
      return opensTransaction(unit);
    case 'commit':
    case 'rollback':
      return !isOpen;
    case 'trailing-commit':
    case 'prepare':
      return false;
    case 'commit-and-chain':
    case 'commit-inside':
    case 'unclear':
      return true;
  }
}

function numberOf(key: Buffer): number {
  return key.readUInt32BE(0);
}

function tokenOf(unit: ModelUnit): TokenInUnit | null {
  const { token } = unit;
  if (token === null || token.position === 'in-front') return null;
  const commit = token.position === 'in-string' ? commitStart(unit.texts[0]!.text) : null;
  return { key: numberOf(token.key), behind: commit?.statement ?? unit.commands.length };
}

/** As the server would send it, as far as anybody reads it here. */
function bytesOf(message: Message): Buffer {
  // A row has one column, of one byte or NULL.
  const row = `\0\x01${message.kind === 'D' && message.isWritten ? '\0\0\0\x01t' : '\xff\xff\xff\xff'}`;
  const texts = {
    E: 'code' in message ? `C${message.code}\0\0` : '',
    C: 'tag' in message ? `${message.tag}\0` : '',
    D: row,
  };
  const text = texts[message.kind];
  const bytes = Buffer.alloc(5 + text.length);
  bytes.write(message.kind, 0, 'latin1');
  bytes.writeUInt32BE(4 + text.length, 1);
  bytes.write(text, 5, 'latin1');
  return bytes;
}

/** The model's mark is the transaction itself. */
function markOf(transaction: ServerTransaction | null): (() => CommitMark) | null {
  return transaction === null ? null : () => transaction as unknown as CommitMark;
}

function factsOf(unit: ModelUnit): { readonly provedRead: boolean; readonly staysInside: boolean } {
  const provedRead = unit.commands.every(({ operation }) => operation === 'read' || operation === 'hotRead');
  return { provedRead, staysInside: true };
}

function chainedBegin(): ModelUnit {
  return {
    ...makeUnit(true, 0, Buffer.from('BEGIN')),
    number: 0,
    commands: [{ operation: 'begin', write: 0 }],
    told: [],
    toldAt: null,
    answeredAt: null,
    sentAfterWithdrawal: false,
    mayBeUnknown: false,
    texts: [statementText(SQL.begin)],
    closed: true,
  };
}

/** In place of the real digest, which has its own tests: this one is cheap. */
function digestOf(messages: readonly Message[], status: number): UnitDigest {
  let hash = 0;
  for (const char of JSON.stringify(messages)) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  return { multisetA: hash, multisetB: 0, sequenceA: hash, sequenceB: 0, messages: messages.length, status };
}
