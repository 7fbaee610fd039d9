import { describe, expect, it } from 'vitest';
import { ReplayOrder } from '../../../src/cluster/replay-order.ts';
import { commandComplete, errorResponse } from '../../../src/pg/backend-messages.ts';
import { queryMessage } from '../../../src/pg/frontend-messages.ts';
import { NamedStatements } from '../../../src/pg/named-statements.ts';
import { isOrderSensitive } from '../../../src/pg/unit-facts.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { replayJournal } from '../../../src/pg/replay.ts';
import { digestMessage } from '../../../src/pg/response-hash.ts';
import type { Responder } from '../../../src/pg/responder.ts';
import type { ServerConnection } from '../../../src/pg/server-connection.ts';
import { statementText } from '../../../src/pg/statement-text.ts';
import { ResponseDigest } from '../../../src/session/response-digest.ts';

interface Result {
  /** A tag, or an SQLSTATE behind an exclamation mark. */
  readonly answer: string;
  readonly status: 'I' | 'T' | 'E';
}

function message({ answer }: Result): Buffer {
  return answer.startsWith('!') ? errorResponse(new Map([['V', 'ERROR'], ['C', answer.slice(1)]])) : commandComplete(answer); // prettier-ignore
}

/** A server that gives these results, one for each Query, and tells what had come when it gave each of them. */
class Script {
  readonly #results: Result[];
  readonly #responders: Responder[] = [];
  readonly writes: string[] = [];
  onAnswer: (answered: number) => void = () => undefined;
  #answered = 0;

  constructor(results: readonly Result[]) {
    this.#results = [...results];
  }

  get connection(): ServerConnection {
    const fake = {
      expect: (responder: Responder) => this.#responders.push(responder),
      write: (bytes: Buffer) => {
        this.#write(bytes);
        return true;
      },
    };
    return fake as unknown as ServerConnection;
  }

  #write(bytes: Buffer): void {
    this.writes.push(
      [...bytes.toString('latin1').matchAll(/Q\0\0[^]{2}([^\0]*)\0/g)].map(([, text]) => text).join(' + '),
    );
    setImmediate(() => {
      for (const responder of this.#responders.splice(0)) {
        const result = this.#results.shift()!;
        const one = message(result);
        responder.message(one[0]!, one, 0, one.length);
        responder.ready(result.status.charCodeAt(0));
        this.onAnswer(++this.#answered);
      }
    });
  }
}

function journal(...units: readonly (readonly [text: string, result: Result])[]) {
  let position = 0;
  const bytes: Buffer[] = [];
  const list = units.map(([text, result], i): PgUnit => {
    const unit = makeUnit(true, position);
    const query = queryMessage(text);
    bytes.push(query);
    unit.texts.push(statementText(text));
    unit.end = position += query.length;
    unit.error = result.answer.startsWith('!') ? result.answer.slice(1) : null;
    unit.acknowledgedSequence = i + 1;
    const digest = new ResponseDigest(0);
    const one = message(result);
    digestMessage(digest, one[0]!, one, 0, one.length);
    unit.digest = digest.finish(result.status.charCodeAt(0));
    return unit;
  });
  const arena = Buffer.concat(bytes);
  return {
    units: list,
    unitBytes: (unit: PgUnit) => arena.subarray(unit.start, unit.end),
    replayRound: Number.POSITIVE_INFINITY,
    orderSensitiveUnits: () => new Set(list.filter(isOrderSensitive)),
    names: new NamedStatements(new Map()),
  };
}

const T = (answer: string): Result => ({ answer, status: 'T' });
const E = (answer: string): Result => ({ answer, status: 'E' });
const I = (answer: string): Result => ({ answer, status: 'I' });
const recorded = [
  ['BEGIN', T('BEGIN')],
  ['INSERT a', T('INSERT 0 1')],
  ['INSERT b', T('INSERT 0 1')],
] as const;

