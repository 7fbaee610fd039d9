import type { WriteStream } from 'node:tty';

export interface Status {
  readonly round: number;
  readonly rounds: number;
  readonly transactions: number;
  readonly transactionsPerSecond: number;
  readonly waiting: number;
  readonly lastStallMillis: number | undefined;
  readonly replays: number;
  readonly errors: number;
}

/** Shows how the demo goes on. */
export interface View {
  /** A line that stays. */
  say(text: string): void;
  /** How things stand now; called several times a second. */
  show(status: Status): void;
  close(): void;
}

/** Lines only, for a file or a pipe. */
export class PlainView implements View {
  readonly #begun = performance.now();
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  say(text: string): void {
    const seconds = ((performance.now() - this.#begun) / 1_000).toFixed(1);
    this.#write(`${seconds.padStart(6)} s  ${text}\n`);
  }

  show(): void {
    // Nobody reads along.
  }

  close(): void {
    // Nothing to restore.
  }
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR_BELOW = '\u001b[J';
const bold = (text: string): string => `\u001b[1m${text}\u001b[22m`;
const dim = (text: string): string => `\u001b[2m${text}\u001b[22m`;
const red = (text: string): string => `\u001b[31m${text}\u001b[39m`;

/** The lines as above, and below them a block that is drawn again and again. */
export class LiveView implements View {
  readonly #terminal: WriteStream;
  readonly #plain: PlainView;
  #block: string[] = [];
  #drawnLines = 0;
  #closed = false;

  constructor(terminal: WriteStream) {
    this.#terminal = terminal;
    this.#plain = new PlainView((text) => {
      this.#erase();
      terminal.write(text);
      this.#draw();
    });
    terminal.write(HIDE_CURSOR);
  }

  say(text: string): void {
    this.#plain.say(text);
  }

  show(status: Status): void {
    const { round, rounds, waiting, lastStallMillis, errors } = status;
    const stall = lastStallMillis === undefined ? '–' : `${lastStallMillis.toFixed(0)} ms`;
    this.#block = [
      '',
      `  round              ${bold(`${round} of ${rounds}`)}  ${dim('●'.repeat(round) + '○'.repeat(Math.max(0, rounds - round)))}`,
      `  transactions       ${bold(String(status.transactions))}  ${dim(`${status.transactionsPerSecond.toFixed(0)} a second`)}`,
      `  sessions waiting   ${bold(String(waiting))}`,
      `  last stall         ${bold(stall)}`,
      `  replays            ${bold(String(status.replays))}`,
      `  errors             ${errors === 0 ? bold('0') : red(String(errors))}`,
    ];
    this.#erase();
    this.#draw();
  }

  close(): void {
    this.#erase();
    this.#block = [];
    if (!this.#closed) this.#terminal.write(SHOW_CURSOR);
    this.#closed = true;
  }

  #draw(): void {
    // A line that the terminal would break in two could not be erased again.
    if (this.#terminal.columns < 60 || this.#terminal.rows < this.#block.length + 2) return;
    this.#terminal.write(this.#block.map((line) => `${line}\n`).join(''));
    this.#drawnLines = this.#block.length;
  }

  #erase(): void {
    if (this.#drawnLines === 0) return;
    this.#terminal.write(`\u001b[${this.#drawnLines}A\r${CLEAR_BELOW}`);
    this.#drawnLines = 0;
  }
}
