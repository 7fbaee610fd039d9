import fc from 'fast-check';
import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../../src/session/arena.ts';
import type { PgUnit } from '../../../src/pg/pg-unit.ts';
import { UnitAssembler, type UnitListener } from '../../../src/pg/unit-assembler.ts';
import { endingOf } from '../../../src/pg/unit-facts.ts';

class Recorder implements UnitListener {
  readonly units: PgUnit[] = [];
  readonly told: string[] = [];
  readonly arena = new Arena(64);
  readonly assembler = new UnitAssembler(this.arena, new Map(), this);

  unitOpened(unit: PgUnit): void {
    this.units.push(unit);
    this.told.push(`open ${this.units.length}`);
  }

  unitClosed(unit: PgUnit): void {
    this.told.push(`close ${this.units.indexOf(unit) + 1}`);
  }

  flushAsked(unit: PgUnit): void {
    this.told.push(`flush ${this.units.indexOf(unit) + 1}`);
  }

  beforeAppend(): number {
    return 0;
  }

  take(...messages: readonly Uint8Array[]): this {
    for (const message of messages) this.assembler.accept(message);
    return this;
  }

  get summary() {
    return this.units.map((unit) => ({
      bytes: Buffer.from(this.arena.view(unit.start, unit.end)).toString('hex'),
      texts: unit.texts.map(({ text }) => text),
      names: unit.nameUses,
      simple: unit.simple,
      closed: unit.closed,
      executes: unit.executes,
    }));
  }
}

const {
  parse,
  bind,
  execute,
  describe: describeMessage,
  close,
  sync,
  flush,
  query,
  copyData,
  copyDone,
  copyFail,
  end,
} = serialize;
const plain = (text: string): Buffer[] => [
  parse({ text }),
  bind({}),
  describeMessage({ type: 'P' }),
  execute({}),
  sync(),
];
const named = (name: string, text: string): Buffer[] => [
  parse({ name, text }),
  bind({ statement: name }),
  execute({}),
  sync(),
];

