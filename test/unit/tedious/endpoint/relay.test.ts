import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Connection, Request, type ConnectionConfiguration } from 'tedious';
import { afterEach, describe, expect, it } from 'vitest';
import type { LoginFacts } from '../../../../src/tedious/endpoint/login-answer.ts';
import { TdsEndpoint } from '../../../../src/tedious/endpoint/tds-endpoint.ts';
import { DialError, ServerLink } from '../../../../src/tedious/link/server-link.ts';
import type { Login7 } from '../../../../src/tedious/wire/login7.ts';
import { MESSAGE } from '../../../../src/tedious/wire/message-type.ts';
import type { MessageToken } from '../../../../src/tedious/wire/read-token.ts';
import type { RequestMessage } from '../../../../src/tedious/wire/request-message.ts';
import { bodyAt } from '../../../../src/tedious/wire/all-headers.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../../../../src/tedious/wire/token-kind.ts';
import { doneToken, environmentToken, messageToken } from '../../../../src/tedious/wire/write-token.ts';
import { rejectionOf } from '../../../support/settle.ts';
import { waitFor } from '../../../support/wait-for.ts';

/** A row set with one column `n` of int, and so many rows. */
function numbers(count: number): Buffer {
  const name = Buffer.from('n', 'utf16le');
  const head = [TOKEN.columnMetadata, 1, 0, 0, 0, 0, 0, 0, 0, 0x38, 1, ...name];
  const rows = Buffer.alloc(count * 5);
  for (let i = 0; i < count; i++) {
    rows[i * 5] = TOKEN.row;
    rows.writeInt32LE(i, i * 5 + 1);
  }
  const done = doneToken(DONE_STATUS.count, { command: 0xc1, rowCount: BigInt(count) });
  return Buffer.concat([Buffer.from(head), rows, done]);
}

const REFUSAL: MessageToken = {
  number: 18456,
  state: 1,
  class: 14,
  message: `Login failed for user 'app'.`,
  serverName: 'server',
  procedure: '',
  line: 1,
};

const FACTS: LoginFacts = {
  remarks: [
    { kind: 'database', value: 'shop' },
    { kind: 'info', message: { ...REFUSAL, number: 5701, class: 0, message: 'Changed database context' } },
    { kind: 'language', value: 'us_english' },
    { kind: 'info', message: { ...REFUSAL, number: 5703, class: 0, message: 'Changed language setting' } },
  ],
  collation: Buffer.from([9, 4, 208, 0, 52]),
  tdsVersion: 0x74000004,
  packetBytes: 4096,
};

/** A server on a port that knows a few batches: the same end point, behind a socket. */
class ScriptedServer {
  readonly logins: Login7[] = [];
  readonly resets: RequestMessage['reset'][] = [];
  /** Of the batches that came. */
  readonly texts: string[] = [];
  attentions = 0;
  refuses = false;
  readonly sockets = new Set<Socket>();
  #server: Server | null = null;

  async start(): Promise<number> {
    const server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
      let toWrite: Buffer | null = null;
      const endpoint = new TdsEndpoint({
        login: (login) => {
          this.logins.push(login);
          if (this.refuses) endpoint.loginFailed([REFUSAL]);
          else endpoint.loginSucceeded(FACTS);
        },
        request: (message) => {
          this.resets.push(message.reset);
          this.texts.push(message.payload.toString('utf16le', bodyAt(message.payload)));
          toWrite = answerTo(message);
          if (toWrite !== null) endpoint.answer(toWrite, true);
        },
        holdBulkLoad: () => true,
        releaseBulkLoad: () => undefined,
        refusedBulkLoad: () => undefined,
        attention: () => {
          this.attentions++;
          // The cut answer, and the acknowledgement.
          if (toWrite === null) endpoint.answer(doneToken(DONE_STATUS.error), true);
          endpoint.answer(doneToken(DONE_STATUS.attention), true);
        },
        drained: () => undefined,
        ended: () => socket.destroy(),
      });
      endpoint.stream.on('error', () => undefined);
      socket.pipe(endpoint.stream).pipe(socket);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }
}

function answerTo({ type, payload }: RequestMessage): Buffer | null {
  if (type === MESSAGE.transaction) {
    const descriptor = Buffer.from([1, 0, 0, 0, 0, 0, 0, 9]);
    return Buffer.concat([
      environmentToken(ENVIRONMENT.beginTransaction, descriptor, Buffer.alloc(0)),
      doneToken(0),
    ]);
  }
  const text = payload.toString('utf16le', bodyAt(payload));
  if (type !== MESSAGE.sqlBatch || text.startsWith('set ')) return doneToken(0);
  if (text.includes('wait')) return null;
  if (text.includes('fail')) {
    return Buffer.concat([
      messageToken(TOKEN.error, { ...REFUSAL, number: 208 }),
      doneToken(DONE_STATUS.error),
    ]);
  }
  return numbers(Number(text.replaceAll(/\D/g, '')));
}

