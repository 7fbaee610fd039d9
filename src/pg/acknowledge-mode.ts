import type { Acknowledge } from '../options.ts';
import type { UnitCompleted } from './conversation.ts';
import type { PgUnit } from './pg-unit.ts';

/** For which of a session's transactions a standby must have them before they are acknowledged. */
export class AcknowledgeMode {
  readonly #default: Acknowledge;
  /** Asked for by the open transaction; null if it did not. */
  #own: Acknowledge | null = null;
  /** It has asked for `replicated` at least once. */
  #hasAsked = false;

  constructor(configured: Acknowledge) {
    this.#default = configured;
  }

  /** True if what this unit is about to commit would be held. It has not ended yet. */
  isReplicated(unit: PgUnit): boolean {
    if ((this.#own ?? this.#default) === 'replicated') return true;
    return unit.texts.some((text) => text.acknowledgeSettings.includes('replicated'));
  }

  /** True if what this unit has committed, if it has, is to be held. Called for each unit, in order. */
  completed({ unit, wasOpen, ended }: Pick<UnitCompleted, 'unit' | 'wasOpen' | 'ended'>): boolean {
    if (!wasOpen) this.#reset();
    for (const text of unit.texts) {
      if (unit.error === null) {
        for (const setting of text.acknowledgeSettings) {
          // Of several transactions in one string it may stand in another one; and what was only parsed sets nothing.
          if (setting !== 'replicated' && (unit.committed || unit.completions === 0)) continue;
          this.#own = setting === 'default' ? null : setting;
          this.#hasAsked ||= setting === 'replicated';
        }
      }
      // Nobody knows what was set behind the savepoint: the more careful one of all that were asked for.
      if (text.commands.includes('rollback-to') && this.#own !== 'replicated')
        this.#own = this.#hasAsked ? 'replicated' : null;
    }
    const isReplicated = (this.#own ?? this.#default) === 'replicated';
    if (ended) this.#reset();
    return isReplicated;
  }

  #reset(): void {
    this.#own = null;
    this.#hasAsked = false;
  }
}
