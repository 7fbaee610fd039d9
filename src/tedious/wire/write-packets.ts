import { STATUS } from './message-type.ts';
import { PACKET_HEADER_BYTES } from './packet-reader.ts';

/** A message cut into packets of at most `packetBytes`, header included, all in one buffer. */
export function writePackets(
  type: number,
  payload: Buffer,
  packetBytes: number,
  { firstPacketStatus = 0, isWhole = true }: { firstPacketStatus?: number; isWhole?: boolean } = {},
): Buffer {
  const room = packetBytes - PACKET_HEADER_BYTES;
  const count = Math.max(1, Math.ceil(payload.length / room));
  const bytes = Buffer.allocUnsafe(payload.length + count * PACKET_HEADER_BYTES);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const from = i * room;
    const length = Math.min(room, payload.length - from);
    const isLast = isWhole && i === count - 1;
    bytes[at] = type;
    bytes[at + 1] = (isLast ? STATUS.endOfMessage : 0) | firstPacketStatus;
    bytes.writeUInt16BE(length + PACKET_HEADER_BYTES, at + 2);
    bytes.writeUInt16BE(0, at + 4);
    bytes[at + 6] = (i + 1) & 0xff;
    bytes[at + 7] = 0;
    payload.copy(bytes, at + PACKET_HEADER_BYTES, from, from + length);
    at += length + PACKET_HEADER_BYTES;
  }
  return bytes;
}

/** A packet with nothing in it that does not end its message: it only shows that an answer is coming. */
export function emptyPacket(type: number): Buffer {
  return writePackets(type, Buffer.alloc(0), 512, { isWhole: false });
}
