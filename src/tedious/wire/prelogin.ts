/** PRELOGIN is a table of options: token, offset, length (big-endian), ended by 0xFF (MS-TDS 2.2.6.5). */
const VERSION = 0;
const ENCRYPTION = 1;
const INSTANCE = 2;
const THREAD = 3;
const MARS = 4;
const TERMINATOR = 0xff;

const ENCRYPTION_NOT_SUPPORTED = 2;

/** What a server says that has no need of encryption: the connection does not leave the process. */
export function preloginAnswer(version: readonly [number, number, number]): Buffer {
  const [major, minor, build] = version;
  const options: readonly (readonly [number, Buffer])[] = [
    [VERSION, Buffer.from([major, minor, build >> 8, build & 0xff, 0, 0])],
    [ENCRYPTION, Buffer.from([ENCRYPTION_NOT_SUPPORTED])],
    [INSTANCE, Buffer.from([0])],
    [THREAD, Buffer.alloc(0)],
    [MARS, Buffer.from([0])],
  ];
  const table = Buffer.alloc(options.length * 5 + 1);
  let offset = table.length;
  options.forEach(([token, data], i) => {
    table[i * 5] = token;
    table.writeUInt16BE(offset, i * 5 + 1);
    table.writeUInt16BE(data.length, i * 5 + 3);
    offset += data.length;
  });
  table[table.length - 1] = TERMINATOR;
  return Buffer.concat([table, ...options.map(([, data]) => data)]);
}
