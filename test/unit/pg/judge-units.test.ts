import { describe, expect, it } from 'vitest';
import type { Judgement } from '../../../src/pg/judgement.ts';
import { NOTHING_PROVED } from '../../../src/pg/judgement.ts';
import { judgeUnits } from '../../../src/pg/judge-units.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { statementText } from '../../../src/pg/statement-text.ts';

const HARMLESS: Judgement = {
  ...NOTHING_PROVED,
  staysInside: true,
  runsUnseenCode: false,
  sessionSafe: true,
  changesNames: false,
  orderSensitive: false,
};
const JUDGEMENTS: Readonly<Record<string, Judgement | null>> = {
  BEGIN: HARMLESS,
  COMMIT: HARMLESS,
  write: HARMLESS,
  read: { ...HARMLESS, provedRead: true },
  'change names': { ...HARMLESS, changesNames: true },
  'never seen': null,
};

/** In doubt nothing is proved but of what names nothing. */
function judgementOf({ text }: { readonly text: string }, inDoubt: boolean): Judgement | null {
  if (!inDoubt || text === 'BEGIN' || text === 'COMMIT') return JUDGEMENTS[text]!;
  return NOTHING_PROVED;
}

/** Each of the texts, with what is proved of it. */
function judged(...texts: readonly string[]): string[] {
  const units = texts.map((text, index): PgUnit => {
    const unit = makeUnit(true, index);
    unit.texts.push(statementText(text));
    return unit;
  });
  const judgements = judgeUnits(units, judgementOf);
  return units.map((unit, index) => {
    const { provedRead, staysInside } = judgements.get(unit)!;
    return `${texts[index]!}: ${provedRead ? 'reads' : 'writes'}, ${staysInside ? 'inside' : 'perhaps outside'}`;
  });
}

describe('the units of a transaction', () => {
  it('are what each of them is, as long as names mean what they meant', () => {
    expect(judged('BEGIN', 'read', 'write', 'COMMIT')).toEqual([
      'BEGIN: writes, inside',
      'read: reads, inside',
      'write: writes, inside',
      'COMMIT: writes, inside',
    ]);
  });

  it.each(['change names', 'never seen'])('prove nothing behind one of the kind: %s', (text) => {
    expect(judged('BEGIN', text, 'read', 'COMMIT').slice(2)).toEqual([
      'read: writes, perhaps outside',
      'COMMIT: writes, inside',
    ]);
  });

  it('may have put off to the end what finds other names there, unless they only read', () => {
    expect(judged('BEGIN', 'read', 'write', 'change names', 'COMMIT').slice(1, 3)).toEqual([
      'read: reads, inside',
      'write: writes, perhaps outside',
    ]);
  });
});
