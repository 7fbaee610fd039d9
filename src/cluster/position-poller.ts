import type { LogPosition } from './log-position.ts';

/** How far the log of a cluster's primary has come, and who has it. */
export interface PositionSurvey {
  /** The life of the primary. */
  readonly incarnation: string;
  /** Where the next record goes there. */
  readonly position: LogPosition;
  /** What a crash of it can't take back; null if it does not tell. */
  readonly flushed: bigint | null;
  /** All who might be primary next have its log up to here; null if one of them could not be asked. */
  readonly floor: bigint | null;
  /** At least one standby has replayed its log up to here; null if none is known to. */
  readonly reached: bigint | null;
}

/** Asks the hosts of a cluster over connections of its own. */
export interface PositionSource {
  /** Null if there is no primary to ask just now. Never rejects. */
  survey(): Promise<PositionSurvey | null>;
  /** Closes its connections; they are opened anew when they are needed. */
  rest(): void;
}

export interface PollerPort {
  readonly intervalMillis: number;
  /** False: there is nothing to find out. */
  isNeeded(): boolean;
  /** True: somebody waits for a standby to get further. */
  isAwaited(): boolean;
  nextSequence(): number;
  surveyed(survey: PositionSurvey, askedSequence: number, answeredSequence: number): void;
}

/** How many surveys in a row are found needless before the connections are closed. */
const RESTS_AFTER = 20;
/** Between two surveys while somebody waits for a standby. */
const AWAITED_PAUSE_MILLIS = 5;

/**
 * Asks for log positions in intervals, as long as somebody needs them: one for each process and cluster, off the way of
 * statements, with a connection to each host that stays open meanwhile. It keeps no process alive.
 */
export class PositionPoller {
  readonly #port: PollerPort;
  #source: PositionSource | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;
  #idle = 0;
  #isHurried = false;
  /** The source has not got an answer: its credentials may be wrong by now, and another one's right. */
  #hasFailed = false;

  constructor(port: PollerPort) {
    this.#port = port;
  }

  /** There is something to find out. `source` is asked if there is none yet. */
  wake(source: PositionSource): void {
    if (this.#source === null || this.#hasFailed) this.#take(source);
    if (this.#timer === null && !this.#isAsking) this.#schedule(this.#port.intervalMillis);
  }

  /** Somebody waits for the positions: asks at once, or as soon as it has the answer for which it was too late. */
  hurry(source: PositionSource): void {
    this.#isHurried = true;
    if (this.#source === null || this.#hasFailed) this.#take(source);
    if (this.#isAsking) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#schedule(0);
  }

  /** Nobody is left who could need it: closes the connections. */
  rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#idle = 0;
    this.#source?.rest();
    this.#source = null;
  }

  #take(source: PositionSource): void {
    if (this.#source !== source) this.#source?.rest();
    this.#source = source;
    this.#hasFailed = false;
  }

  #schedule(millis: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#ask();
    }, millis);
    this.#timer.unref();
  }

  async #ask(): Promise<void> {
    const source = this.#source;
    if (source === null) return;
    this.#idle = this.#port.isNeeded() ? 0 : this.#idle + 1;
    if (this.#idle > RESTS_AFTER) {
      this.rest();
      return;
    }
    this.#isHurried = false;
    if (this.#idle === 0) await this.#survey(source);
    this.#goOn();
  }

  /** Unless it was given up meanwhile, or somebody has hurried it. */
  #goOn(): void {
    if (this.#source === null || this.#timer !== null) return;
    const { intervalMillis } = this.#port;
    const isAwaited = !this.#hasFailed && this.#port.isAwaited();
    this.#schedule(
      this.#isHurried ? 0 : isAwaited ? Math.min(AWAITED_PAUSE_MILLIS, intervalMillis) : intervalMillis,
    );
  }

  async #survey(source: PositionSource): Promise<void> {
    this.#isAsking = true;
    const askedSequence = this.#port.nextSequence();
    const survey = await source.survey();
    this.#isAsking = false;
    this.#hasFailed = survey === null;
    if (survey !== null) this.#port.surveyed(survey, askedSequence, this.#port.nextSequence());
  }
}
