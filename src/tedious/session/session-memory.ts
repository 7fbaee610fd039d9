import { effectOfFailure, type SessionEffect } from '../sql/session-effect.ts';

const ISOLATION_NAMES: Readonly<Record<number, string>> = {
  1: 'READ UNCOMMITTED',
  2: 'READ COMMITTED',
  3: 'REPEATABLE READ',
  4: 'SERIALIZABLE',
  5: 'SNAPSHOT',
};

/** What can't be restored, and how often it would have to be undone. */
interface HeldPin {
  readonly reason: string;
  readonly count: number;
}

interface State {
  /** Name of a setting → the statement that set it last; in the order in which they ran, as one may change another. */
  readonly settings: Map<string, string>;
  database: string | null;
  readonly pins: Map<string, HeldPin>;
}

/**
 * What the application has done to its session that a new one does not have, and what of it can be restored
 * (design.md section 3). SET and USE outlive the transaction in which they stand, rolled back or not; of temporary tables
 * and the like it is assumed, which at worst refuses a session that could have gone on.
 */
export class SessionMemory {
  #state: State = emptyState();
  /** As it was when the open transaction began: its journal brings the rest. */
  #atBegin: State | null = null;

  /** A unit has run. @param hasFailed it was answered with an error, or stopped */
  ran(effect: SessionEffect, hasFailed = false): void {
    const state = this.#state;
    const { settings, pins, undone } = hasFailed ? effectOfFailure(effect, state.settings) : effect;
    for (const { name, text } of settings) {
      state.settings.delete(name);
      state.settings.set(name, text);
      state.pins.delete(name);
    }
    for (const { name, reason, nests } of pins) {
      state.pins.set(name, { reason, count: nests ? (state.pins.get(name)?.count ?? 0) + 1 : 1 });
    }
    for (const name of undone) {
      const pin = state.pins.get(name);
      if (pin !== undefined && pin.count > 1) state.pins.set(name, { ...pin, count: pin.count - 1 });
      else state.pins.delete(name);
    }
  }

  /** As the server tells it: also what a procedure has done. */
  databaseChanged(name: string): void {
    this.#state.database = name;
  }

  /** A transaction request has begun a transaction at a level of its own, which stays behind it (facts, trap 8). */
  isolation(level: number): void {
    const name = ISOLATION_NAMES[level];
    if (name === undefined) return;
    this.#state.settings.set('isolation', `SET TRANSACTION ISOLATION LEVEL ${name}`);
    this.#state.pins.delete('isolation');
  }

  /** In front of the unit that opens a transaction. */
  transactionBegins(): void {
    this.#atBegin ??= copyOf(this.#state);
  }

  transactionEnded(): void {
    this.#atBegin = null;
  }

  /** The transaction that was open is gone, and with it what only it had brought. */
  transactionLost(): void {
    if (this.#atBegin !== null) this.#state = this.#atBegin;
    this.#atBegin = null;
  }

  /** sp_reset_connection: as at login, but for the isolation level (MS-TDS 2.2.3.1.2). */
  reset(): void {
    const isolation = this.#state.settings.get('isolation');
    this.#state = emptyState();
    if (isolation !== undefined) this.#state.settings.set('isolation', isolation);
    this.#atBegin = null;
  }

  /** Why the session can't be brought to another server; null if it can. `isReplayed`: up to where its transaction begins. */
  refusal(isReplayed: boolean): string | null {
    const { pins } = this.#target(isReplayed);
    const [pin] = pins.values();
    return pin?.reason ?? null;
  }

  /** Another user than that of the login runs the statements, who need not be allowed to write tokens (D1). */
  get hasChangedUser(): boolean {
    return ['execute_as', 'setuser', 'sp_setapprole'].some((name) => this.#state.pins.has(name));
  }

  /** What to run on a new connection, in this order. */
  restoration(isReplayed: boolean): readonly string[] {
    const { settings, database } = this.#target(isReplayed);
    const texts = [...settings.values()];
    if (database !== null) texts.unshift(`USE [${database.replaceAll(']', ']]')}]`);
    return texts;
  }

  /** The session's database. @param atLogin the one that it began in */
  databaseOr(atLogin: string | null): string | null {
    return this.#state.database ?? atLogin;
  }

  /** The statement that has set the lock timeout last. */
  get lockTimeout(): string {
    return this.#state.settings.get('lock_timeout') ?? 'SET LOCK_TIMEOUT -1';
  }

  #target(isReplayed: boolean): State {
    return isReplayed ? (this.#atBegin ?? this.#state) : this.#state;
  }
}

function emptyState(): State {
  return { settings: new Map(), database: null, pins: new Map() };
}

function copyOf({ settings, database, pins }: State): State {
  return { settings: new Map(settings), database, pins: new Map(pins) };
}
