import type { Block, Statement } from './statements.ts';

/** What no new session can be given. */
export interface Pin {
  readonly name: string;
  /** As in "it has …". */
  readonly reason: string;
  /** Done twice it must be undone twice. */
  readonly nests: boolean;
}

/** What a text does to the state of its session, beyond its transaction (design.md section 3). */
export interface SessionEffect {
  /** Statements that set something to a value that stands in them, by the name of what they set; in their order. */
  readonly settings: readonly { readonly name: string; readonly text: string }[];
  /** As the last USE names it. Whether it was run the server says (ENVCHANGE 1). */
  readonly database: string | null;
  readonly pins: readonly Pin[];
  /** Names of pins that are gone behind it. */
  readonly undone: readonly string[];
  /** Of a text of several statements: what may be, if one of them fails, and nobody knows which have run. */
  readonly ifItFails: readonly UncertainPin[];
}

export interface UncertainPin extends Pin {
  /** The setting that it is about: if it was so before, nothing is uncertain. Null for anything else. */
  readonly text: string | null;
}

export const NO_EFFECT: SessionEffect = { settings: [], database: null, pins: [], undone: [], ifItFails: [] };

/**
 * The effect of a text that was answered with an error.
 *
 * @param settings that are in force, by their names
 */
export function effectOfFailure(
  { ifItFails }: SessionEffect,
  settings: ReadonlyMap<string, string>,
): SessionEffect {
  const pins = ifItFails.filter(({ name, text }) => text === null || settings.get(name) !== text);
  return pins.length === 0 ? NO_EFFECT : { ...NO_EFFECT, pins };
}

interface MadePin extends Pin {
  readonly blocks: readonly Block[];
  /** How often a loop could have been left until then. */
  readonly leaps: number;
}

/** Puts together what the statements of one text do, in their order. */
export class EffectBuilder {
  readonly #settings = new Map<string, string>();
  #database: string | null = null;
  #pins: MadePin[] = [];
  readonly #undone: string[] = [];
  readonly #ifItFails: UncertainPin[] = [];
  /** What stands behind may not be run: RETURN or GOTO came. */
  #mayBeOver = false;
  #leaps = 0;

  /** The statement leaves the text, or a loop. */
  left(isLoopOnly: boolean): void {
    if (isLoopOnly) this.#leaps++;
    else this.#mayBeOver = true;
  }

  setting(name: string, text: string, { blocks }: Statement): void {
    const pin = { name, reason: `it has a setting that is set under a condition (${name})`, nests: false };
    this.#ifItFails.push({ ...pin, text, reason: `it has a setting of a text that failed (${name})` });
    if (blocks.length > 0 || this.#mayBeOver) {
      this.#add(pin, blocks);
      return;
    }
    this.#settings.delete(name);
    this.#settings.set(name, text);
    this.#pins = this.#pins.filter((one) => one.name !== name);
  }

  /** Statements that run from now on may do so in another database. */
  database(name: string): void {
    this.#database = name;
  }

  pin(name: string, reason: string, { blocks }: Pick<Statement, 'blocks'>, nests = false): void {
    const pin = { name, reason, nests };
    this.#ifItFails.push({ ...pin, text: null });
    this.#add(pin, blocks);
  }

  #add(pin: Pin, blocks: readonly Block[]): void {
    this.#pins.push({ ...pin, blocks, leaps: this.#leaps });
    const at = pin.nests ? -1 : this.#undone.indexOf(pin.name);
    if (at >= 0) this.#undone.splice(at, 1);
  }

  /** Only if it surely has run whenever the pin was made. */
  undo(name: string, { blocks }: Pick<Statement, 'blocks'>): void {
    // Behind an error the rest of a TRY is left out, and nobody is told.
    if (this.#mayBeOver || blocks.some(({ kind }) => kind === 'try')) return;
    const isUndone = (pin: MadePin): boolean =>
      pin.name === name &&
      blocks.every((block, index) => pin.blocks[index] === block) &&
      (blocks.length === 0 || pin.leaps === this.#leaps);
    const last = this.#pins.findLastIndex(isUndone);
    const pin = this.#pins[last];
    if (pin?.nests === true) {
      this.#pins.splice(last, 1);
      return;
    }
    this.#pins = this.#pins.filter((one) => !isUndone(one));
    if (blocks.length === 0) this.#undone.push(name);
  }

  /** Another text that this one runs. */
  include(effect: SessionEffect, statement: Statement): void {
    for (const { name, reason, nests } of effect.pins) this.pin(name, reason, statement, nests);
    for (const name of effect.undone) this.undo(name, statement);
  }

  build(statements: number): SessionEffect {
    const settings = [...this.#settings].map(([name, text]) => ({ name, text }));
    const pins = this.#pins.map(({ name, reason, nests }) => ({ name, reason, nests }));
    const ifItFails = statements > 1 ? this.#ifItFails : [];
    const parts = [settings, pins, this.#undone, ifItFails];
    if (this.#database === null && parts.every(({ length }) => length === 0)) return NO_EFFECT;
    return { settings, database: this.#database, pins, undone: [...new Set(this.#undone)], ifItFails };
  }
}
