import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectSocket } from '../../../src/pg/direct-socket.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('DirectSocket', () => {
  let server: Server;
  let served: Socket[];
  const opened: DirectSocket[] = [];

  beforeEach(async () => {
    served = [];
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      served.push(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  afterEach(async () => {
    for (const socket of [...opened.splice(0), ...served]) socket.destroy();
    server.close();
    await once(server, 'close');
  });

  async function connect(): Promise<{ socket: DirectSocket; peer: Socket }> {
    const socket = new DirectSocket();
    opened.push(socket);
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    socket.connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [[peer]] = await Promise.all([accepted, once(socket, 'connect')]);
    return { socket, peer };
  }

  it("emits 'data' until it is handed over, and nothing gets lost between", async () => {
    const { socket, peer } = await connect();
    const before: string[] = [];
    const after: string[] = [];
    socket.on('data', (chunk: Buffer) => {
      before.push(chunk.toString());
      socket.handOver((bytes) => {
        after.push(bytes.toString());
      });
      peer.write('second');
    });
    peer.write('first');
    await waitFor(() => after.length > 0);
    expect([before, after]).toEqual([['first'], ['second']]);
  });

  it('gives each its own bytes, which stay as they are, though all sockets read into the same memory', async () => {
    const pairs = [await connect(), await connect(), await connect()];
    const chunks: Buffer[][] = pairs.map(() => []);
    pairs.forEach(({ socket }, index) => {
      socket.handOver((chunk) => chunks[index]!.push(chunk));
    });
    const size = 300_000;
    pairs.forEach(({ peer }, index) => peer.write(Buffer.alloc(size, index + 1)));
    const total = (index: number): number => chunks[index]!.reduce((sum, { length }) => sum + length, 0);
    await waitFor(() => pairs.every((_, index) => total(index) === size));
    pairs.forEach((_, index) => {
      expect(Buffer.concat(chunks[index]!).equals(Buffer.alloc(size, index + 1))).toBe(true);
    });
  });

  it('reads nothing while it is paused, and goes on behind', async () => {
    const { socket, peer } = await connect();
    let bytes = 0;
    socket.handOver((chunk) => {
      bytes += chunk.length;
      socket.pause();
    });
    const size = 50_000_000;
    peer.write(Buffer.alloc(size));
    await waitFor(() => bytes > 0);
    const read = bytes;
    // More turns of the event loop than it would take to read on.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(bytes).toBe(read);
    expect(peer.writableLength).toBeGreaterThan(0);
    socket.handOver((chunk) => {
      bytes += chunk.length;
    });
    socket.resume();
    await waitFor(() => bytes === size);
  });

  it('tells of the end, and of an error, as any socket does', async () => {
    const ended = await connect();
    ended.socket.handOver(() => undefined);
    ended.peer.end('goodbye');
    await once(ended.socket, 'end');
    await once(ended.socket, 'close');

    const reset = await connect();
    reset.socket.handOver(() => undefined);
    const told = once(reset.socket, 'error');
    reset.peer.resetAndDestroy();
    expect(await told).toMatchObject([{ code: 'ECONNRESET' }]);
  });
});
