import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LiveView, PlainView, type Status } from '../../../examples/demo/view.ts';

const STATUS: Status = {
  round: 2,
  rounds: 5,
  transactions: 1234,
  transactionsPerSecond: 321.4,
  waiting: 8,
  lastStallMillis: 456.7,
  replays: 16,
  errors: 0,
};

/** As much of a terminal as the view needs: lines, cursor up, carriage return, clear to the end, cursor hidden or not. */
class Screen {
  lines: string[] = [''];
  cursorShown = true;
  #row = 0;
  readonly columns: number;
  readonly rows: number;

  constructor(columns = 100, rows = 40) {
    this.columns = columns;
    this.rows = rows;
  }

  write(text: string): boolean {
    for (const [piece] of text.matchAll(
      /\u001b\[\?25[lh]|\u001b\[\d*[AJ]|\r|\n|(?:\u001b\[\d+m|[^\u001b\r\n])+/g,
    )) {
      if (piece.startsWith('\u001b[?25')) this.cursorShown = piece.endsWith('h');
      else if (/^\u001b\[\d+A$/.test(piece)) this.#row -= Number(piece.slice(2, -1));
      else if (piece === '\u001b[J') this.lines = [...this.lines.slice(0, this.#row), ''];
      else if (piece === '\n') this.lines[++this.#row] ??= '';
      else if (piece !== '\r')
        this.lines[this.#row] = `${this.lines[this.#row] ?? ''}${stripVTControlCharacters(piece)}`;
    }
    return true;
  }

  get text(): string {
    return this.lines.join('\n');
  }
}

function viewOn(screen: Screen): LiveView {
  return new LiveView(screen as unknown as WriteStream);
}

describe('the live view of the demo', () => {
  it('shows how things stand, in one block below the lines that stay', () => {
    const screen = new Screen();
    const view = viewOn(screen);
    view.say('begun');
    view.show({ ...STATUS, round: 1, waiting: 0, lastStallMillis: undefined });
    view.say('primary killed');
    view.show(STATUS);
    const [begun, killed, ...block] = screen.lines.filter((line) => line !== '');
    expect(begun).toMatch(/ s {2}begun$/);
    expect(killed).toMatch(/ s {2}primary killed$/);
    expect(block.map((line) => line.trim().replaceAll(/ {2,}/g, ' | '))).toEqual([
      'round | 2 of 5 | ●●○○○',
      'transactions | 1234 | 321 a second',
      'sessions waiting | 8',
      'last stall | 457 ms',
      'replays | 16',
      'errors | 0',
    ]);
    expect(screen.cursorShown).toBe(false);
  });

  it('leaves nothing but the lines behind', () => {
    const screen = new Screen();
    const view = viewOn(screen);
    view.say('begun');
    view.show(STATUS);
    view.say('over');
    view.close();
    view.close();
    expect(screen.text).toMatch(/^ *\d\.\d s {2}begun\n *\d\.\d s {2}over\n$/);
    expect(screen.cursorShown).toBe(true);
  });

  it('shows no block where there is no room for it', () => {
    for (const screen of [new Screen(40, 40), new Screen(100, 6)]) {
      const view = viewOn(screen);
      view.show(STATUS);
      view.say('begun');
      expect(screen.text).toMatch(/^ *\d\.\d s {2}begun\n$/);
    }
  });
});

it('the plain view writes lines only', () => {
  let text = '';
  const view = new PlainView((piece) => (text += piece));
  view.say('begun');
  view.show();
  view.close();
  expect(text).toMatch(/^ {3}\d\.\d s {2}begun\n$/);
});
