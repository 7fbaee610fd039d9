import { Socket, type ConnectOpts, type SocketConstructorOpts } from 'node:net';

/** What the kernel is asked for at a time. */
const READ_BYTES = 65_536;

/** All sockets read into it: what is read is taken out before the next read begins. */
let shared: Buffer | null = null;

/**
 * A socket whose bytes do not pass through Node's stream machinery, nor through a buffer of 64 KiB for each read: on the
 * way from server to application the virtual socket is stream enough. For connections without TLS, which has streams of
 * its own above the socket.
 */
export class DirectSocket extends Socket {
  /** On Windows a read may be under way before its bytes are there: sockets can't share memory. */
  static readonly isSafe = process.platform !== 'win32';
  readonly #reader: { take: ((chunk: Buffer) => void) | null };

  constructor() {
    const buffer = (shared ??= Buffer.allocUnsafeSlow(READ_BYTES));
    const reader: { take: ((chunk: Buffer) => void) | null } = { take: null };
    // Documented of `net.connect`, which hands it to the constructor.
    const options: SocketConstructorOpts & ConnectOpts = {
      onread: {
        buffer,
        callback: (length) => {
          reader.take?.(Buffer.from(buffer.subarray(0, length)));
          return true;
        },
      },
    };
    super(options);
    this.#reader = reader;
    // As long as nobody else takes them, who connects and authenticates hears of them as from any socket.
    reader.take = (chunk) => this.emit('data', chunk);
  }

  /** From now on the bytes go there, and 'data' is not emitted any more. */
  handOver(take: (chunk: Buffer) => void): void {
    this.#reader.take = take;
  }
}
