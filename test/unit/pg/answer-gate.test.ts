import { describe, expect, it } from 'vitest';
import { AnswerGate } from '../../../src/pg/answer-gate.ts';

function gateWith(isWanted: () => boolean = () => true): { gate: AnswerGate; seen: string[] } {
  const seen: string[] = [];
  const gate = new AnswerGate((bytes) => {
    seen.push(bytes.toString());
    return isWanted();
  });
  return { gate, seen };
}

const bytes = (text: string): Buffer => Buffer.from(text);

describe('AnswerGate', () => {
  it('lets everything pass while nothing is held', () => {
    const { gate, seen } = gateWith();
    expect(gate.deliver(bytes('a'))).toBe(true);
    expect(seen).toEqual(['a']);
  });

  it('keeps the order, whichever of two places is settled first', () => {
    const { gate, seen } = gateWith();
    const [one, two] = [gate.hold(), gate.hold()];
    for (const each of [bytes('a'), one, bytes('b'), two, bytes('c')]) gate.deliver(each);
    expect(seen).toEqual(['a']);
    gate.settle(two, bytes('TWO'));
    expect(seen).toEqual(['a']);
    gate.settle(one, bytes('ONE'));
    expect(seen).toEqual(['a', 'ONE', 'b', 'TWO', 'c']);
    gate.deliver(bytes('d'));
    expect(seen.at(-1)).toBe('d');
  });

  it('puts an answer in its place that is known before the place is delivered', () => {
    const { gate, seen } = gateWith();
    const place = gate.hold();
    gate.settle(place, bytes('ONE'));
    expect(seen).toEqual([]);
    gate.deliver(bytes('a'));
    gate.deliver(place);
    gate.deliver(bytes('b'));
    expect(seen).toEqual(['a', 'ONE', 'b']);
  });

  it('wants no more while much is queued, nor while the application does not', () => {
    let isWanted = true;
    const { gate } = gateWith(() => isWanted);
    const place = gate.hold();
    expect(gate.deliver(place)).toBe(true);
    expect(gate.deliver(Buffer.alloc(1_000_000))).toBe(true);
    expect(gate.deliver(Buffer.alloc(100_000))).toBe(false);
    expect(gate.settle(place, bytes('ONE'))).toBe(true);
    isWanted = false;
    expect(gate.deliver(bytes('a'))).toBe(false);
    const other = gate.hold();
    gate.deliver(other);
    expect(gate.settle(other, bytes('TWO'))).toBe(false);
  });

  it('keeps the order where the application does something while it is told', () => {
    const seen: string[] = [];
    const gate: AnswerGate = new AnswerGate((each) => {
      seen.push(each.toString());
      if (each.toString() === 'ONE') gate.deliver(bytes('last'));
      return true;
    });
    const place = gate.hold();
    gate.deliver(place);
    gate.deliver(bytes('a'));
    gate.settle(place, bytes('ONE'));
    expect(seen).toEqual(['ONE', 'a', 'last']);
  });

  it('tells nobody any more once it is cleared, in the middle of telling as well', () => {
    const seen: string[] = [];
    const gate: AnswerGate = new AnswerGate((each) => {
      seen.push(each.toString());
      gate.clear();
      return true;
    });
    const place = gate.hold();
    gate.deliver(place);
    gate.deliver(bytes('a'));
    gate.settle(place, bytes('ONE'));
    expect(seen).toEqual(['ONE']);
  });
});
