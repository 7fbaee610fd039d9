/** What the application's connection says of itself when it logs in (MS-TDS 2.2.6.4). */
export interface Login7 {
  /** As a number, as on the wire: 0x74000004 is TDS 7.4. */
  readonly tdsVersion: number;
  readonly packetBytes: number;
  readonly hostName: string;
  readonly userName: string;
  readonly applicationName: string;
  readonly language: string;
  readonly database: string;
  readonly readOnlyIntent: boolean;
}

const FIXED_BYTES = 94;
const READ_ONLY_INTENT = 0x20;

/** The password is not read: it goes to the server from the application's configuration, not from here. */
export function readLogin7(payload: Buffer): Login7 {
  if (payload.length < FIXED_BYTES) throw new Error('a LOGIN7 message is too short');
  const text = (at: number): string => {
    const offset = payload.readUInt16LE(at);
    const characters = payload.readUInt16LE(at + 2);
    return payload.toString('utf16le', offset, offset + characters * 2);
  };
  return {
    tdsVersion: payload.readUInt32LE(4),
    packetBytes: payload.readUInt32LE(8),
    readOnlyIntent: (payload[26]! & READ_ONLY_INTENT) !== 0,
    hostName: text(36),
    userName: text(40),
    applicationName: text(48),
    language: text(64),
    database: text(68),
  };
}
