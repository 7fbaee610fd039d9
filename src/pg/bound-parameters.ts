import { FrontendType } from './frontend-messages.ts';

/** The value of one parameter as it went over the wire: text, or bytes where it was given in binary. */
export type WireValue = string | Buffer | null;

/** The parameters of each statement of a unit, in order: those of its Binds; none for a Query. */
export function boundParameters(unitBytes: Buffer): readonly (readonly WireValue[])[] {
  const found: (readonly WireValue[])[] = [];
  let at = 0;
  while (at + 5 <= unitBytes.length) {
    const end = at + 1 + unitBytes.readUInt32BE(at + 1);
    if (end > unitBytes.length) break;
    if (unitBytes[at] === FrontendType.Bind) found.push(readValues(unitBytes, at + 5));
    else if (unitBytes[at] === FrontendType.Query) found.push([]);
    at = end;
  }
  return found;
}

/** Bind: portal, statement, format codes, values. */
function readValues(bytes: Buffer, start: number): readonly WireValue[] {
  const portalEnd = bytes.indexOf(0, start);
  let at = bytes.indexOf(0, portalEnd + 1) + 1;
  const formats: number[] = [];
  const formatCount = bytes.readInt16BE(at);
  at += 2;
  for (let i = 0; i < formatCount; i++, at += 2) formats.push(bytes.readInt16BE(at));
  const count = bytes.readInt16BE(at);
  at += 2;
  const values: WireValue[] = [];
  for (let i = 0; i < count; i++) {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) {
      values.push(null);
      continue;
    }
    const value = bytes.subarray(at, at + length);
    at += length;
    const isBinary = (formats.length === 1 ? formats[0] : formats[i]) === 1;
    values.push(isBinary ? Buffer.from(value) : value.toString('utf8'));
  }
  return values;
}