async function connected(connection: Connection): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    connection.connect((error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

describe('a stock connection to our end point, whose messages go over a link to a server', () => {
  const closers: (() => unknown)[] = [];

  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  function config(port: number, options: object = {}): ConnectionConfiguration {
    return {
      server: '127.0.0.1',
      authentication: { type: 'default', options: { userName: 'app', password: 'secret' } },
      options: { port, encrypt: false, database: 'shop', appName: 'test', requestTimeout: 5_000, ...options },
    };
  }

  async function server(): Promise<{ scripted: ScriptedServer; port: number }> {
    const scripted = new ScriptedServer();
    const port = await scripted.start();
    closers.push(async () => {
      await scripted.stop();
    });
    return { scripted, port };
  }

  async function dial(port: number, options: object = {}): Promise<ServerLink> {
    return await ServerLink.dial(
      {
        Connection,
        config: config(port, options),
        address: { host: '127.0.0.1', port },
        dialTimeoutMillis: 5_000,
      },
      new AbortController().signal,
    );
  }

  /** Hands everything on, both ways. */
  function relay(port: number): () => Promise<Socket> {
    return async () => {
      const endpoint = new TdsEndpoint({
        login: () => {
          dial(port).then(
            (link) => {
              closers.push(() => {
                link.destroy();
              });
              current = link;
              link.attach({
                answered: (bytes, isLast) => {
                  if (!endpoint.answer(Buffer.from(bytes), isLast)) link.pause();
                },
                lost: (error) => {
                  endpoint.destroy(error);
                },
              });
              endpoint.loginSucceeded(link.facts);
            },
            (error: unknown) => {
              endpoint.loginFailed((error as DialError).errors);
            },
          );
        },
        request: ({ type, reset, payload }) => {
          current?.send(type, reset, payload);
        },
        holdBulkLoad: () => true,
        releaseBulkLoad: () => undefined,
        refusedBulkLoad: () => undefined,
        attention: () => {
          current?.sendAttention();
        },
        drained: () => {
          current?.resume();
        },
        ended: () => {
          current?.destroy();
        },
      });
      let current: ServerLink | null = null;
      return await Promise.resolve(endpoint.stream as unknown as Socket);
    };
  }

  async function connect(port: number, options: object = {}, throughUs = true): Promise<Connection> {
    const connector = throughUs ? { connector: relay(port) } : {};
    const connection = new Connection(config(port, { ...connector, ...options }));
    connection.on('error', () => undefined);
    closers.push(() => {
      connection.close();
    });
    await connected(connection);
    return connection;
  }

  async function batch(connection: Connection, text: string): Promise<{ rows: number[]; rowCount?: number }> {
    const rows: number[] = [];
    return await new Promise((resolve, reject) => {
      const request = new Request(text, (error, rowCount) => {
        if (error) reject(error);
        else resolve({ rows, ...(rowCount === undefined ? {} : { rowCount }) });
      });
      request.on('row', (columns: { value: number }[]) => rows.push(columns[0]!.value));
      connection.execSqlBatch(request);
    });
  }

  it('logs in with what the application gave, and hears what the server said', async () => {
    const { scripted, port } = await server();
    const events: string[] = [];
    const connection = new Connection(config(port, { connector: relay(port), readOnlyIntent: false }));
    connection.on('databaseChange', (name) => events.push(`database ${name}`));
    connection.on('languageChange', (name) => events.push(`language ${name}`));
    connection.on('infoMessage', ({ number }) => events.push(`info ${number}`));
    closers.push(() => {
      connection.close();
    });
    await connected(connection);
    expect(events).toEqual(['database shop', 'info 5701', 'language us_english', 'info 5703']);
    expect(scripted.logins).toMatchObject([{ userName: 'app', database: 'shop', applicationName: 'test' }]);
    expect(JSON.stringify(scripted.logins)).not.toContain('secret');
  });

  it("is refused with the server's own error, as ever", async () => {
    const { scripted, port } = await server();
    scripted.refuses = true;
    const stock = await rejectionOf(connect(port, {}, false));
    const ours = await rejectionOf(connect(port));
    expect(ours).toMatchObject({ code: 'ELOGIN', message: stock.message, name: stock.name });
    const error = await rejectionOf(dial(port));
    expect(error).toBeInstanceOf(DialError);
    expect(error).toMatchObject({ code: 'ELOGIN', errors: [{ number: 18456 }] });
  });

  it('gets results of one row and of many packets, and errors', async () => {
    const { port } = await server();
    const connection = await connect(port);
    expect(await batch(connection, 'rows 1')).toEqual({ rows: [0], rowCount: 1 });
    const { rows } = await batch(connection, 'rows 200000');
    expect(rows.length).toBe(200_000);
    expect(rows.every((value, i) => value === i)).toBe(true);
    expect(await rejectionOf(batch(connection, 'fail'))).toMatchObject({ number: 208 });
    expect(await batch(connection, 'rows 2')).toEqual({ rows: [0, 1], rowCount: 2 });
  });

  it('sends long statements in packets of the size that was agreed', async () => {
    const { port } = await server();
    const connection = await connect(port);
    expect((await batch(connection, `rows 3 ${' '.repeat(100_000)}`)).rows).toEqual([0, 1, 2]);
  });

  it('hands on a reset, once', async () => {
    const { scripted, port } = await server();
    const connection = await connect(port);
    scripted.resets.length = 0;
    await new Promise<void>((resolve, reject) => {
      connection.reset((error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    await batch(connection, 'rows 1');
    expect(scripted.resets).toEqual(['reset', 'none']);
  });

  it('cancels what is under way, and goes on', async () => {
    const { scripted, port } = await server();
    const connection = await connect(port);
    const pending = rejectionOf(batch(connection, 'wait'));
    await waitFor(() => scripted.texts.includes('wait'));
    connection.cancel();
    expect(await pending).toMatchObject({ code: 'ECANCEL' });
    expect(scripted.attentions).toBe(1);
    expect((await batch(connection, 'rows 1')).rows).toEqual([0]);
  });

  it('ends a request whose time is over, and goes on', async () => {
    const { port } = await server();
    const connection = await connect(port, { requestTimeout: 50 });
    expect(await rejectionOf(batch(connection, 'wait'))).toMatchObject({ code: 'ETIMEOUT' });
    expect((await batch(connection, 'rows 1')).rows).toEqual([0]);
  });

  it('answers itself what was taken back before it was whole', async () => {
    const { scripted, port } = await server();
    const connection = await connect(port);
    const request = new Request('rows 9', () => undefined);
    const done = new Promise((resolve) => {
      request.callback = resolve as never;
    });
    connection.execSqlBatch(request);
    request.cancel();
    expect(await done).toMatchObject({ code: 'ECANCEL' });
    expect(scripted.texts).not.toContain('rows 9');
    expect((await batch(connection, 'rows 1')).rows).toEqual([0]);
  });

  it('is told when the server goes away, with the error that a socket gives', async () => {
    const { scripted, port } = await server();
    const connection = await connect(port);
    const errors: unknown[] = [];
    connection.on('error', (error) => errors.push(error));
    const ended = new Promise((resolve) => connection.once('end', resolve));
    for (const socket of scripted.sockets) socket.destroy();
    await ended;
    await waitFor(() => errors.length > 0);
    expect(errors[0]).toMatchObject({ code: 'ESOCKET' });
  });

  it('gives up dialling when nobody wants it any more', async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closers.push(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    const controller = new AbortController();
    const dialling = ServerLink.dial(
      { Connection, config: config(port), address: { host: '127.0.0.1', port }, dialTimeoutMillis: 60_000 },
      controller.signal,
    );
    controller.abort(new Error('given up'));
    expect((await rejectionOf(dialling)).message).toBe('given up');
  });
});

describe('the timer of a request', () => {
  it('stops with the first packet of an answer, be it an empty one', async () => {
    let finish = (): void => undefined;
    const endpoint = new TdsEndpoint({
      login: () => {
        endpoint.loginSucceeded(FACTS);
      },
      request: ({ payload }) => {
        if (!payload.toString('utf16le').includes('rows')) {
          endpoint.answer(doneToken(0), true);
          return;
        }
        endpoint.holdRequestTimer();
        finish = () => {
          endpoint.answer(numbers(1), true);
        };
      },
      holdBulkLoad: () => true,
      releaseBulkLoad: () => undefined,
      refusedBulkLoad: () => undefined,
      attention: () => expect.unreachable(),
      drained: () => undefined,
      ended: () => undefined,
    });
    const connection = new Connection({
      server: '127.0.0.1',
      authentication: { type: 'default', options: { userName: 'app', password: 'secret' } },
      options: {
        port: 1433,
        encrypt: false,
        requestTimeout: 50,
        connector: async () => await Promise.resolve(endpoint.stream as unknown as Socket),
      },
    });
    await new Promise<void>((resolve) => {
      connection.connect(() => {
        resolve();
      });
    });
    const answered = new Promise((resolve) => {
      connection.execSqlBatch(
        new Request('rows 1', (error, rowCount) => {
          resolve(error ?? rowCount);
        }),
      );
    });
    // Long after its time.
    setTimeout(() => {
      finish();
    }, 200);
    expect(await answered).toBe(1);
    connection.close();
  });
});
