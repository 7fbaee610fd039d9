import type { Judgement } from './judgement.ts';
import type { StatementText } from './statement-text.ts';

/** In each of the two parts. */
const MAX_TEXTS = 1_000;
const MAX_RECENT_TEXTS = 200;
const MAX_RECENT_CHARACTERS = 10_000;

/**
 * Texts that ran in a session and are still to be judged, in two parts: from before the open transaction, and inside it,
 * where a replay runs them again.
 */
export class NotedTexts {
  readonly before = new Set<StatementText>();
  readonly inside = new Set<StatementText>();

  /** False if there are too many: they are forgotten. */
  add(text: StatementText, isInside: boolean): boolean {
    const part = isInside ? this.inside : this.before;
    part.add(text);
    if (part.size <= MAX_TEXTS) return true;
    part.clear();
    return false;
  }

  /** Of very many only the most recent ones are kept. */
  addRecent(text: StatementText, isInside: boolean): void {
    const part = isInside ? this.inside : this.before;
    if (text.text.length > MAX_RECENT_CHARACTERS) return;
    part.delete(text);
    part.add(text);
    const [oldest] = part;
    if (part.size > MAX_RECENT_TEXTS && oldest !== undefined) part.delete(oldest);
  }

  transactionEnded(): void {
    moveAll(this.inside, this.before);
  }

  moveTo(other: NotedTexts): void {
    moveAll(this.before, other.before);
    moveAll(this.inside, other.inside);
  }

  clear(): void {
    this.before.clear();
    this.inside.clear();
  }

  all(): readonly StatementText[] {
    return [...this.before, ...this.inside];
  }
}

function moveAll(from: Set<StatementText>, to: Set<StatementText>): void {
  if (from.size === 0) return;
  for (const text of from) to.add(text);
  from.clear();
}

/** Takes what was judged out of the set: the judgements of the texts that may have touched the session's state. */
export function takeJudged(
  texts: Set<StatementText>,
  learned: ReadonlyMap<StatementText, Judgement>,
): readonly Judgement[] {
  const judgements: Judgement[] = [];
  for (const text of texts) {
    const judgement = learned.get(text);
    if (judgement === undefined) continue;
    texts.delete(text);
    if (!judgement.sessionSafe) judgements.push(judgement);
  }
  return judgements;
}
