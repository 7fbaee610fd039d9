import type { HostObservation, ReachableHost } from '../cluster/host-observation.ts';
import type { Member, ServerIdentity } from '../cluster/member.ts';
import type { OrderedUnit } from '../cluster/replay-order.ts';
import { InternalError, SessionClosedError } from '../errors.ts';
import type { FailoverEvents } from '../events.ts';
import { Arena } from '../session/arena.ts';
import { FAILED, IDLE, Journal } from '../session/journal.ts';
import { planLoss, type Doom, type Fate, type LossPlan, type LossSituation, type MarkState } from '../session/loss-plan.ts';
import { ResponseDigest } from '../session/response-digest.ts';
import { ResumeFilter } from '../session/resume-filter.ts';
import { INITIAL, transition, type Effect, type SessionEvent, type SessionState } from '../session/state.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { BackendType, backendKeyData, parameterStatus, readParameter, readTag } from './backend-messages.ts';
import { commitMark, MARK_SQL, parseMark, type CommitMark } from './commit-mark.ts';
import { ErrorPassage } from './error-passage.ts';
import { parseAgain, preparedMessages } from './frontend-messages.ts';
import { abortedError, doomError, fateError } from './fate-errors.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import { endAnswer, errorAnswer, successAnswer } from './local-answers.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';
import { digestMessage, errorCode, hashedPart } from './response-hash.ts';
import { incarnationOf, Scouts, type ProbedConnection } from './scouts.ts';
import { lossError, type ConnectionLoss, type ConnectionOwner, type Responder, type ServerConnection } from './server-connection.ts';
import type { SessionContext } from './session-context.ts';
import { SessionMemory } from './session-memory.ts';
import { SessionRecovery } from './session-recovery.ts';
import { TransactionMarks } from './transaction-marks.ts';
import { UnitAssembler, type UnitListener } from './unit-assembler.ts';
import {
  endingOf,
  isTransactionControl,
  mayCopyIn,
  onlyOpens,
  opensTransaction,
  proofOf,
} from './unit-facts.ts';
import type { VirtualSocket } from './virtual-socket.ts';

/** The application should wait for 'drain' when more than this waits unsent. */
const HIGH_WATER_BYTES = 1_048_576;

/** How long a session whose state is in doubt may stay busy before a check goes in front of its next statement. */
const MAX_DOUBT_MILLIS = 250;

let sessions = 0;

/**
 * One logical session: what the application's one connection is made of. It journals what the application sends,
 * digests what it is given, keeps the machine of `session/state.ts`, and carries out its effects. Finding a new server
 * and bringing it to where the lost one was is `SessionRecovery`'s part.
 */
export class LogicalSession implements ConnectionOwner, UnitListener, Member, Responder {
  readonly id = ++sessions;
  readonly context: SessionContext;
  readonly passage = new ErrorPassage();
  readonly scouts: Scouts;
  readonly memory: SessionMemory;
  readonly marks = new TransactionMarks();
  readonly #socket: VirtualSocket;
  readonly #arena = new Arena();
  readonly #assembler: UnitAssembler;
  readonly #journal: Journal<PgUnit>;
  readonly #digest: ResponseDigest;
  readonly #recovery: SessionRecovery;
  /** What the application was told last; a new server's differing values are told again. */
  readonly #parameters = new Map<string, string>();
  /** Units without ReadyForQuery, in order; the first is the one that answers belong to. */
  readonly #pending: PgUnit[] = [];
  /** Fates of pending units that the driver answers itself. */
  readonly #fates = new Map<PgUnit, Fate>();
  #state: SessionState = INITIAL;
  #connection: ServerConnection | null = null;
  #probe: ProbeResult | null = null;
  #server: ServerIdentity | null = null;
  #followsPrimary = true;
  #resume: ResumeFilter | null = null;
  /** The first pending unit answers otherwise than before: its answer is swallowed up to its end, then this comes. */
  #divergence: string | null = null;
  /** Above zero the application's units stay here: something of the driver's own must be answered first. */
  #holds = 0;
  /** Named statements which the current connection does not have yet (D4). */
  readonly #unparsed = new Set<string>();
  #markStatement = 0;
  #markPrepared = false;
  #markWorks = false;
  /** A mark is due as soon as the unit in flight is answered: COPY allows no hidden messages before. */
  #markDue = false;
  #doomTold = false;
  #journalBytes = 0;
  #referenced = true;
  #keepAlive: { readonly enable: boolean; readonly initialDelayMillis: number } | null = null;
  #doubtSince: number | null = null;
  #attentionScheduled = false;
  /** Mark of the transaction whose COMMIT was in flight when the connection was lost. */
  #markInDoubt: CommitMark | null = null;
  #markStateAtLoss: MarkState = 'unknown';

