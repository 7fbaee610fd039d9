import type { SqlMessage } from '../engine.ts';

/** A message of a client, as faults choose among them. */
export interface SeenMessage {
  readonly type: number;
  /** The text of a batch, of sp_executesql or sp_prepare; the name of another procedure; 'commit' and the like. */
  readonly text: string;
}

export type Chosen = (message: SeenMessage) => boolean;

/** What goes wrong once, at the message that is chosen. */
export type Fault =
  /** The connection is cut, and the message never reaches the server. */
  | { readonly kind: 'cut-before'; readonly at: Chosen }
  /** It is carried out, and the connection is cut in the place of the answer. */
  | { readonly kind: 'cut-after'; readonly at: Chosen }
  /** The connection is cut behind so many bytes of the answer. */
  | { readonly kind: 'cut-inside'; readonly at: Chosen; readonly bytes: number }
  /** The client is cut, and the server, which has not noticed, goes on with the message later. */
  | { readonly kind: 'cut-and-hold'; readonly at: Chosen; readonly holdMillis: number }
  /** An error in the place of an answer; the message is not carried out. */
  | { readonly kind: 'error'; readonly at: Chosen; readonly message: SqlMessage; readonly isCut: boolean };

/** One that is due now. `happened` is to be called when it has. */
export interface DueFault {
  readonly fault: Fault;
  happened(): void;
}

/** The faults that a gateway is still to have. */
export class Faults {
  #waiting: DueFault[] = [];

  /** Resolves when it has happened. */
  add(fault: Fault): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ fault, happened: resolve });
    });
  }

  take(message: SeenMessage): DueFault | null {
    const index = this.#waiting.findIndex(({ fault }) => fault.at(message));
    return index < 0 ? null : (this.#waiting.splice(index, 1)[0] ?? null);
  }

  clear(): void {
    this.#waiting = [];
  }
}
