import type { EventEmitter } from 'node:events';

/** Notes what a client or pool emits, so that a test can say that it was nothing. */
export class WatchedEvents {
  readonly errors: Error[] = [];
  readonly notices: string[] = [];
  ends = 0;

  constructor(emitter: EventEmitter) {
    emitter.on('error', (error: Error) => this.errors.push(error));
    emitter.on('notice', ({ message }: { message?: string }) => this.notices.push(message ?? ''));
    emitter.on('end', () => {
      this.ends++;
    });
  }

  /** True if there was neither 'error' nor 'end': the application noticed nothing. */
  get isQuiet(): boolean {
    return this.errors.length === 0 && this.ends === 0;
  }
}
