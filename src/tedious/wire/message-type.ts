/** The types of TDS messages that are met here, as the first byte of each packet has them (MS-TDS 2.2.3.1.1). */
export const MESSAGE = {
  sqlBatch: 0x01,
  rpc: 0x03,
  answer: 0x04,
  attention: 0x06,
  bulkLoad: 0x07,
  federatedToken: 0x08,
  transaction: 0x0e,
  login7: 0x10,
  sspi: 0x11,
  prelogin: 0x12,
} as const;

/** Bits of a packet's second byte (MS-TDS 2.2.3.1.2). */
export const STATUS = {
  endOfMessage: 0x01,
  /** The client has changed its mind before the message was whole: it is to be ignored. */
  ignore: 0x02,
  resetConnection: 0x08,
  resetConnectionKeepTransaction: 0x10,
} as const;