async function replay(
  source: ReturnType<typeof journal>,
  script: Script,
  signal = new AbortController().signal,
) {
  const units = source.units.map((unit) => ({ ...unit, releasesLocks: false }));
  return await replayJournal(source, script.connection, new ReplayOrder().enter(units), null, signal);
}

describe('the journal on a new server', () => {
  it('goes out in one write behind what opens the transaction (R13)', async () => {
    const script = new Script(recorded.map(([, result]) => result));
    expect(await replay(journal(...recorded), script)).toEqual({ kind: 'replayed', status: 0x54 });
    expect(script.writes).toEqual(['BEGIN', 'INSERT a + INSERT b']);
  });

  it('stops at once if no transaction could be opened: the rest would run in autocommit (A2)', async () => {
    for (const failing of [I('!26000'), I('BEGIN')]) {
      const script = new Script([failing]);
      expect(await replay(journal(...recorded), script)).toMatchObject({ kind: 'diverged' });
      expect(script.writes).toEqual(['BEGIN']);
    }
  });

  it('stops behind each unit that controls transactions, if that ends otherwise', async () => {
    const source = journal(...recorded, ['ROLLBACK AND CHAIN', T('ROLLBACK')], ['INSERT c', T('INSERT 0 1')]);
    const script = new Script([...recorded.map(([, result]) => result), I('ROLLBACK')]);
    expect(await replay(source, script)).toMatchObject({ kind: 'diverged' });
    expect(script.writes.at(-1)).toBe('ROLLBACK AND CHAIN');
  });

  it('diverges on another result or another status (R5)', async () => {
    for (const other of [T('INSERT 0 2'), E('INSERT 0 1'), E('!23505')]) {
      const script = new Script([T('BEGIN'), other, T('INSERT 0 1')]);
      expect(await replay(journal(...recorded), script)).toMatchObject({ kind: 'diverged' });
    }
  });

  it.each(['40P01', '40001', '55P03', '57014', '53200'])(
    'starts again on SQLSTATE %s, which lies in the moment (R10)',
    async (code) => {
      const script = new Script([T('BEGIN'), E(`!${code}`), E('!25P02')]);
      expect(await replay(journal(...recorded), script)).toMatchObject({ kind: 'again' });
    },
  );

  it('wants the errors that the application was given', async () => {
    const source = journal(['BEGIN', T('BEGIN')], ['INSERT a', E('!23505')]);
    expect(await replay(source, new Script([T('BEGIN'), E('!23505')]))).toMatchObject({ kind: 'replayed' });
    expect(await replay(source, new Script([T('BEGIN'), E('!23503')]))).toMatchObject({ kind: 'diverged' });
    expect(await replay(source, new Script([T('BEGIN'), T('INSERT 0 1')]))).toMatchObject({
      kind: 'diverged',
    });
  });

  it('sends nothing more once it is given up', async () => {
    const abort = new AbortController();
    const script = new Script(recorded.map(([, result]) => result));
    script.onAnswer = () => {
      abort.abort(new Error('withdrawn'));
    };
    await expect(replay(journal(...recorded), script, abort.signal)).rejects.toThrow('withdrawn');
    expect(script.writes).toEqual(['BEGIN']);
  });
});

describe('a failure that lay in the moment, and was rolled back to a savepoint (B)', () => {
  it('is not run again', async () => {
    const source = journal(
      ['BEGIN', T('BEGIN')],
      ['SAVEPOINT s', T('SAVEPOINT')],
      ['SELECT 1 FOR UPDATE NOWAIT', E('!55P03')],
      ['ROLLBACK TO s', T('ROLLBACK')],
      ['INSERT a', T('INSERT 0 1')],
    );
    const script = new Script([T('BEGIN'), T('SAVEPOINT'), T('ROLLBACK'), T('INSERT 0 1')]);
    expect(await replay(source, script)).toMatchObject({ kind: 'replayed' });
    expect(script.writes.join()).not.toContain('NOWAIT');
  });
});
