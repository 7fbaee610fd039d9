import type { Connection, Submittable } from 'pg';
import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';

/** The messages that a pg.Connection can write, as pg-cursor and its kind use them. */
interface Messages {
  parse(query: { name?: string; text: string; types?: number[] }): void;
  bind(config: { statement?: string }): void;
  execute(config: { rows?: number }): void;
  close(target: { type: 'S' | 'P'; name: string }): void;
  flush(): void;
  sync(): void;
}

/** Something that pg's queue takes: writes with `begin`, and goes on with `goOn` when its Parse is answered. */
class OwnMessages {
  readonly done: Promise<void>;
  readonly #begin: (messages: Messages) => void;
  readonly #goOn: (messages: Messages) => void;
  #settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null = null;

  constructor(begin: (messages: Messages) => void, goOn: (messages: Messages) => void = () => undefined) {
    this.#begin = begin;
    this.#goOn = goOn;
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  submit(connection: Connection): void {
    const messages = connection as unknown as Messages;
    connection.once('parseComplete', () => {
      this.#goOn(messages);
    });
    this.#begin(messages);
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#settle!.resolve();
  }

  handleError(error: Error): void {
    this.#settle!.reject(error);
  }
}

describe('the application writes messages of its own', () => {
  const lab = FailoverLab.forThisSuite();

  async function run(
    client: WatchedClient,
    ...args: ConstructorParameters<typeof OwnMessages>
  ): Promise<void> {
    const own = new OwnMessages(...args);
    client.query(own as unknown as Submittable);
    await own.done;
  }

  it('replays a name that was closed and parsed again with what it meant each time', async () => {
    const client = await lab.connect();
    const parse = (text: string) =>
      run(client, (messages) => {
        messages.close({ type: 'S', name: 'insert' });
        messages.parse({ name: 'insert', text: `INSERT INTO note VALUES ('${text}')` });
        messages.sync();
      });
    const insert = () =>
      run(client, (messages) => {
        messages.bind({ statement: 'insert' });
        messages.execute({});
        messages.sync();
      });
    await parse('a');
    await insert();
    await client.query('BEGIN');
    await insert();
    for (const text of ['b', 'c']) {
      await parse(text);
      await insert();
    }
    await run(client, (messages) => {
      messages.close({ type: 'S', name: 'insert' });
      messages.sync();
    });
    await lab.replacePrimary();
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'a', 'b', 'c']);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it.each(['cut-before', 'drop'] as const)(
    'counts a write that follows a Flush in the unit of a read: COMMIT, %s',
    async (fault) => {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query('SELECT 1');
      await run(
        client,
        (messages) => {
          messages.parse({ text: 'SELECT 1' });
          messages.flush();
        },
        (messages) => {
          messages.parse({ text: `INSERT INTO note VALUES ('once')` });
          messages.bind({});
          messages.execute({});
          messages.sync();
        },
      );
      const lost =
        fault === 'drop'
          ? onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop')
          : onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
      const pending = client.query('COMMIT');
      await lost;
      if (fault === 'drop') lab.proxy.cut();
      await pending;
      expect(await lab.notes()).toEqual(['once']);
    },
  );

  it('carries over what a SET behind a Flush has set', async () => {
    const client = await lab.connect();
    await run(
      client,
      (messages) => {
        messages.parse({ text: 'SELECT 1' });
        messages.flush();
      },
      (messages) => {
        messages.parse({ text: `SET application_name = 'behind a Flush'` });
        messages.bind({});
        messages.execute({});
        messages.sync();
      },
    );
    await lab.replacePrimary();
    const { rows } = await client.query('SHOW application_name');
    expect(rows).toEqual([{ application_name: 'behind a Flush' }]);
  });
});
