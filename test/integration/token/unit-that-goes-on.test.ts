import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';

/** pg's own connection: what a library that speaks the protocol by itself gets. */
interface Wire {
  parse(query: { text: string; name?: string }): void;
  bind(config: object): void;
  execute(config: object): void;
  flush(): void;
  sync(): void;
  query(text: string): void;
}

/** What it was told, in order. */
class Raw {
  readonly #steps: readonly ((wire: Wire) => void)[];
  readonly told: string[] = [];
  readonly done: Promise<void>;
  #resolve: () => void = () => undefined;

  constructor(...steps: readonly ((wire: Wire) => void)[]) {
    this.#steps = steps;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  submit(wire: Wire): void {
    void (async () => {
      for (const step of this.#steps) {
        step(wire);
        await sleep(30);
      }
    })();
  }

  handleError(error: Error & { code?: string }): void {
    this.told.push(`${error.name} ${error.code ?? ''}`.trim());
    // pg does not tell the end of an answer behind an error.
    this.#resolve();
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.told.push(text);
  }

  handleReadyForQuery(): void {
    this.#resolve();
  }

  handleRowDescription(): void {
    this.told.push('rows');
  }
  handleDataRow(): void {
    this.told.push('row');
  }
  handlePortalSuspended(): void {
    this.told.push('suspended');
  }
  handleEmptyQuery(): void {
    this.told.push('empty');
  }
}

const run =
  (text: string) =>
  (wire: Wire): void => {
    wire.parse({ text });
    wire.bind({});
    wire.execute({});
  };

const insertAndFlush = (wire: Wire): void => {
  run(`INSERT INTO note VALUES ('a')`)(wire);
  wire.flush();
};

const FORMS = [
  {
    name: 'a COMMIT',
    make: () =>
      new Raw(insertAndFlush, (wire) => {
        run('COMMIT')(wire);
        wire.sync();
      }),
    tags: ['INSERT 0 1', 'COMMIT'],
  },
  {
    name: 'a Query',
    make: () =>
      new Raw(insertAndFlush, (wire) => {
        wire.query('SELECT FROM note; COMMIT');
      }),
    tags: ['INSERT 0 1', 'rows', 'row', 'SELECT 1', 'COMMIT'],
  },
  {
    name: 'another write',
    make: () =>
      new Raw(insertAndFlush, (wire) => {
        run(`INSERT INTO note VALUES ('b')`)(wire);
        wire.sync();
      }),
    tags: ['INSERT 0 1', 'INSERT 0 1'],
  },
] as const;

describe('R3: a unit that went out with a token goes on behind a Flush', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true });

  async function connect(): Promise<WatchedClient & { readonly verdicts: string[] }> {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    const verdicts: string[] = [];
    client.failover!.on('commitResolved', ({ outcome }: CommitResolved) => verdicts.push(outcome));
    return Object.assign(client, { verdicts });
  }

  for (const { name, make, tags } of FORMS) {
    it(`with ${name}: runs as ever`, async () => {
      const client = await connect();
      const raw = make();
      client.query(raw as never);
      await raw.done;
      expect(raw.told).toEqual(tags);
      expect(client.seen.isQuiet).toBe(true);
    });

    it(`with ${name}: is not run twice if its answers are lost`, async () => {
      const client = await connect();
      const lost = onMessage(lab.proxy, { from: 'server', type: '1' }, (connection) => {
        const verdict = loseAnswers(lab.proxy, connection);
        setTimeout(() => {
          lab.proxy.onBackendMessage = undefined;
          connection.cut();
        }, 300);
        return verdict;
      });
      const raw = make();
      client.query(raw as never);
      await lost;
      await raw.done;
      const notes = await lab.notes();
      expect(new Set(notes).size).toBe(notes.length);
    });
  }
});
