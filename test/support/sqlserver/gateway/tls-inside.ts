import type net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { MESSAGE } from '../../../../src/tedious/wire/message-type.ts';
import { PacketReader } from '../../../../src/tedious/wire/packet-reader.ts';
import { writePackets } from '../../../../src/tedious/wire/write-packets.ts';

export interface GatewayTls {
  readonly key: string;
  readonly cert: string;
}

const PACKET_BYTES = 4096;

/** TLS whose handshake goes in PRELOGIN packets, and what follows on the bare socket (MS-TDS 2.2.6.5). */
export class TlsInside {
  readonly #carrier: Carrier;
  readonly #tls: tls.TLSSocket;

  constructor(socket: net.Socket, { key, cert }: GatewayTls, onClear: (bytes: Buffer) => void) {
    this.#carrier = new Carrier(socket);
    this.#tls = new tls.TLSSocket(this.#carrier, {
      isServer: true,
      secureContext: tls.createSecureContext({ key, cert, maxVersion: 'TLSv1.2' }),
    });
    this.#tls.on('data', onClear);
    this.#tls.on('error', () => socket.destroy());
  }

  get isReady(): boolean {
    return !this.#carrier.isHandshake;
  }

  received(bytes: Buffer): void {
    this.#carrier.received(bytes);
  }

  write(bytes: Buffer): boolean {
    return this.#tls.write(bytes);
  }
}

class Carrier extends Duplex {
  isHandshake = true;
  readonly #socket: net.Socket;
  readonly #reader = new PacketReader(({ data }) => {
    this.push(Buffer.from(data));
  });
  #parts: Buffer[] = [];
  #isScheduled = false;

  constructor(socket: net.Socket) {
    super();
    this.#socket = socket;
  }

  received(bytes: Buffer): void {
    // The handshake is over with the client's first record that comes without a packet of type PRELOGIN around it.
    if (bytes[0] !== MESSAGE.prelogin) this.isHandshake = false;
    if (this.isHandshake) this.#reader.push(bytes);
    else this.push(bytes);
  }

  override _read(): void {
    // What comes is pushed.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.isHandshake) {
      this.#socket.write(chunk);
      done();
      return;
    }
    // One flight of the handshake is one message.
    this.#parts.push(chunk);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => {
        this.#isScheduled = false;
        const flight = Buffer.concat(this.#parts);
        this.#parts = [];
        this.#socket.write(writePackets(MESSAGE.prelogin, flight, PACKET_BYTES));
      });
    }
    done();
  }
}
