import { abortable } from './abortable.ts';

/** Stages of a session in a failover; each begins when the one before is done. */
export const STAGE = { searching: 0, resolving: 1, replaying: 2, ready: 3 } as const;
export type Stage = (typeof STAGE)[keyof typeof STAGE];

export interface Participant {
  stage: Stage;
}

/**
 * The barriers between the phases of a failover (design.md section 1): who has come as far as a stage waits for the
 * others. As long as any of them gets on, those who are done wait; when none has for `timeoutMillis`, whoever is late
 * leaves the count and goes on alone, so that one slow replay never holds everybody.
 */
export class PhaseBarrier {
  readonly #participants: ReadonlySet<Participant>;
  readonly #timeoutMillis: number;
  readonly #waiters = new Set<{ readonly stage: Stage; readonly open: () => void }>();
  #lastProgress = performance.now();

  constructor(participants: ReadonlySet<Participant>, timeoutMillis: number) {
    this.#participants = participants;
    this.#timeoutMillis = timeoutMillis;
  }

  /** Some session has come a step further. */
  progressed(): void {
    this.#lastProgress = performance.now();
  }

  /** The participant has reached a stage: waits until all others have. Rejects when the signal aborts. */
  async reached(participant: Participant, stage: Stage, signal: AbortSignal): Promise<void> {
    participant.stage = stage;
    this.participantsChanged();
    if (!this.#haveAllReached(stage)) await this.#wait(stage, signal);
  }

  /** Somebody left or came further: whoever waited for that goes on. */
  participantsChanged(): void {
    for (const waiter of this.#waiters) {
      if (!this.#haveAllReached(waiter.stage)) continue;
      this.#waiters.delete(waiter);
      waiter.open();
    }
  }

  /** Waits for what others have to do first; no longer than some of them get on. */
  async patiently(awaited: Promise<void>): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const idle = new Promise<boolean>((resolve) => {
      // Each session has its own deadline for the whole.
      const expire = (): void => {
        const idleMillis = performance.now() - this.#lastProgress;
        if (idleMillis >= this.#timeoutMillis) resolve(true);
        else timer = setTimeout(expire, Math.ceil(this.#timeoutMillis - idleMillis));
      };
      timer = setTimeout(expire, this.#timeoutMillis);
    });
    try {
      return await Promise.race([awaited.then(() => false), idle]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #wait(stage: Stage, signal: AbortSignal): Promise<void> {
    const opened = new Promise<void>((resolve) => {
      this.#waiters.add({ stage, open: resolve });
    });
    await this.patiently(abortable(opened, signal));
  }

  #haveAllReached(stage: Stage): boolean {
    for (const participant of this.#participants) if (participant.stage < stage) return false;
    return true;
  }
}
