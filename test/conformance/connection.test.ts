import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

/** A query that an application wrote itself, with nothing but pg's connection. */
class OwnQuery {
  readonly rows: unknown[][] = [];
  readonly done: Promise<string>;
  #connection: any;
  readonly #text: string;
  readonly #values: readonly string[];
  readonly #portal: string;
  #settle!: { resolve: (tag: string) => void; reject: (error: unknown) => void };
  #error: unknown;
  #tag = '';

  constructor(text: string, values: readonly string[] = [], portal = '') {
    this.#text = text;
    this.#values = values;
    this.#portal = portal;
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  submit(connection: any): void {
    this.#connection = connection;
    connection.parse({ text: this.#text, name: '', types: [] });
    connection.bind({ portal: this.#portal, statement: '', values: this.#values });
    connection.describe({ type: 'P', name: this.#portal });
    connection.execute({ portal: this.#portal, rows: 2 });
    connection.flush();
  }

  handleRowDescription(): void {
    // Nothing to know of the columns.
  }

  handleDataRow({ fields }: { fields: unknown[] }): void {
    this.rows.push(fields);
  }

  handlePortalSuspended(): void {
    this.#connection.execute({ portal: this.#portal, rows: 2 });
    this.#connection.flush();
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.#tag = text;
    this.#connection.close({ type: 'P', name: this.#portal });
    this.#connection.sync();
  }

  handleError(error: unknown): void {
    this.#error = error;
    this.#connection.sync();
    this.#settle.reject(error);
  }

  handleReadyForQuery(): void {
    if (this.#error === undefined) this.#settle.resolve(this.#tag);
  }
}

describe.each(DRIVERS)('the connection of a client of $name', (driver) => {
  const { pg } = driver;

  it('is an emitter with a stream and the statements that were parsed', async () => {
    const client: any = await lab.connect(driver);
    expect(client.connection).toBeInstanceOf(EventEmitter);
    expect(client.connection).toBeInstanceOf((pg as any).Connection);
    const { stream, parsedStatements } = client.connection;
    for (const name of ['write', 'end', 'destroy', 'cork', 'uncork', 'pause', 'resume', 'read', 'on', 'ref', 'unref'])
      expect(stream[name], name).toBeTypeOf('function'); // prettier-ignore
    expect(stream.writable).toBe(true);
    expect(stream.listeners('data')).toHaveLength(1); // pg-copy-streams relies on it.
    expect(parsedStatements).toEqual({});
  });

  it('has the methods of the protocol', async () => {
    const client: any = await lab.connect(driver);
    for (const name of [
      'parse', 'bind', 'describe', 'execute', 'close', 'flush', 'sync', 'query', 'end', 'sendCopyFail',
      'endCopyFrom', 'sendCopyFromChunk', 'cancel', 'ref', 'unref',
    ]) expect(client.connection[name], name).toBeTypeOf('function'); // prettier-ignore
  });

  it('emits what the server says, in its order', async () => {
    const client: any = lab.client(driver);
    const trace: string[] = [];
    const note = (name: string): void => {
      client.connection.on(name, () => trace.push(name));
    };
    for (const name of [
      'connect', 'backendKeyData', 'parseComplete', 'bindComplete', 'rowDescription', 'dataRow', 'commandComplete',
      'emptyQuery', 'noData', 'errorMessage', 'readyForQuery', 'portalSuspended', 'copyInResponse', 'end',
    ]) note(name); // prettier-ignore
    await client.connect();
    await client.query('SELECT 1');
    trace.push('|');
    await client.query('SELECT $1::int', [1]);
    trace.push('|');
    await client.query({ text: 'SELECT g FROM generate_series(1, 3) g', rows: 2 });
    trace.push('|');
    await client.query('SET work_mem = 1000');
    await client.query('');
    await client.query({ text: 'SET work_mem = 1000', queryMode: 'extended' });
    trace.push('|');
    await errorOf(client.query('SELECT 1/0'));
    await client.query('SELECT 1');
    await client.end();
    expect(trace.join(' ')).toBe(
      'connect backendKeyData readyForQuery rowDescription dataRow commandComplete readyForQuery | ' +
        'parseComplete bindComplete rowDescription dataRow commandComplete readyForQuery | ' +
        'parseComplete bindComplete rowDescription dataRow dataRow portalSuspended dataRow commandComplete readyForQuery | ' +
        'commandComplete readyForQuery emptyQuery readyForQuery parseComplete bindComplete noData commandComplete readyForQuery | ' +
        'errorMessage readyForQuery rowDescription dataRow commandComplete readyForQuery end',
    );
  });

  it('carries a query of the application’s own, portal by portal, and gives the object back', async () => {
    const client: any = await lab.connect(driver);
    await client.query('BEGIN');
    for (const portal of ['', 'own']) {
      const query = new OwnQuery('SELECT g FROM generate_series(1, $1::int) AS g', ['5'], portal);
      expect(client.query(query)).toBe(query);
      expect(await query.done).toBe('SELECT 1'); // Of the last portion.
      expect(query.rows).toEqual([['1'], ['2'], ['3'], ['4'], ['5']]);
    }
    await client.query('COMMIT');
    const failing = client.query(new OwnQuery('SELECT 1/(3 - g) FROM generate_series(1, 5) AS g'));
    expect(await errorOf(failing.done)).toMatchObject({ code: '22012' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('ends a COPY with the reason that it is given', async () => {
    const client: any = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE refused (a int)');
    const failing = {
      failed: undefined as Promise<unknown> | undefined,
      submit(connection: any) {
        connection.query('COPY refused FROM STDIN');
      },
      handleCopyInResponse(connection: any) {
        connection.sendCopyFromChunk(Buffer.from('1\n'));
        connection.sendCopyFail('not today');
      },
      handleError: undefined as ((error: unknown) => void) | undefined,
      handleReadyForQuery: (): void => undefined,
    };
    failing.failed = new Promise((resolve) => {
      failing.handleError = resolve;
    });
    client.query(failing);
    expect(await failing.failed).toMatchObject({
      code: '57014',
      message: 'COPY from stdin failed: not today',
    });
    expect((await client.query('SELECT count(*)::int AS n FROM refused')).rows).toEqual([{ n: 0 }]);
  });
});
