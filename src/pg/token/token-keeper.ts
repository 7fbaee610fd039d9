import { FAILED } from '../../session/journal.ts';
import type { Conversation } from '../conversation.ts';
import { FrontendType, readQuery } from '../frontend-messages.ts';
import { HeldAnswer } from './held-answer.ts';
import type { PgUnit } from '../pg-unit.ts';
import type { ServerConnection } from '../server-connection.ts';
import { commitStart, mayBeContinued } from '../sql/token-place.ts';
import type { StatementText } from '../statement-text.ts';
import { TokenAnswer } from './token-answer.ts';
import { queryWithToken, TokenMessages } from './token-messages.ts';
import { isForApplication, UnitToken, type TokenRefusal, type UnitTokenShape } from './unit-token.ts';
import type { TokenStatements } from './token-objects.ts';
import { endingOf, isSessionCommand, onlyOpens, opensTransaction } from '../unit-facts.ts';

/** Where the tokens of one session come from: what is known of the database's token table. */
export interface TokenSource {
  readonly statements: TokenStatements;
  /** A new key, 16 bytes. */
  nextKey(): Buffer;
  /** A server did not take a token. True if it may be tried once more with another one. */
  refused(refusal: TokenRefusal): boolean;
}

/** What the keeper needs of its session. */
export interface TokenHost {
  /** It surely reads only, and what proves that can't have changed meanwhile. */
  isSurelyRead(unit: PgUnit): boolean;
  /** The open transaction may have written. */
  readonly mayHaveWritten: boolean;
  /** A write may answer with rows of a rule, which the server sends in a Query's answer only. */
  readonly rulesMayAnswer: boolean;
  /** A server has refused the unit's token, and its transaction with it: it must be brought back by a replay. */
  tokenRefused(unit: PgUnit): void;
}

/** How often one unit is sent with a token before it is sent without. */
const MAX_REFUSALS = 2;

/**
 * Sends a commit token with each unit that may commit something (R3, R6): with COMMIT, and with an autocommit write in its
 * own implicit transaction. The token is written only if the transaction has an xid, so that what only reads stays free
 * of writes, whatever it is taken for (commit-token facts, A6).
 */
export class TokenKeeper {
  readonly #conversation: Conversation;
  readonly #host: TokenHost;
  #source: TokenSource | null = null;
  #messages: TokenMessages | null = null;

  constructor(host: TokenHost, conversation: Conversation) {
    this.#host = host;
    this.#conversation = conversation;
  }

  /** A new connection; null if there are no tokens there. */
  connected(source: TokenSource | null, isPooled: boolean): void {
    this.#source = source;
    this.#messages = source === null ? null : new TokenMessages(source.statements, !isPooled);
  }

  get isOn(): boolean {
    return this.#source !== null;
  }

  /** DEALLOCATE, DISCARD, or code that nobody could read. */
  statementMayBeGone(): void {
    this.#messages?.statementMayBeGone();
  }

  /**
   * What ends a transaction leaves only when all in front of it is answered: what it does, and whether it can have a token,
   * depends on that.
   */
  mustWait(unit: PgUnit): boolean {
    return this.isOn && unit !== this.#conversation.pending[0] && endingOf(unit) !== 'none';
  }

