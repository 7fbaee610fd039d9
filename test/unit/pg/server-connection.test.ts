import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BackendType,
  commandComplete,
  errorResponse,
  parameterStatus,
  readyForQuery,
} from '../../../src/pg/backend-messages.ts';
import type { Responder } from '../../../src/pg/responder.ts';
import { ServerConnection, type ConnectionOwner } from '../../../src/pg/server-connection.ts';
import type { ConnectionLoss } from '../../../src/pg/connection-loss.ts';

/** A socket without a network: what the test pushes is what the server says. */
class FakeSocket extends Duplex {
  readonly written: Buffer[] = [];

  constructor() {
    super({ autoDestroy: true });
  }

  override _read(): void {
    // Pushed by the test.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(chunk);
    done();
  }

  unref(): this {
    return this;
  }
}

class Owner implements ConnectionOwner {
  readonly told: string[] = [];
  readonly delivered: Buffer[] = [];
  loss: ConnectionLoss | null = null;

  deliver(bytes: Buffer): boolean {
    this.delivered.push(Buffer.from(bytes));
    this.told.push('deliver');
    return true;
  }

  asynchronous(type: number): boolean {
    this.told.push(`asynchronous ${String.fromCharCode(type)}`);
    return true;
  }

  lost(loss: ConnectionLoss): void {
    this.loss = loss;
    this.told.push('lost');
  }

  drained(): void {
    this.told.push('drained');
  }

  get bytes(): string {
    return Buffer.concat(this.delivered).toString('hex');
  }
}

class Passing implements Responder {
  readonly told: string[] = [];
  onReady: () => void = () => undefined;

  message(type: number, bytes: Buffer, start: number, end: number): boolean {
    this.told.push(`${String.fromCharCode(type)}${end - start}`);
    expect(bytes[start]).toBe(type);
    return true;
  }

  ready(status: number): boolean {
    this.told.push(`Z${String.fromCharCode(status)}`);
    this.onReady();
    return true;
  }

  abandoned(error: Error): void {
    this.told.push(`abandoned: ${error.message}`);
  }
}

function lab(leftover: Buffer = Buffer.alloc(0)) {
  const socket = new FakeSocket();
  const connection = new ServerConnection(socket as unknown as Socket, leftover, {
    address: { host: 'a', port: 1 },
    processId: 1,
    secretKey: 2,
    parameters: new Map(),
  });
  const owner = new Owner();
  connection.attach(owner);
  return { socket, connection, owner };
}

const row = (text: string): Buffer => {
  const message = commandComplete(text);
  message[0] = BackendType.DataRow;
  return message;
};
const fatal = (code: string): Buffer =>
  errorResponse(new Map([['S', 'FATAL'], ['V', 'FATAL'], ['C', code], ['M', 'the end']])); // prettier-ignore
