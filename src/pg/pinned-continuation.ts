import type { PgUnit } from './pg-unit.ts';
import type { JournalPins } from './pinning/journal-pins.ts';
import type { PinnedForm } from './pinning/pinned-form.ts';

export interface ContinuationHost {
  /** A unit may be sent now. */
  flush(): void;
  /** R7: what the application wants now would not fit what it has seen. */
  refuseTransaction(reason: string): void;
}

/**
 * What was pinned in the replay of an open transaction holds for the rest of it: a statement that was in flight, or comes
 * later, must find the time that the application has seen, not that of the new transaction (A9).
 */
export class PinnedContinuation {
  readonly #host: ContinuationHost;
  #pins: JournalPins | null = null;
  readonly #forms = new Map<PgUnit, PinnedForm | null>();

  constructor(host: ContinuationHost) {
    this.#host = host;
  }

  /** The journal was replayed with these. */
  replayed(pins: JournalPins | null): void {
    this.#forms.clear();
    this.#pins = pins?.bindsWhatFollows === true ? pins : null;
  }

  /** The transaction is over, or lost with its connection. */
  ended(): void {
    this.#pins = null;
    if (this.#forms.size > 0) this.#forms.clear();
  }

  /** False: the unit must stay. It is found out how it has to run, or it must not. `isNext`: nothing is pending before it. */
  allows(unit: PgUnit, isNext: boolean): boolean {
    const pins = this.#pins;
    if (pins === null || !pins.concerns(unit)) return true;
    if (!unit.closed && !unit.hasFlush) return false;
    const form = this.#forms.get(unit);
    if (form === undefined) this.#ask(unit, pins);
    if (form?.kind !== 'refused') return form != null;
    if (isNext) {
      this.#forms.delete(unit);
      this.#pins = null;
      // Not from inside of the sending.
      setImmediate(() => {
        this.#host.refuseTransaction(form.reason);
      });
    }
    return false;
  }

  /** How the unit has to run, if not as it is. */
  take(unit: PgUnit): (PinnedForm & { readonly kind: 'pinned' }) | null {
    if (this.#pins === null) return null;
    const form = this.#forms.get(unit);
    this.#forms.delete(unit);
    return form?.kind === 'pinned' ? form : null;
  }

  #ask(unit: PgUnit, pins: JournalPins): void {
    this.#forms.set(unit, null);
    const settled = (form: PinnedForm): void => {
      if (this.#pins !== pins || !this.#forms.has(unit)) return;
      // A reader that waits for answers has not ended it: its bytes can't be replaced.
      const isOpen = !unit.closed && form.kind === 'pinned';
      const kept: PinnedForm = isOpen
        ? { kind: 'refused', reason: 'transaction time was seen, and a cursor uses it' }
        : form;
      this.#forms.set(unit, kept);
      this.#host.flush();
    };
    pins.form(unit).then(settled, () => {
      // The transaction has failed, so this will fail as well; or the connection is lost, and all begins again.
      settled({ kind: 'as-it-is', reason: null });
    });
  }
}