  /** The unit is about to be written. Decides whether a token goes with it, and prepares its answer for that. */
  sending(unit: PgUnit, connection: ServerConnection): void {
    const source = this.#source;
    if (source === null || unit.tokenRefusals >= MAX_REFUSALS) return;
    const shape = this.#shapeFor(unit);
    if (shape === null) return;
    const token = new UnitToken(source.nextKey(), shape);
    unit.token = token;
    unit.tokenKeys = unit.tokenKeys.length === 0 ? [token.key] : [...unit.tokenKeys, token.key];
    if (token.position === 'in-front') {
      connection.expect(
        new TokenAnswer((refusal, wasWritten) => {
          token.wasWritten = wasWritten;
          this.#answered(unit, token, refusal);
        }),
      );
    } else if (mayHold(unit) && this.#conversation.isFresh(unit)) unit.held = new HeldAnswer();
  }

  /** The bytes to write in place of the unit's own, from `view` on: with its token. */
  bytesFor(unit: PgUnit, view: Buffer): Buffer {
    const { token } = unit;
    const messages = this.#messages;
    if (token === null || messages === null) return view;
    const begins = unit.writtenTo === unit.start;
    switch (token.position) {
      case 'in-front':
        return begins ? Buffer.concat([messages.unit(token.key, this.#hasChangedRows(unit)), view]) : view;
      case 'in-string': {
        if (!begins) return view; // Data of a COPY.
        const { from, end, text } = queryIn(view);
        // In front of the first COMMIT, or at the end.
        const at = commitStart(text)?.start ?? text.length;
        return Buffer.concat([
          view.subarray(0, from),
          queryWithToken(text, at, messages.statement(token.key)),
          view.subarray(end),
        ]);
      }
      case 'inside':
        if (unit.simple) {
          const { from, text } = queryIn(view);
          return Buffer.concat([
            view.subarray(0, from),
            messages.behindQuery(text, token.key, changesRows(unit)),
          ]);
        }
        if (!unit.closed) return view;
        if (!mayCarry(unit)) {
          // What has come behind a Flush may have committed all in front of it, or is a Query: nothing would prove that it
          // did not take effect.
          unit.token = null;
          unit.tokenKeys = [];
          return view;
        }
        token.follows(unit.asked);
        return messages.behind(view, token.key, unit.isPlain, changesRows(unit));
    }
  }

  /** The open transaction has changed rows, so it was not READ ONLY. What was refused once goes the way that has no conditions. */
  #hasChangedRows(unit: PgUnit): boolean {
    return unit.tokenRefusals === 0 && this.#conversation.journal.units.some(hasChangedRows);
  }

  /** Null if no token goes with the unit. */
  #shapeFor(unit: PgUnit): UnitTokenShape | null {
    const { journal, pending } = this.#conversation;
    const ending = endingOf(unit);
    if (journal.open) {
      // Without its journal nobody knows what ran.
      const mayHaveWritten = this.#host.mayHaveWritten || journal.unreplayable !== null;
      if (journal.status === FAILED || !mayHaveWritten) return null;
      switch (ending) {
        case 'commit':
        case 'commit-and-chain':
        case 'prepare':
          return { position: 'in-front', visible: 0 };
        case 'trailing-commit':
          return inString(unit);
        default:
          // Not with work behind a COMMIT in the same string: that may have committed where the token is not there because
          // the transaction in front had no xid.
          return null;
      }
    }
    if (
      pending[0] !== unit &&
      pending.some((one) => one !== unit && (onlyOpens(one) || opensTransaction(one)))
    )
      return null;
    if (ending === 'trailing-commit') return inString(unit);
    if (ending !== 'none' || opensTransaction(unit) || isSessionCommand(unit)) return null;
    if (this.#host.isSurelyRead(unit)) return null;
    return unit.simple ? shapeOfQuery(unit, this.#host.rulesMayAnswer) : shapeOfExtended(unit);
  }

  #answered(unit: PgUnit, token: UnitToken, refusal: TokenRefusal | null): void {
    if (refusal === null) {
      token.taken();
      return;
    }
    token.refused(refusal);
    // The COMMIT behind it has become a ROLLBACK: its answer is not for the application.
    if (!isForApplication(refusal)) this.#host.tokenRefused(unit);
  }

  /** The unit is answered. What was skipped behind an error has prepared nothing. */
  answered({ token }: PgUnit): void {
    if (token !== null && !token.isTaken) this.statementMayBeGone();
  }

  /** The unit's transaction is rolled back because a server refused its token; it will run again. */
  noteRefusal(unit: PgUnit, refusal: TokenRefusal): void {
    const mayTryAgain = this.#source?.refused(refusal) === true;
    unit.tokenRefusals = mayTryAgain ? unit.tokenRefusals + 1 : MAX_REFUSALS;
  }
}

/** The Query in the bytes of a unit: a cursor's late Close may stand in front of it, and data of a COPY behind. */
function queryIn(view: Buffer): { readonly from: number; readonly end: number; readonly text: string } {
  let from = 0;
  while (view[from] !== FrontendType.Query) from += 1 + view.readUInt32BE(from + 1);
  const end = from + 1 + view.readUInt32BE(from + 1);
  return { from, end, text: readQuery(view, from + 5, end) };
}

function inString(unit: PgUnit): UnitTokenShape | null {
  if (!unit.simple) return null;
  const commit = commitStart(unit.texts[0]?.text ?? '');
  return commit === null ? null : { position: 'in-string', visible: commit.statement };
}

function shapeOfQuery(unit: PgUnit, rulesMayAnswer: boolean): UnitTokenShape | null {
  const [text] = unit.texts;
  switch (text?.tokenPlace) {
    case 'extended':
      if (rulesMayAnswer) return appended(text);
      return { position: 'inside', visible: 1, isConverted: true };
    case 'appended':
      return appended(text);
    default:
      return null;
  }
}

function appended({ text, commands }: StatementText): UnitTokenShape | null {
  return mayBeContinued(text) ? { position: 'in-string', visible: commands.length } : null;
}

function shapeOfExtended(unit: PgUnit): UnitTokenShape | null {
  if (!mayCarry(unit)) return null;
  if (unit.closed && unit.executes === 0) return null;
  if (unit.isPlain && unit.closed) return { position: 'inside', visible: unit.executes };
  return { position: 'inside', visible: null, countsAll: true };
}

/** By the extended protocol, in front of its Sync. */
function mayCarry(unit: PgUnit): boolean {
  return !unit.isMixed && unit.texts.length > 0 && unit.texts.every((text) => text.mayCarryToken);
}

/** It does nothing else. What was refused once goes the way that has no conditions. */
function changesRows(unit: PgUnit): boolean {
  return unit.tokenRefusals === 0 && unit.texts.every((text) => text.changesRows);
}

function hasChangedRows({ error, texts }: PgUnit): boolean {
  return error === null && texts.length > 0 && texts.every((text) => text.changesRows);
}

/** Its reader waits for nothing before the whole answer. */
function mayHold(unit: PgUnit): boolean {
  return unit.closed && !unit.hasFlush && !unit.texts.some((text) => text.mayCopy);
}
