import { randomBytes } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const CONTROL_FILE_BYTES = 512;
/** Where the system identifier is in the long header of the first page of a WAL segment. */
const WAL_IDENTIFIER_OFFSET = 24;

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** A new identifier of the shape that initdb makes: seconds since 1970 in the upper half. */
export function newSystemIdentifier(): bigint {
  return (BigInt(Math.floor(Date.now() / 1000)) << 32n) | BigInt(randomBytes(4).readUInt32LE());
}

/**
 * Gives a copy of the template a system identifier of its own.
 *
 * All clusters are copies of one initdb, and so would pass for one and the same cluster to a driver that compares
 * the identifiers. The server must not run.
 */
export async function setSystemIdentifier(dataDirectory: string, identifier: bigint): Promise<void> {
  await patch(join(dataDirectory, 'global', 'pg_control'), (control) => {
    const crcOffset = findCrc(control);
    control.writeBigUInt64LE(identifier, 0);
    control.writeUInt32LE(crc32c(control, crcOffset), crcOffset);
  });
  const wal = join(dataDirectory, 'pg_wal');
  for (const name of await readdir(wal)) {
    if (!/^[0-9A-F]{24}$/.test(name)) continue;
    await patch(join(wal, name), (page) => page.writeBigUInt64LE(identifier, WAL_IDENTIFIER_OFFSET));
  }
}

/** The structure's length differs between versions, but its last field is always the checksum of what is before. */
function findCrc(control: Buffer): number {
  let crc = 0xffffffff;
  for (let offset = 0; offset + 4 <= control.length; offset++) {
    if (offset % 4 === 0 && offset > 200 && control.readUInt32LE(offset) === ~crc >>> 0) return offset;
    crc = (crc >>> 8) ^ CRC32C_TABLE[(crc ^ control[offset]!) & 0xff]!;
  }
  throw new Error('found no checksum in pg_control: its layout is unknown');
}

function crc32c(bytes: Buffer, length: number): number {
  let crc = 0xffffffff;
  for (let offset = 0; offset < length; offset++) {
    crc = (crc >>> 8) ^ CRC32C_TABLE[(crc ^ bytes[offset]!) & 0xff]!;
  }
  return ~crc >>> 0;
}

async function patch(path: string, change: (head: Buffer) => unknown): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const head = Buffer.alloc(CONTROL_FILE_BYTES);
    await file.read(head, 0, head.length, 0);
    change(head);
    await file.write(head, 0, head.length, 0);
  } finally {
    await file.close();
  }
}
