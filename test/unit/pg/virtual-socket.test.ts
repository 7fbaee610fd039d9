import { describe, expect, it, vi } from 'vitest';
import { VirtualSocket, type SocketBackend } from '../../../src/pg/virtual-socket.ts';

class Backend implements SocketBackend {
  readonly told: string[] = [];
  isWritable = true;
  readonly transport = null;

  open(): void {
    this.told.push('open');
  }
  accept(chunk: Uint8Array): void {
    this.told.push(`accept ${Buffer.from(chunk).toString()}`);
  }
  flush(): void {
    this.told.push('flush');
  }
  resume(): void {
    // Asked for by the stream machinery whenever it likes.
  }
  close(): void {
    this.told.push('close');
  }
  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.told.push(`keepAlive ${enable} ${initialDelayMillis}`);
  }
  setReferenced(referenced: boolean): void {
    this.told.push(referenced ? 'ref' : 'unref');
  }
}

function lab() {
  const backend = new Backend();
  return { backend, socket: new VirtualSocket(() => backend) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('writing', () => {
  it('sends at once, and corked writes together', () => {
    const { backend, socket } = lab();
    socket.write(Buffer.from('a'));
    socket.cork();
    socket.cork();
    socket.write('b');
    socket.uncork();
    socket.write('c');
    socket.uncork();
    socket.uncork();
    expect(backend.told).toEqual(['accept a', 'flush', 'accept b', 'accept c', 'flush']);
  });

  it('calls back, but not from inside the call', async () => {
    const { socket } = lab();
    const done = vi.fn();
    socket.write('a', done);
    socket.write('b', 'utf8', done);
    expect(done).not.toHaveBeenCalled();
    await turn();
    expect(done.mock.calls).toEqual([[], []]);
  });

  it('says when to wait', () => {
    const { backend, socket } = lab();
    expect(socket.write('a')).toBe(true);
    backend.isWritable = false;
    expect(socket.write('b')).toBe(false);
  });

  it('behind the end fails as with a real socket', async () => {
    const { backend, socket } = lab();
    socket.end();
    const done = vi.fn();
    expect(socket.write('late', done)).toBe(false);
    await turn();
    expect(done.mock.calls[0]![0]).toMatchObject({ code: 'EPIPE' });
    expect(backend.told).toEqual(['close']);
  });
});

describe('the end', () => {
  it('comes once, later, and with close', async () => {
    const { backend, socket } = lab();
    const events: string[] = [];
    socket.on('close', () => events.push('close'));
    socket.on('error', () => events.push('error'));
    const done = vi.fn();
    socket.end(done);
    socket.end();
    expect(events).toEqual([]);
    await turn();
    expect(events).toHaveLength(1);
    expect(done).toHaveBeenCalledTimes(1);
    expect(backend.told).toEqual(['close']);
    expect(socket.destroyed).toBe(true);
  });

  it('takes a last chunk with it, as any stream does', () => {
    const { backend, socket } = lab();
    socket.end('X');
    expect(backend.told[0]).toBe('accept X');
  });

  it('by an error comes with it, and then close', async () => {
    const { socket } = lab();
    const events: string[] = [];
    socket.on('error', (error) => events.push(error.message));
    socket.on('close', () => events.push('close'));
    socket.destroy(new Error('lost for good'));
    await turn();
    expect(events).toEqual(['lost for good', 'close']);
  });
});

describe('reading', () => {
  it('gives the bytes in order, and nothing behind the end', async () => {
    const { socket } = lab();
    const bytes: string[] = [];
    socket.on('data', (chunk: Buffer) => bytes.push(chunk.toString()));
    socket.deliver(Buffer.from('a'));
    socket.deliver(Buffer.from('b'));
    await turn();
    socket.destroy();
    expect(socket.deliver(Buffer.from('c'))).toBe(true);
    await turn();
    expect(bytes.join('')).toBe('ab');
  });

  it('says when to wait', () => {
    const { socket } = lab();
    socket.pause();
    expect(socket.deliver(Buffer.alloc(1_000_000))).toBe(false);
  });
});

describe('connecting', () => {
  it('is told when the backend is ready, unless it was given up before', () => {
    const { backend, socket } = lab();
    const connected = vi.fn();
    socket.on('connect', connected);
    expect(socket.connect()).toBe(socket);
    expect(backend.told).toEqual(['open']);
    socket.opened();
    expect(connected).toHaveBeenCalledTimes(1);
    socket.destroy();
    socket.opened();
    expect(connected).toHaveBeenCalledTimes(1);
  });
});

describe('ending', () => {
  it('tells who reads of the end, in front of the close', async () => {
    const { socket } = lab();
    const told: string[] = [];
    for (const event of ['end', 'close']) socket.on(event, () => told.push(event));
    socket.resume();
    socket.end();
    expect(told).toEqual([]);
    await turn();
    await turn();
    expect(told).toEqual(['end', 'close']);
  });

  it('says that it is closed to who connects a socket that was destroyed before', async () => {
    const { backend, socket } = lab();
    socket.destroy();
    await turn();
    const closed = vi.fn();
    socket.on('close', closed);
    socket.connect();
    expect(closed).not.toHaveBeenCalled();
    await turn();
    expect(closed).toHaveBeenCalledOnce();
    expect(backend.told).not.toContain('open');
  });
});
