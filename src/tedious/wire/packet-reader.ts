import { STATUS } from './message-type.ts';

export const PACKET_HEADER_BYTES = 8;

/** One packet without its header; `data` is a view, good until the call that gave it returns. */
export interface Packet {
  readonly type: number;
  readonly status: number;
  readonly data: Buffer;
  readonly isLast: boolean;
}

/** Cuts a stream of bytes into packets (MS-TDS 2.2.3.1). */
export class PacketReader {
  #rest: Buffer = EMPTY;
  readonly #onPacket: (packet: Packet) => void;

  constructor(onPacket: (packet: Packet) => void) {
    this.#onPacket = onPacket;
  }

  /** @throws Error if this can't be TDS */
  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = EMPTY;
    let at = 0;
    while (bytes.length - at >= PACKET_HEADER_BYTES) {
      const length = bytes.readUInt16BE(at + 2);
      if (length < PACKET_HEADER_BYTES) throw new Error(`a TDS packet says that it has ${length} bytes`);
      if (bytes.length - at < length) break;
      const status = bytes[at + 1]!;
      this.#onPacket({
        type: bytes[at]!,
        status,
        data: bytes.subarray(at + PACKET_HEADER_BYTES, at + length),
        isLast: (status & STATUS.endOfMessage) !== 0,
      });
      at += length;
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }
}

const EMPTY = Buffer.alloc(0);
