/** The first byte of a token in an answer (MS-TDS 2.2.7). */
export const TOKEN = {
  returnStatus: 0x79,
  columnMetadata: 0x81,
  tableName: 0xa4,
  columnInfo: 0xa5,
  order: 0xa9,
  error: 0xaa,
  info: 0xab,
  returnValue: 0xac,
  loginAck: 0xad,
  featureExtAck: 0xae,
  row: 0xd1,
  nullBitmapRow: 0xd2,
  environmentChange: 0xe3,
  sessionState: 0xe4,
  sspi: 0xed,
  federatedInfo: 0xee,
  done: 0xfd,
  doneProcedure: 0xfe,
  doneInProcedure: 0xff,
} as const;

/** Bits of a DONE token's status (MS-TDS 2.2.7.6). */
export const DONE_STATUS = {
  more: 0x0001,
  error: 0x0002,
  inTransaction: 0x0004,
  count: 0x0010,
  attention: 0x0020,
  serverError: 0x0100,
} as const;

/** ENVCHANGE types (MS-TDS 2.2.7.9). */
export const ENVIRONMENT = {
  database: 1,
  language: 2,
  packetSize: 4,
  collation: 7,
  beginTransaction: 8,
  commitTransaction: 9,
  rollbackTransaction: 10,
  enlistDtc: 11,
  defectTransaction: 12,
  promoteTransaction: 15,
  transactionEnded: 17,
  reset: 18,
  routing: 20,
} as const;
