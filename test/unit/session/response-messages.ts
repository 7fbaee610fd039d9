import type { PartialResponse, ResponseDigest, UnitDigest } from '../../../src/session/response-digest.ts';
import { ResponseDigest as Digest } from '../../../src/session/response-digest.ts';
import type { ResumeFilter } from '../../../src/session/resume-filter.ts';

/** A message of an answer, by its letter in the protocol; D is a row, E an error. */
export type Message = readonly [letter: string, body: string];

export const T: Message = ['T', 'columns'];
export const C: Message = ['C', 'SELECT'];
export const E: Message = ['E', '22012'];
export const row = (value: number | string): Message => ['D', String(value)];
export const rows = (...values: readonly (number | string)[]): Message[] => values.map(row);

export function feed(digest: ResponseDigest, messages: readonly Message[]): void {
  for (const [letter, body] of messages) {
    const bytes = Buffer.from(`frame ${body} frame`);
    const end = bytes.length - 6;
    if (letter === 'D') digest.row(bytes, 6, end);
    else digest.message(bytes, 6, end, letter.charCodeAt(0));
  }
}

export function digestOf(messages: readonly Message[], status = 'T', keptRows = 1_000): UnitDigest {
  const digest = new Digest(keptRows);
  feed(digest, messages);
  return digest.finish(status.charCodeAt(0));
}

export function partialOf(messages: readonly Message[], keptRows = 1_000): PartialResponse {
  const digest = new Digest(keptRows);
  feed(digest, messages);
  return digest.partial();
}

/** What the filter lets through of a new complete answer, or 'diverged'. */
export function passThrough(
  filter: ResumeFilter,
  messages: readonly Message[],
): readonly Message[] | 'diverged' {
  const passed: Message[] = [];
  let hasFailed = false;
  for (const message of messages) {
    const [letter, body] = message;
    const bytes = Buffer.from(`other frame ${body}`);
    const verdict =
      letter === 'D'
        ? filter.row(bytes, 12, bytes.length)
        : filter.message(bytes, 12, bytes.length, letter.charCodeAt(0), letter === 'E');
    if (verdict === 'diverged') return 'diverged';
    if (verdict === 'pass') passed.push(message);
    hasFailed ||= letter === 'E' && verdict === 'pass';
  }
  return filter.done || hasFailed ? passed : 'diverged';
}
