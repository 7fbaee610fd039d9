/** Reads the tokens whose content decides something. Ranges are those that `TokenWalker` gives. */

export interface DoneToken {
  readonly status: number;
  /** What kind of statement it was: 0xC1 SELECT, 0xC3 INSERT, 0xC4 DELETE, 0xC5 UPDATE, 0xD4 BEGIN, 0xD5 COMMIT … */
  readonly command: number;
  readonly rowCount: bigint;
}

export function readDone(bytes: Buffer, start: number): DoneToken {
  return {
    status: bytes.readUInt16LE(start + 1),
    command: bytes.readUInt16LE(start + 3),
    rowCount: bytes.readBigUInt64LE(start + 5),
  };
}

/** ERROR or INFO. */
export interface MessageToken {
  readonly number: number;
  readonly state: number;
  readonly class: number;
  readonly message: string;
  readonly serverName: string;
  readonly procedure: string;
  readonly line: number;
}

export function readMessage(bytes: Buffer, start: number): MessageToken {
  let at = start + 9;
  const text = (characters: number): string => {
    const from = at;
    at += characters * 2;
    return bytes.toString('utf16le', from, at);
  };
  const number = bytes.readInt32LE(start + 3);
  const length = bytes.readUInt16LE(at);
  at += 2;
  const message = text(length);
  const serverName = text(bytes[at++]!);
  const procedure = text(bytes[at++]!);
  const line = bytes.readUInt32LE(at);
  return { number, state: bytes[start + 7]!, class: bytes[start + 8]!, message, serverName, procedure, line };
}

/** The name of a RETURNVALUE, with its @. */
export function returnValueName(bytes: Buffer, start: number): string {
  const characters = bytes[start + 3]!;
  return bytes.toString('utf16le', start + 4, start + 4 + characters * 2);
}