  constructor(socket: VirtualSocket, context: SessionContext) {
    this.#socket = socket;
    this.context = context;
    const { options } = context;
    this.#assembler = new UnitAssembler(this.#arena, this);
    this.#journal = new Journal({ maxStatements: options.maxJournalStatements, maxBytes: options.maxJournalBytes });
    this.#digest = new ResponseDigest(options.maxKeptRowHashes);
    this.memory = new SessionMemory(context.database, () => [
      ...options.sessionVariables,
      ...context.database.customNames(),
    ]);
    this.scouts = new Scouts({
      clientConfig: context.resolved.clientConfig,
      dialTimeoutMillis: options.dialTimeoutMillis,
      coordinator: context.coordinator,
      memory: context.memory,
    });
    this.#recovery = new SessionRecovery(this);
  }

  // ---- what recovery and the coordinator see -----------------------------------------------------------------

  get events(): FailoverEvents {
    return this.context.events;
  }

  get server(): ServerIdentity | null {
    return this.#server;
  }

  get followsPrimary(): boolean {
    return this.#followsPrimary && this.#state.kind !== 'connecting';
  }

  get state(): SessionState {
    return this.#state;
  }

  get connection(): ServerConnection | null {
    return this.#connection;
  }

  get probe(): ProbeResult | null {
    return this.#probe;
  }

  get pending(): readonly PgUnit[] {
    return this.#pending;
  }

  get units(): readonly PgUnit[] {
    return this.#journal.units;
  }

  get journal(): readonly OrderedUnit[] {
    return this.#journal.units;
  }

  get markStatement(): string {
    return `holdfast_mark_${this.#markStatement}`;
  }

  get markInDoubt(): CommitMark | null {
    return this.#markInDoubt;
  }

  get isBusy(): boolean {
    return this.#pending.length > 0 || this.#journal.open;
  }

  unitBytes(unit: PgUnit): Buffer {
    return unit.synthetic ?? this.#arena.view(unit.start, unit.end);
  }

  observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.observe(address, signal);
  }

  /** R12: nothing that the lost host still says is believed. */
  cut(): void {
    const connection = this.#connection;
    if (connection === null || this.#state.kind === 'closed') return;
    connection.destroy();
    this.#lost({ fatal: null, fatalMessage: null, socketError: null });
  }

  dispatch(event: SessionEvent): void {
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  /** Parses a named statement again where the current connection does not have it (D4). Hidden, in front of its user. */
  prepareNames(unit: PgUnit, connection: ServerConnection): void {
    if (unit.nameUses === null || this.#unparsed.size === 0) return;
    for (const { kind, name } of unit.nameUses) {
      if (!this.#unparsed.has(name)) continue;
      this.#unparsed.delete(name);
      const statement = this.#assembler.statements.get(name);
      if (kind === 'parse' || statement === undefined) continue;
      connection.ask(
        parseAgain(statement.parseMessage),
        new HiddenAnswer((error) => {
          // Kept for its next use: inside a failed transaction, say, it can't be parsed now.
          if (error !== null) this.#unparsed.add(name);
        }),
      );
    }
  }

  // ---- connecting --------------------------------------------------------------------------------------------

  /** The first connection is there. */
  connected({ connection, probe }: ProbedConnection, host: ReachableHost, markWorks: boolean): void {
    this.#adopt({ connection, probe }, host, markWorks);
    this.#followsPrimary = !probe.inRecovery;
    this.context.coordinator.add(this);
    if (!probe.inRecovery) this.context.coordinator.connected(host);
    for (const [name, value] of connection.parameters) this.#parameters.set(name, value);
    this.dispatch({ kind: 'connected', epoch: 0 });
  }

  /** Starts working on this connection; the application notices nothing yet. */
  #adopt({ connection, probe }: ProbedConnection, host: ReachableHost, markWorks: boolean): void {
    this.#connection = connection;
    this.#probe = probe;
    this.#server = { address: host.address, incarnation: host.incarnation };
    this.#markWorks = markWorks;
    this.#markPrepared = false;
    this.#markStatement++;
    this.memory.dialled(probe.searchPath);
    if (this.#keepAlive !== null) connection.setKeepAlive(this.#keepAlive.enable, this.#keepAlive.initialDelayMillis);
    if (!this.#referenced) connection.unref();
    connection.attach(this);
  }

  /** A new connection in place of the lost one. Answers to the application come only after `resumed`. */
  reconnected(probed: ProbedConnection, host: ReachableHost, markWorks: boolean): void {
    this.#unparsed.clear();
    for (const name of this.#assembler.statements.keys()) this.#unparsed.add(name);
    this.marks.reset();
    this.#holds = 0;
    this.#markDue = false;
    this.#adopt(probed, host, markWorks);
  }

  // ---- from the application ----------------------------------------------------------------------------------

  accept(chunk: Uint8Array): boolean {
    this.#assembler.accept(chunk);
    const last = this.#pending.at(-1);
    return last === undefined || last.end - last.writtenTo < HIGH_WATER_BYTES;
  }

  beforeAppend(bytes: number): number {
    const unsent = this.#pending.find((unit) => unit.writtenTo < unit.end || unit.end === unit.start);
    const first = this.#pending.find((unit) => !unit.dropped);
    let keepFrom = this.#journal.keepFrom(first?.start ?? this.#arena.end);
    const { options, coordinator } = this.context;
    if (this.#arena.end - keepFrom + bytes > options.maxJournalBytes) {
      this.#dropJournal('failover.maxJournalBytes', options.maxJournalBytes);
      keepFrom = unsent?.writtenTo ?? this.#arena.end;
    }
    const growth = this.#arena.capacity - this.#journalBytes;
    if (growth > 0) {
      if (coordinator.reserveJournal(growth)) this.#journalBytes += growth;
      else {
        this.#dropJournal('failover.maxProcessJournalBytes', options.maxProcessJournalBytes);
        keepFrom = unsent?.writtenTo ?? this.#arena.end;
      }
    }
    return keepFrom;
  }

  /** A cap is passed: what runs goes on, but can't be replayed any more (R7). */
  #dropJournal(limit: string, value: number): void {
    const known = this.#journal.unreplayable !== null;
    if (this.#journal.open) {
      this.#journal.makeUnreplayable(`its statements take more than the ${value} bytes of ${limit}`);
    }
    let dropped = false;
    for (const unit of this.#pending) {
      if (unit.writtenTo > unit.start && !unit.dropped) {
        unit.dropped = true;
        dropped = true;
      }
    }
    if ((this.#journal.open && !known) || dropped) {
      this.context.coordinator.publish('limitReached', {
        session: this.id,
        limit,
        value,
        consequence: 'what is running goes on, but can not be replayed if its server is lost',
      });
    }
  }

  unitOpened(unit: PgUnit): void {
    this.#pending.push(unit);
    this.#recovery.wake();
  }

  unitClosed(unit: PgUnit): void {
    this.#settleHead(unit);
  }

  flushAsked(unit: PgUnit): void {
    this.#settleHead(unit);
  }

  terminated(): void {
    // pg ends the socket right behind it, and that is what counts.
  }

  /** Sends what may be sent. */
  flush(): void {
    if (this.#state.kind !== 'online' || this.#holds > 0) return;
    const connection = this.#connection;
    if (connection === null) return;
    if (this.#state.doom !== null) {
      this.#refuseAll();
      return;
    }
    let from = -1;
    let to = -1;
    for (const unit of this.#pending) {
      if (this.#fates.has(unit) || unit.answeredLocally || unit.writtenTo === unit.end) continue;
      const begins = unit.writtenTo === unit.start;
      if (begins) this.#beforeUnit(unit, connection, from < 0 ? null : () => {
        connection.write(this.#arena.view(from, to));
        from = -1;
      });
      if (from < 0) from = unit.writtenTo;
      unit.writtenTo = unit.end;
      to = unit.end;
      if (!unit.closed) break;
      if (begins && this.#wantsMark(unit)) {
        const bytes = Buffer.concat([this.#arena.view(from, to), this.#markBytes()]);
        from = -1;
        this.#expectMark(connection);
        connection.write(bytes);
        return;
      }
    }
    if (from >= 0 && !connection.write(this.#arena.view(from, to))) this.#backpressured = true;
    if (this.#journal.unreplayable !== null) this.#releaseSentBytes();
  }
  #backpressured = false;
  #delivering = 0;

  #beforeUnit(unit: PgUnit, connection: ServerConnection, flushEarlier: (() => void) | null): void {
    if (unit.nameUses !== null && this.#unparsed.size > 0) {
      flushEarlier?.();
      this.prepareNames(unit, connection);
    }
    unit.sentSequence = this.context.coordinator.nextSequence();
    connection.expect(this);
    this.#noteRun(unit);
    this.memory.ran(unit.texts);
  }

  /** Tells the marks what kind of unit runs in the transaction. */
  #noteRun(unit: PgUnit): void {
    if (isTransactionControl(unit)) return;
    let provedRead = true;
    let staysInside = true;
    for (const text of unit.texts) {
      const judgement = this.context.database.known(text, this.memory.searchPath);
      provedRead &&= judgement?.provedRead ?? false;
      staysInside &&= judgement?.staysInside ?? false;
    }
    this.marks.unitSent({ provedRead, staysInside });
  }

  #wantsMark(unit: PgUnit): boolean {
    if (!this.#markWorks || !this.marks.wanted) return false;
    if (!this.#journal.open && !opensTransaction(unit) && !this.#pending.some((one) => one !== unit && onlyOpens(one))) {
      return false;
    }
    // In a failed transaction it would only fail as well.
    if (this.#journal.status === FAILED && !isTransactionControl(unit)) return false;
    if (unit.texts.some(mayCopyIn)) {
      this.#markDue = true;
      return false;
    }
    return true;
  }

  /** Prepared at its first use on a connection; made anew under another name when something may have dropped it. */
  #markBytes(): Buffer {
    const text = this.#markPrepared ? null : MARK_SQL;
    this.#markPrepared = true;
    return preparedMessages(this.markStatement, text);
  }

  #expectMark(connection: ServerConnection): void {
    this.#hold();
    connection.expect(
      new HiddenAnswer((error, row, status) => {
        if (this.#connection !== connection) return;
        if (error === null) {
          const found = row === null ? null : parseMark(row);
          this.marks.answered(found === null || this.#probe === null ? null : commitMark(found, this.#probe));
        } else if (status === FAILED && this.#journal.status !== FAILED) {
          // Our own statement has broken the application's transaction (a late cancel, say): bring it back by replay.
          this.cut();
          return;
        } else {
          this.#markPrepared = false;
          this.#markStatement++;
        }
        this.#letGo();
      }),
    );
  }

  #hold(): void {
    this.#holds++;
  }

  #letGo(): void {
    if (this.#holds > 0) this.#holds--;
    if (this.#holds === 0) this.flush();
  }

  /**
   * The journal has been replayed on this connection: its transaction is the application's now. It is another
   * transaction for the server, so it needs a mark of its own.
   */
  async replayed(connection: ServerConnection, status: number): Promise<void> {
    this.memory.transactionBegan();
    for (const unit of this.#journal.units) {
      this.#noteRun(unit);
      this.memory.ran(unit.texts);
    }
    if (!this.#markWorks || !this.marks.wanted || status === FAILED) return;
    const [row] = await connection.run(MARK_SQL);
    const found = row === undefined ? null : parseMark(row);
    this.marks.answered(found === null || this.#probe === null ? null : commitMark(found, this.#probe));
  }

  /** Bytes that were sent and can't be replayed anyway are let go. */
  #releaseSentBytes(): void {
    const last = this.#pending.at(-1);
    if (last !== undefined && last.writtenTo < last.end) return;
    for (const unit of this.#pending) unit.dropped = true;
    this.#arena.clear(true);
  }

  // ---- from the server ---------------------------------------------------------------------------------------

  message(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer {
    const unit = this.#pending[0];
    if (unit === undefined || this.#divergence !== null) return false;
    if (this.#resume !== null) {
      const verdict = this.#filter(this.#resume, type, bytes, start, end);
      if (verdict === 'swallow') {
        this.#note(unit, type, bytes, start, end);
        return false;
      }
      if (verdict === 'diverged') {
        this.#divergence = 'a statement that was in flight gave other results when it ran again';
        return false;
      }
    }
    digestMessage(this.#digest, type, bytes, start, end);
    this.#note(unit, type, bytes, start, end);
    return true;
  }

  #filter(resume: ResumeFilter, type: number, bytes: Buffer, start: number, end: number) {
    if (type === BackendType.DataRow || type === BackendType.CopyData) return resume.row(bytes, start + 5, end);
    const part = hashedPart(type, bytes, start, end);
    return resume.message(part, 0, part.length, type, type === BackendType.ErrorResponse);
  }

  #note(unit: PgUnit, type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case BackendType.CommandComplete: {
        unit.completions++;
        // Compared by its first letter before a string is made of it: this runs for every statement.
        const first = bytes[start + 5];
        if (first === 0x43 || first === 0x50 || first === 0x44) {
          const tag = readTag(bytes, start + 5, end);
          if (tag === 'COMMIT' || tag === 'PREPARE TRANSACTION') unit.committed = true;
          else if (tag.startsWith('DEALLOCATE') || tag.startsWith('DISCARD')) this.#markPrepared = false;
          if (tag === 'DEALLOCATE ALL' || tag === 'DISCARD ALL') this.#markStatement++;
        }
        return;
      }
      case BackendType.ErrorResponse:
        unit.error = errorCode(bytes, start, end);
        return;
      case BackendType.CopyInResponse:
      case BackendType.CopyBothResponse:
        unit.copyIn = true;
        return;
      default:
        return;
    }
  }

  ready(status: number): boolean | Buffer {
    const unit = this.#pending.shift();
    if (unit === undefined) return false;
    if (this.#divergence !== null) return this.#diverged(unit, status);
    this.#resume = null;
    const coordinator = this.context.coordinator;
    unit.acknowledgedSequence = coordinator.nextSequence();
    const digest = this.#digest.finish(status);
    this.#digest.reset();
    const wasOpen = this.#journal.open;
    const chains = unit.committed && status !== IDLE && endingOf(unit) === 'commit-and-chain';
    const ended = this.#journal.complete(unit, digest, chains);
    this.memory.ran(unit.texts);
    if (ended || (wasOpen && status === IDLE)) {
      this.memory.transactionEnded();
      this.marks.reset();
      this.#markDue = false;
      this.#assembler.forgetPortals();
    }
    if (status !== IDLE && (!wasOpen || ended)) this.memory.transactionBegan();
    this.#assembler.detach(unit);
    if (this.#pending.length === 0) {
      if (status === IDLE) this.#becomeIdle();
      else if (this.#markDue) this.#askMarkNow();
      if (this.#journal.awaitsChainedBegin) this.#recovery.beginChained();
    } else if (this.#fates.size > 0) {
      const answers = this.#settleAll();
      if (answers !== null) return Buffer.concat([endAnswer(status), answers]);
    }
    return true;
  }

  abandoned(): void {
    // The owner is told of the loss as a whole; nothing more is known for a single unit.
  }

  #becomeIdle(): void {
    const connection = this.#connection;
    this.#arena.clear(connection === null || connection.hasUnflushedBytes);
    if (this.#journalBytes > 65_536) {
      this.context.coordinator.reserveJournal(-this.#journalBytes);
      this.#journalBytes = 0;
    }
    if (this.memory.wantsAttention) this.#scheduleAttention();
  }

  /** Behind a COPY: the mark goes out as soon as its answer is complete, in front of whatever comes next. */
  #askMarkNow(): void {
    this.#markDue = false;
    const connection = this.#connection;
    if (connection === null || !this.marks.wanted || this.#journal.status === FAILED) return;
    const bytes = this.#markBytes();
    this.#expectMark(connection);
    connection.write(bytes);
  }

  /** Finds out what the session's state is while nobody waits; or at once if that was not possible for long. */
  #scheduleAttention(): void {
    const now = performance.now();
    this.#doubtSince ??= now;
    if (now - this.#doubtSince > MAX_DOUBT_MILLIS) {
      this.#attend();
      return;
    }
    if (this.#attentionScheduled) return;
    this.#attentionScheduled = true;
    setImmediate(() => {
      this.#attentionScheduled = false;
      if (this.#pending.length === 0 && !this.#journal.open) this.#attend();
    });
  }

  #attend(): void {
    const connection = this.#connection;
    if (connection === null || this.#state.kind !== 'online' || this.#state.doom !== null || this.#holds > 0) return;
    this.#doubtSince = null;
    this.#hold();
    // Statements prepared or dropped by hand inside functions may have hit the mark's.
    this.#markPrepared = false;
    this.#markStatement++;
    this.memory.attend(connection).then(
      () => {
        if (this.#connection === connection) this.#letGo();
      },
      () => {
        // The connection is lost, and that is told elsewhere.
      },
    );
  }

  asynchronous(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === BackendType.ParameterStatus) {
      const { name, value } = readParameter(bytes, start + 5, end);
      if (this.#state.kind === 'online') this.#parameters.set(name, value);
    }
    // While recovering, notices and notifications are those of the driver's own statements and of the replay (T9).
    return this.#state.kind === 'online';
  }

  deliver(bytes: Buffer): boolean {
    this.#delivering++;
    try {
      return this.#socket.deliver(bytes);
    } finally {
      this.#delivering--;
    }
  }

  /** True while bytes are handed to the application: what it is told now, it is told by the server. */
  get isDelivering(): boolean {
    return this.#delivering > 0;
  }

  drained(): void {
    if (!this.#backpressured) return;
    this.#backpressured = false;
    this.#socket.emit('drain');
  }

  // ---- loss --------------------------------------------------------------------------------------------------

  lost(loss: ConnectionLoss): void {
    this.#lost(loss);
  }

  #lost(loss: ConnectionLoss): void {
    const state = this.#state;
    if (state.kind === 'closed' || state.kind === 'connecting') return;
    const epoch = state.epoch;
    this.#connection = null;
    this.#divergence = null;
    this.#resume = null;
    this.#holds = 0;
    if (state.kind === 'online') {
      this.#markInDoubt = this.marks.mark;
      this.#markStateAtLoss = this.marks.state;
      this.#recovery.lost(loss);
    }
    this.dispatch({ kind: 'lost', epoch, plan: this.makePlan() });
  }

  /** What is to become of the session's work, from what is known now. */
  makePlan(): LossPlan {
    return planLoss(this.#situation());
  }

  #situation(): LossSituation {
    const searchPath = this.memory.searchPath;
    const provedRead = (unit: PgUnit): boolean =>
      unit.texts.length > 0 && unit.texts.every((text) => this.context.database.known(text, searchPath)?.provedRead === true);
    const refusal = this.#recovery.refusal ?? this.memory.knownRefusal;
    return {
      open: this.#journal.open,
      unreplayable: this.#journal.open ? (this.#journal.unreplayable ?? refusal) : null,
      mark: this.#markState(),
      pending: this.#pending.map((unit) => ({
        sent: unit.writtenTo > unit.start,
        ending: endingOf(unit),
        opens: opensTransaction(unit),
        repeatable: !unit.dropped && (onlyOpens(unit) || provedRead(unit)),
        proof: proofOf(unit),
        withdrawn: unit.withdrawn,
      })),
    };
  }

  /** After the loss the marks belong to the new connection; the plan needs those of the lost one. */
  #markState(): MarkState {
    return this.#state.kind === 'online' ? this.marks.state : this.#markStateAtLoss;
  }

  // ---- effects -----------------------------------------------------------------------------------------------

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'reconnect':
        this.#recovery.reconnect();
        return;
      case 'resolve':
        this.#recovery.resolve(effect.unit);
        return;
      case 'replay':
        this.#recovery.replay();
        return;
      case 'rollback':
        this.#rollBack();
        return;
      case 'await-release':
        this.#recovery.awaitRelease();
        return;
      case 'resume':
        this.#resumeWith(effect.plan, effect.doom);
        return;
      case 'close':
        this.#close();
        return;
    }
  }

  /** What was replayed so far is void; nothing else may reach the server before that (R5). */
  #rollBack(): void {
    const connection = this.#connection;
    this.#journal.reset();
    this.marks.reset();
    if (connection === null) return;
    connection.run('ROLLBACK').catch(() => {
      // Without its connection the transaction is gone as well.
    });
  }

  /** The failover is over for this session: everybody gets what the plan says (phase 3). */
  #resumeWith(plan: LossPlan, doom: Doom | null): void {
    this.#announceServer();
    if (plan.transaction === 'gone' || plan.transaction === 'none') {
      this.#journal.reset();
      this.marks.reset();
    }
    if (doom !== null) this.#doomTold = false;
    const units = [...this.#pending];
    units.forEach((unit, index) => {
      const fate = plan.fates[index] ?? (doom === null ? 'send' : 'refuse');
      if (fate === 'send' || fate === 'again') {
        unit.writtenTo = unit.start;
        unit.completions = 0;
        unit.error = null;
        unit.committed = false;
        unit.copyIn = false;
      } else {
        this.#fates.set(unit, fate);
      }
    });
    const head = this.#pending[0];
    if (head !== undefined && !this.#fates.has(head) && this.#digest.messages > 0) {
      this.#resume = new ResumeFilter(this.#digest.partial());
    }
    const answers = this.#settleAll();
    if (answers !== null) this.deliver(answers);
    const refusal = this.#recovery.resumed(plan);
    if (refusal !== null && this.#state.kind === 'online') {
      this.closeWith(new SessionClosedError(`the session could not be restored on the new server: ${refusal}`));
      return;
    }
    this.#backpressured = false;
    this.#socket.emit('drain');
    if (this.#pending.length === 0 && !this.#journal.open) this.#becomeIdle();
    this.flush();
  }

  /** Cancel must reach the right backend, and what the client knows of the server must be true (T10). */
  #announceServer(): void {
    const connection = this.#connection;
    if (connection === null) return;
    const news: Buffer[] = [backendKeyData(connection.processId, connection.secretKey)];
    for (const [name, value] of connection.parameters) {
      if (this.#parameters.get(name) === value) continue;
      this.#parameters.set(name, value);
      news.push(parameterStatus(name, value));
    }
    this.deliver(Buffer.concat(news));
  }

  // ---- answers of the driver's own ---------------------------------------------------------------------------

  /** Doomed: every unit is answered here. */
  #refuseAll(): void {
    for (const unit of this.#pending) if (!this.#fates.has(unit)) this.#fates.set(unit, 'refuse');
    // Not from inside the application's own write.
    process.nextTick(() => {
      const answers = this.#settleAll();
      if (answers !== null) this.deliver(answers);
      if (this.#state.kind === 'online' && this.#state.doom === null) this.flush();
    });
  }

  /** A unit that waits at the head for its end, or for its Flush, may be answered now. */
  #settleHead(unit: PgUnit): void {
    if (this.#pending[0] !== unit || !this.#fates.has(unit)) return;
    process.nextTick(() => {
      const answers = this.#settleAll();
      if (answers !== null) this.deliver(answers);
      this.flush();
    });
  }

  /** Answers the units at the head whose fate is not up to the server. */
  #settleAll(): Buffer | null {
    const answers: Buffer[] = [];
    for (;;) {
      const unit = this.#pending[0];
      const fate = unit === undefined ? undefined : this.#fates.get(unit);
      if (unit === undefined || fate === undefined) break;
      if (!unit.closed) {
        if (!unit.answeredLocally) {
          unit.answeredLocally = true;
          answers.push(this.#answerOpen(unit, fate));
        }
        break;
      }
      answers.push(this.#answer(unit, fate));
      this.#fates.delete(unit);
      this.#pending.shift();
      this.#digest.reset();
      this.#assembler.detach(unit);
    }
    if (this.#pending.length === 0 && !this.#journal.open) this.#arena.clear(true);
    return answers.length === 0 ? null : Buffer.concat(answers);
  }

  #answer(unit: PgUnit, fate: Fate): Buffer {
    const ending = endingOf(unit);
    const doom = 'doom' in this.#state ? this.#state.doom : null;
    switch (fate) {
      case 'finish':
        return successAnswer(this.unitBytes(unit), ending === 'prepare' ? 'PREPARE TRANSACTION' : 'COMMIT', this.#digest.messages);
      case 'finish-rollback':
        return successAnswer(this.unitBytes(unit), 'ROLLBACK', this.#digest.messages);
      case 'finish-failed':
        return endAnswer(doom === null ? IDLE : FAILED);
      case 'unknown':
      case 'lost':
      case 'withdraw': {
        const status = doom === null ? IDLE : FAILED;
        if (unit.answeredLocally) return endAnswer(status);
        return errorAnswer(this.passage.send(fateError(fate, this.#recovery.cause)), status);
      }
      case 'refuse':
        return this.#refuse(unit, ending, doom);
      case 'send':
      case 'again':
        throw new InternalError(`a unit to be sent was to be answered instead (${fate})`);
    }
  }

  /** The application waits for an answer of a unit that it has not closed (a cursor): the error now, the end later. */
  #answerOpen(unit: PgUnit, fate: Fate): Buffer {
    const doom = 'doom' in this.#state ? this.#state.doom : null;
    if (fate === 'refuse') return errorAnswer(this.passage.send(this.#doomOrAborted(doom)), null);
    const kind = fate === 'lost' || fate === 'withdraw' ? fate : 'unknown';
    return unit.error !== null ? Buffer.alloc(0) : errorAnswer(this.passage.send(fateError(kind, this.#recovery.cause)), null);
  }

  /** As PostgreSQL does with 25P02; COMMIT and ROLLBACK end it (design.md section 1, *doomed*; A13). */
  #refuse(unit: PgUnit, ending: ReturnType<typeof endingOf>, doom: Doom | null): Buffer {
    if (unit.answeredLocally) return endAnswer(FAILED);
    const isEnd = ending === 'commit' || ending === 'commit-and-chain' || ending === 'prepare';
    if (ending === 'rollback') {
      this.#endDoom();
      return successAnswer(this.unitBytes(unit), 'ROLLBACK', 0);
    }
    if (isEnd) {
      const error = doomError(doom, this.#recovery.refusal, this.#recovery.cause);
      this.#endDoom();
      return errorAnswer(this.passage.send(error), IDLE);
    }
    return errorAnswer(this.passage.send(this.#doomOrAborted(doom)), FAILED);
  }

  /** The first statement gets the reason, the others what PostgreSQL says in an aborted transaction. */
  #doomOrAborted(doom: Doom | null): Error & { readonly code: string } {
    const error = doomError(doom, this.#recovery.refusal, this.#recovery.cause);
    if (this.#doomTold) return abortedError(error);
    this.#doomTold = true;
    return error;
  }

  #endDoom(): void {
    this.#doomTold = false;
    if ('doom' in this.#state && this.#state.doom !== null) this.dispatch({ kind: 'doom-ended' });
  }

  /** What was in flight gave other results: R5, in phase 3. */
  #diverged(unit: PgUnit, status: number): Buffer {
    const reason = this.#divergence ?? '';
    this.#divergence = null;
    this.#resume = null;
    this.#digest.reset();
    this.#assembler.detach(unit);
    const state = this.#state;
    if (state.kind !== 'online') throw new InternalError(`an answer came while ${state.kind}`);
    const doom: Doom = { kind: 'diverged', reason };
    const open = status !== IDLE;
    const { coordinator } = this.context;
    coordinator.counters.replaysDiverged++;
    coordinator.publish('replayDiverged', { id: this.#recovery.failoverId, session: this.id, statements: 1, durationMillis: 0, reason });
    const error = errorAnswer(this.passage.send(doomError(doom, null, this.#recovery.cause)), open ? FAILED : IDLE);
    this.#doomTold = true;
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom, open });
    if (open) {
      for (const other of this.#pending) this.#fates.set(other, 'refuse');
      const answers = this.#settleAll();
      return answers === null ? error : Buffer.concat([error, answers]);
    }
    return error;
  }

  // ---- the end -----------------------------------------------------------------------------------------------

  /** True while the application is inside a transaction that is gone: the pool must not take this client back (A13). */
  get isDoomed(): boolean {
    return 'doom' in this.#state && this.#state.doom !== null;
  }

  /** R15: the application has given up on what is pending. */
  withdraw(): void {
    const state = this.#state;
    if (state.kind === 'closed' || state.kind === 'connecting' || this.#pending.length === 0) return;
    for (const unit of this.#pending) unit.withdrawn = true;
    this.dispatch({ kind: 'withdrawn', plan: this.makePlan() });
  }

  /** Recovery is given up: the application's client ends as pg's does when its connection breaks. */
  closeWith(error: Error): void {
    if (this.#state.kind === 'closed') return;
    const plan = this.#state.kind === 'reconnecting' || this.#state.kind === 'resolving' ? this.#state.plan : null;
    const head = this.#pending[0];
    if (head !== undefined && !head.answeredLocally && plan !== null) {
      // Of the first one more can be said than that the connection is gone: what became of it.
      const fate = plan.resolve !== null && plan.resolve >= 0 ? 'unknown' : plan.fates[0];
      if (fate === 'unknown' || fate === 'lost') {
        this.deliver(errorAnswer(this.passage.send(fateError(fate, error)), null));
      }
    }
    this.dispatch({ kind: 'failed' });
    this.#socket.destroy(error);
  }

  /** A kill aimed at this session (R14): the application gets the server's own words as stock pg gives them. */
  closeAsTerminated(loss: ConnectionLoss): void {
    if (this.#state.kind === 'closed') return;
    const words = loss.fatalMessage;
    if (words !== null) this.deliver(words);
    this.dispatch({ kind: 'failed' });
    if (words === null) this.#socket.destroy(lossError(loss));
    else this.#socket.destroy();
  }

  /** The application ends or destroys its side. */
  closeRequested(): void {
    if (this.#state.kind !== 'closed') this.dispatch({ kind: 'close-requested' });
  }

  #close(): void {
    this.#recovery.closed();
    this.scouts.closeForGood();
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) {
      if (this.isBusy) connection.destroy();
      else connection.terminate();
    }
    this.context.coordinator.reserveJournal(-this.#journalBytes);
    this.#journalBytes = 0;
    this.context.coordinator.remove(this);
    this.#pending.length = 0;
    this.#fates.clear();
    this.#journal.reset();
  }

  // ---- socket options ----------------------------------------------------------------------------------------

  resumeReading(): void {
    this.#connection?.resume();
  }

  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.#keepAlive = { enable, initialDelayMillis };
    this.#connection?.setKeepAlive(enable, initialDelayMillis);
  }

  setReferenced(referenced: boolean): void {
    this.#referenced = referenced;
    if (referenced) this.#connection?.ref();
    else this.#connection?.unref();
  }

  /** COMMIT AND CHAIN: the new transaction's BEGIN, made from what the server says of it (A1). */
  chainBegan(begin: PgUnit | null): void {
    if (!this.#journal.awaitsChainedBegin) return;
    if (begin === null) this.#journal.makeUnreplayable('it was begun by COMMIT AND CHAIN and its mode is not known');
    else this.#journal.beginChained(begin);
  }

  hold(): void {
    this.#hold();
  }

  letGo(): void {
    this.#letGo();
  }

  /** Handshake parameters for the application's client. */
  get parameters(): ReadonlyMap<string, string> {
    return this.#parameters;
  }

  get incarnation(): string | null {
    return this.#server === null || this.#probe === null ? null : incarnationOf(this.#server.address, this.#probe);
  }
}
