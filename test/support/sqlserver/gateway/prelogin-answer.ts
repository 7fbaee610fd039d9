import { preloginAnswer as withoutEncryption } from '../../../../src/tedious/wire/prelogin.ts';

const ENCRYPTION = 1;
const ON = 1;

/** PRELOGIN's answer of a server with a certificate, or without. */
export function preloginAnswer(isEncrypted: boolean): Buffer {
  const answer = withoutEncryption([16, 0, 1000]);
  if (!isEncrypted) return answer;
  for (let at = 0; answer[at] !== 0xff; at += 5) {
    if (answer[at] === ENCRYPTION) answer[answer.readUInt16BE(at + 1)] = ON;
  }
  return answer;
}
