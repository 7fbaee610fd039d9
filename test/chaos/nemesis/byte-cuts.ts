import type { SeededRandom } from '../../support/seeded-random.ts';
import type { Ending, ProxyConnection, TcpProxy, Verdict } from '../../support/tcp-proxy.ts';
import { waitFor } from '../../support/wait-for.ts';

/** COMMIT in all its forms, and writes outside of a transaction; the latter are not told from those inside. */
const INTERESTING = /COMMIT|END|INSERT|UPDATE/;
/** What the server answers to a COMMIT is some 20 bytes, to a write with a hidden message in front some 100. */
const LONGEST_ANSWER_BYTES = 120;
/** Type and length. */
const HEADER_BYTES = 5;
const TIMEOUT_MILLIS = 60_000;

/**
 * Ends connections at chosen bytes of an exchange: before the first byte of the message, in the middle of it, behind it,
 * and behind the n-th byte of what the server sends from then on; with a reset or an orderly end.
 */
export async function cutAtBytes(proxy: TcpProxy, count: number, random: SeededRandom): Promise<void> {
  let left = count;
  /** Bytes that the server may still send. */
  const allowances = new Map<ProxyConnection, { bytes: number; readonly by: Ending }>();
  proxy.onFrontendMessage = (type, body, connection): Verdict | undefined => {
    if (left === 0 || !'QPBE'.includes(type) || allowances.has(connection)) return undefined;
    const isCommit = body.includes('COMMIT');
    if (!INTERESTING.test(body.toString('latin1')) || !random.chance(isCommit ? 0.3 : 0.05)) return undefined;
    left--;
    const by: Ending = random.chance(0.5) ? 'reset' : 'fin';
    if (random.chance(0.4)) return { bytes: pickByte(random, body.length + HEADER_BYTES), by };
    allowances.set(connection, { bytes: pickByte(random, LONGEST_ANSWER_BYTES), by });
    return undefined;
  };
  proxy.onBackendMessage = (_, body, connection): Verdict | undefined => {
    const allowance = allowances.get(connection);
    if (allowance === undefined) return undefined;
    const length = body.length + HEADER_BYTES;
    if (allowance.bytes > length) {
      allowance.bytes -= length;
      return undefined;
    }
    allowances.delete(connection);
    return { bytes: allowance.bytes, by: allowance.by };
  };
  await waitFor(() => left === 0 && [...allowances.keys()].every(({ isOpen }) => !isOpen), {
    timeoutMillis: TIMEOUT_MILLIS,
    message: `${count} connections to be cut`,
  }).finally(async () => {
    await proxy.reset();
  });
}

/** The first and the last one are as frequent as all between. */
function pickByte(random: SeededRandom, length: number): number {
  return random.pick([0, length, random.integer(0, length), random.integer(0, length)]);
}