describe('the units of a conversation', () => {
  it('are Queries, and everything up to a Sync', () => {
    const { told, summary } = new Recorder().take(
      query('BEGIN'),
      ...plain('INSERT INTO a'),
      query('COMMIT'),
      end(),
    );
    expect(told).toEqual(['open 1', 'close 1', 'open 2', 'close 2', 'open 3', 'close 3']);
    expect(summary.map(({ texts }) => texts)).toEqual([['BEGIN'], ['INSERT INTO a'], ['COMMIT']]);
    expect(summary.map(({ simple }) => simple)).toEqual([true, false, true]);
    expect(summary[1]!.bytes).toBe(Buffer.concat(plain('INSERT INTO a')).toString('hex'));
  });

  it('end with the goodbye: nothing behind it may take effect', () => {
    const { told } = new Recorder().take(
      query('BEGIN'),
      Buffer.concat([end(), query('DROP TABLE a')]),
      query('COMMIT'),
    );
    expect(told).toEqual(['open 1', 'close 1']);
  });

  it('stay open over a Flush: a cursor reads on', () => {
    const recorder = new Recorder().take(
      parse({ text: 'SELECT 1' }),
      bind({ portal: 'c' }),
      execute({ portal: 'c', rows: 1 }),
      flush(),
    );
    expect(recorder.told).toEqual(['open 1', 'flush 1']);
    recorder.take(execute({ portal: 'c', rows: 1 }), flush(), close({ type: 'P', name: 'c' }), sync());
    expect(recorder.told).toEqual(['open 1', 'flush 1', 'flush 1', 'close 1']);
    expect(recorder.summary).toMatchObject([{ texts: ['SELECT 1'], executes: 2, closed: true }]);
  });

  it('begin with what was closed outside of a unit, since the server answers that with them', () => {
    const stray = close({ type: 'P', name: 'c' });
    for (const next of [[query('SELECT 1')], plain('SELECT 1'), [sync()]]) {
      const recorder = new Recorder().take(query('BEGIN'), stray);
      expect(recorder.told).toEqual(['open 1', 'close 1']);
      recorder.take(stray, ...next, query('COMMIT'));
      expect(recorder.told).toEqual(['open 1', 'close 1', 'open 2', 'close 2', 'open 3', 'close 3']);
      expect(recorder.summary[1]!.bytes).toBe(Buffer.concat([stray, stray, ...next]).toString('hex'));
      expect(recorder.summary[2]!.bytes).toBe(query('COMMIT').toString('hex'));
    }
  });

  it('end with a Query as well, behind which the server is ready', () => {
    const messages = [parse({ text: 'SELECT 1' }), bind({}), execute({}), query('COMMIT')];
    const { summary, told, units } = new Recorder().take(...messages, query('SELECT 2'));
    expect(told).toEqual(['open 1', 'close 1', 'open 2', 'close 2']);
    expect(summary[0]).toMatchObject({ texts: ['SELECT 1', 'COMMIT'], simple: false, executes: 1 });
    expect(units[0]!.isPlain).toBe(false);
  });

  it('know the text of a named statement and of a portal', () => {
    const { summary } = new Recorder().take(
      ...named('s', 'UPDATE a'),
      bind({ statement: 's', portal: 'p' }), sync(),
      execute({ portal: 'p' }), sync(),
    ); // prettier-ignore
    expect(summary.map(({ texts }) => texts)).toEqual([['UPDATE a'], ['UPDATE a'], ['UPDATE a']]);
    expect(summary[1]!.names).toMatchObject([
      { kind: 'use', name: 's', statement: { text: { text: 'UPDATE a' } } },
    ]);
  });

  it('are not taken for harmless where nobody knows what they run', () => {
    const unknown = [
      [bind({ statement: 'prepared elsewhere' }), execute({}), sync()],
      [parse({ text: 'COMMIT' }), sync(), bind({}), execute({}), sync()],
      [parse({ text: 'COMMIT' }), bind({}), sync(), execute({}), sync()],
      [
        ...named('s', 'COMMIT'),
        close({ type: 'S', name: 's' }),
        sync(),
        bind({ statement: 's' }),
        execute({}),
        sync(),
      ],
    ];
    for (const messages of unknown)
      expect(endingOf(new Recorder().take(...messages).units.at(-1)!)).not.toBe('none');
  });

  it('hold the data of their COPY', () => {
    const messages = [
      query('COPY a FROM STDIN'),
      copyData(Buffer.from('1\n')),
      copyData(Buffer.from('2\n')),
      copyDone(),
    ];
    const { summary } = new Recorder().take(...messages);
    expect(summary).toMatchObject([{ bytes: Buffer.concat(messages).toString('hex') }]);
  });

  it('leave out COPY data that comes when the COPY is over, but follow its frames', () => {
    const recorder = new Recorder().take(query('COPY a FROM STDIN'));
    recorder.assembler.detach(recorder.units[0]!);
    const late = copyData(Buffer.from('Q and other letters'));
    recorder.take(
      late.subarray(0, 7),
      Buffer.concat([late.subarray(7), copyFail('over')]),
      query('SELECT 2'),
    );
    expect(recorder.summary.map(({ texts }) => texts)).toEqual([['COPY a FROM STDIN'], ['SELECT 2']]);
    expect(recorder.summary[0]!.bytes).toBe(query('COPY a FROM STDIN').toString('hex'));
  });
});

const messageList: fc.Arbitrary<Buffer[]> = fc
  .array(
    fc.oneof(
      fc.constantFrom('BEGIN', 'SELECT 1', 'COMMIT', 'ünïcode').map((text) => [query(text)]),
      fc.constantFrom('INSERT', 'SELECT 2').map(plain),
      fc.constantFrom('s', 't').map((name) => named(name, `UPDATE ${name}`)),
      fc.constant([bind({ statement: 's', values: ['x', null] }), execute({}), flush(), execute({}), sync()]),
      fc.constant([close({ type: 'P', name: 'c' })]),
      fc
        .array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 })
        .map((chunks) => [
          query('COPY a FROM STDIN'),
          ...chunks.map((chunk) => copyData(Buffer.from(chunk))),
          copyDone(),
        ]),
    ),
    { maxLength: 8 },
  )
  .map((lists) => lists.flat());

describe('any way in which the bytes are cut into chunks', () => {
  it('gives the same units', () => {
    fc.assert(
      fc.property(messageList, fc.array(fc.nat(30), { minLength: 1, maxLength: 30 }), (messages, sizes) => {
        const whole = new Recorder().take(...messages);
        const bytes = Buffer.concat(messages);
        const pieces = new Recorder();
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const next = at + sizes[i % sizes.length]! + (i % 7 === 0 ? 1 : 0);
          // A copy that is wiped afterwards: nothing may be kept of the caller's memory.
          const chunk = Buffer.from(bytes.subarray(at, next));
          pieces.take(chunk);
          chunk.fill(0x58);
          at = next;
        }
        expect(pieces.summary).toEqual(whole.summary);
        expect(pieces.told).toEqual(whole.told);
      }),
      { numRuns: 1_000 },
    );
  });
});
