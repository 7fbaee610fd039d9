import { setTimeout as sleep } from 'node:timers/promises';
import stock from 'pg';
import { afterAll, afterEach, beforeAll } from 'vitest';
import holdfast from '../../src/pg.ts';
import { PostgresNode, type PostgresNodeOptions } from './postgres-node.ts';

/** One way to have the API of pg. */
export interface Driver {
  readonly name: string;
  readonly pg: typeof stock;
  /** Keys for every configuration of a Client or Pool. */
  readonly extra: object;
  /** It replaces lost connections; the few differences that follow from it are in the tests, beside what pg does. */
  readonly hasFailover: boolean;
}

/** Stock pg, ours, and ours without failover: the same assertions hold for all of them. */
export const DRIVERS: readonly Driver[] = [
  { name: 'pg', pg: stock, extra: {}, hasFailover: false },
  { name: 'holdfast/pg', pg: holdfast, extra: {}, hasFailover: true },
  {
    name: 'holdfast/pg with failover: false',
    pg: holdfast,
    extra: { failover: false },
    hasFailover: false,
  },
];

/** A server for the tests of one file, and their clients and pools. */
export class ConformanceLab {
  #node: PostgresNode | undefined;
  readonly #open: (() => Promise<void>)[] = [];

  /** To be called where `describe` is: starts the server before the tests, and ends clients and pools after each. */
  static forThisFile(
    options: PostgresNodeOptions & { readonly setUp?: (node: PostgresNode) => Promise<void> } = {},
  ): ConformanceLab {
    const lab = new ConformanceLab();
    const { setUp, ...forNode } = options;
    beforeAll(async () => {
      lab.#node = await PostgresNode.create(forNode);
      if (setUp !== undefined) await setUp(lab.#node);
      await lab.#node.start();
    });
    afterEach(async () => {
      await Promise.all(
        lab.#open.splice(0).map(async (close) => {
          await close();
        }),
      );
    });
    afterAll(async () => {
      await lab.#node?.destroy();
    });
    return lab;
  }

  get node(): PostgresNode {
    return this.#node!;
  }

  config(driver: Driver, extra: object = {}): stock.ClientConfig {
    return this.node.connectionConfig({ ...driver.extra, ...extra });
  }

  /** A client that is not connected yet. Its errors are noted in `errorsOf`. */
  client(driver: Driver, extra: object = {}): stock.Client {
    return this.keep(new driver.pg.Client(this.config(driver, extra)));
  }

  /** Ends the client after the test, if it has not ended by then. */
  keep(client: stock.Client): stock.Client {
    const errors: Error[] = [];
    noted.set(client, errors);
    client.on('error', (error: Error) => errors.push(error));
    this.#open.push(async () => {
      // end() of a client that was never connected does not come back.
      if (isConnected(client)) await client.end();
    });
    return client;
  }

  async connect(driver: Driver, extra: object = {}): Promise<stock.Client> {
    const client = this.client(driver, extra);
    await client.connect();
    return client;
  }

  pool(driver: Driver, extra: object = {}): stock.Pool {
    const pool = new driver.pg.Pool(this.config(driver, extra));
    pool.on('error', () => undefined);
    this.#open.push(async () => {
      // Of a test that failed a client may still be out: end() would wait for it for ever.
      if (!pool.ending) await Promise.race([pool.end(), sleep(2_000, undefined, { ref: false })]);
    });
    return pool;
  }
}

const noted = new WeakMap<object, Error[]>();

/** The 'error' events of a client of the lab. */
export function errorsOf(client: object): readonly Error[] {
  return noted.get(client) ?? [];
}

function isConnected(client: stock.Client): boolean {
  return (client as unknown as { _connected: boolean })._connected;
}

/** What a promise comes to: the value, or the error it was rejected with. */
export async function errorOf(promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  return await promise.then(
    () => {
      throw new Error('it was fulfilled');
    },
    (error: unknown) => error as Error & Record<string, unknown>,
  );
}

/** All own fields of an error but its stack, as they are. */
export function fieldsOf(error: Error): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of Object.getOwnPropertyNames(error)) {
    if (name !== 'stack') fields[name] = (error as unknown as Record<string, unknown>)[name];
  }
  return fields;
}

/** Notes the events of an emitter in the order in which they come. */
export function record(
  emitter: { on(event: string, listener: (...values: any[]) => void): unknown },
  events: readonly string[],
  into: string[] = [],
): string[] {
  for (const event of events) {
    emitter.on(event, () => {
      into.push(event);
    });
  }
  return into;
}