const answer = (...rows: readonly string[]): Buffer[] => [
  ...rows.map(row),
  commandComplete('SELECT'),
  readyForQuery(0x49),
];

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('what the server sends', () => {
  it('unasked for is the application’s to see, which gives up a connection that is out of step', async () => {
    const { socket, owner } = lab();
    const stray = [
      row('a'),
      commandComplete('SELECT'),
      errorResponse(new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', 'XX000'], ['M', 'stray']])), // prettier-ignore
    ];
    socket.push(Buffer.concat([...stray, readyForQuery(0x49)]));
    await turn();
    expect(owner.told).toEqual(['asynchronous D', 'asynchronous C', 'asynchronous E', 'deliver']);
    expect(owner.bytes).toBe(Buffer.concat(stray).toString('hex'));
  });

  it('is the same however it is cut into chunks, and nothing but whole messages is handed on', async () => {
    const stream = fc.array(
      fc.oneof(
        fc.array(fc.string({ maxLength: 30 }), { maxLength: 4 }).map((rows) => answer(...rows)),
        fc.constant([parameterStatus('TimeZone', 'UTC')]),
      ),
      { minLength: 1, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(
        stream,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        async (parts, sizes) => {
          const { socket, connection, owner } = lab();
          const responders = parts.map(() => new Passing());
          for (const one of responders) connection.expect(one);
          const messages = parts.flat();
          const bytes = Buffer.concat(messages);
          const ends = new Set<number>();
          messages.reduce((sum, one) => (ends.add(sum + one.length), sum + one.length), 0);
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const next = at + sizes[i % sizes.length]!;
            socket.push(bytes.subarray(at, next));
            await turn();
            const length = owner.delivered.reduce((sum, one) => sum + one.length, 0);
            expect(length === 0 || ends.has(length)).toBe(true);
            at = next;
          }
          expect(owner.bytes).toBe(bytes.toString('hex'));
          const count = parts.filter(
            (part) => part.length > 1 || part[0][0] === BackendType.ReadyForQuery,
          ).length;
          expect(responders.filter(({ told }) => told.at(-1) === 'ZI')).toHaveLength(count);
          connection.destroy();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('may have begun with the handshake', async () => {
    const whole = parameterStatus('a', 'b');
    const { socket, connection } = lab(whole.subarray(0, 9));
    socket.push(whole.subarray(9));
    await turn();
    expect(connection.parameters.get('a')).toBe('b');
  });

  it('of a hidden statement is not handed on', async () => {
    const { socket, connection, owner } = lab();
    const hidden = connection.run('SELECT 1');
    const users = new Passing();
    connection.expect(users);
    socket.push(Buffer.concat([commandComplete('HIDDEN'), readyForQuery(0x49), ...answer('x')]));
    await hidden;
    expect(owner.bytes).toBe(Buffer.concat(answer('x')).toString('hex'));
  });
});

describe('a loss', () => {
  it('leaves no half message behind', async () => {
    const { socket, connection, owner } = lab();
    connection.expect(new Passing());
    socket.push(Buffer.concat([row('whole'), row('half').subarray(0, 8)]));
    await turn();
    socket.destroy();
    await turn();
    expect(owner.bytes).toBe(row('whole').toString('hex'));
    expect(owner.told).toEqual(['deliver', 'lost']);
  });

  it('is told once, with the error of the socket', async () => {
    const { socket, connection, owner } = lab();
    const users = new Passing();
    connection.expect(users);
    socket.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    await turn();
    await turn();
    expect(owner.told).toEqual(['lost']);
    expect(owner.loss?.socketError?.message).toBe('reset');
    expect(users.told).toEqual(['abandoned: reset']);
  });

  it('by FATAL is not shown to the application, and what came in front of it is handed on first', async () => {
    const { socket, connection, owner } = lab();
    connection.expect(new Passing());
    socket.push(Buffer.concat([...answer('x'), fatal('57P01'), ...answer('never believed')]));
    await turn();
    expect(owner.bytes).toBe(Buffer.concat(answer('x')).toString('hex'));
    expect(owner.told).toEqual(['deliver', 'lost']);
    expect(owner.loss?.fatal?.get('C')).toBe('57P01');
    expect(owner.loss?.fatalMessage).toEqual(fatal('57P01'));
  });

  it('is not an ERROR with the code of one (R14)', async () => {
    const { socket, connection, owner } = lab();
    const users = new Passing();
    connection.expect(users);
    socket.push(errorResponse(new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', '57P01']]))); // prettier-ignore
    await turn();
    expect(owner.told).toEqual(['deliver']);
    expect(users.told[0]).toMatch(/^E/);
    expect(connection.isLost).toBe(false);
  });

  it('that a responder makes does not swallow what was answered in front of it', async () => {
    const { socket, connection, owner } = lab();
    connection.expect(new Passing());
    const cutting = new Passing();
    cutting.onReady = () => {
      connection.destroy();
    };
    connection.expect(cutting);
    socket.push(Buffer.concat([...answer('x'), readyForQuery(0x45), ...answer('never believed')]));
    await turn();
    expect(owner.bytes.startsWith(Buffer.concat(answer('x')).toString('hex'))).toBe(true);
    expect(owner.bytes).not.toContain(Buffer.from('never').toString('hex'));
  });

  it('on purpose is told to nobody, and nothing is believed behind it (R12)', async () => {
    const { socket, connection, owner } = lab();
    const users = new Passing();
    connection.expect(users);
    connection.destroy();
    socket.emit('data', Buffer.concat(answer('late')));
    await turn();
    expect(owner.told).toEqual([]);
    expect(users.told).toEqual(['abandoned: Connection terminated unexpectedly']);
    await expect(connection.run('SELECT 1')).rejects.toThrow('Connection terminated');
  });

  it('that came before the owner is told to it', async () => {
    const { connection } = lab();
    connection.destroy();
    const owner = new Owner();
    connection.attach(owner);
    await turn();
    expect(owner.told).toEqual(['lost']);
  });
});

it("gives a stream that is not Node's own memory of its own, which may be written later (T15)", () => {
  const socket = new FakeSocket();
  const identity = { address: { host: 'a', port: 1 }, processId: 1, secretKey: 1, parameters: new Map() };
  const connection = new ServerConnection(socket as unknown as Socket, Buffer.alloc(0), identity, true);
  const arena = Buffer.from('INSERT');
  connection.write(arena);
  arena.fill('x');
  expect(socket.written.map(String)).toEqual(['INSERT']);
});
