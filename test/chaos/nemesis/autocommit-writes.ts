import type { SeededRandom } from '../../support/seeded-random.ts';
import type { ProxyConnection, TcpProxy, Verdict } from '../../support/tcp-proxy.ts';
import { everyOther } from '../../support/torture/every-other.ts';
import { waitFor } from '../../support/wait-for.ts';
import { markersIn } from '../transaction-run.ts';

const IDLE = 'I'.charCodeAt(0);
/** Type and length. */
const HEADER_BYTES = 5;
/** Of what the server says to a write and to the hidden messages around it. */
const LONGEST_ANSWER_BYTES = 120;
const TIMEOUT_MILLIS = 60_000;

/** Ends connections whose server has committed a write outside of a transaction, before all of its answer has arrived. */
export async function cutBehindWrites(proxy: TcpProxy, count: number, random: SeededRandom): Promise<void> {
  let begun = 0;
  /** Bytes that the server may still send. */
  const allowances = new Map<ProxyConnection, number>();
  judgeAnswersToWrites(
    proxy,
    (connection) => {
      if (begun === count || !random.chance(0.5)) return false;
      begun++;
      allowances.set(connection, random.pick([0, 0, random.integer(0, LONGEST_ANSWER_BYTES)]));
      return true;
    },
    (connection, bytes) => {
      const allowance = allowances.get(connection)!;
      if (allowance >= bytes) {
        allowances.set(connection, allowance - bytes);
        return undefined;
      }
      allowances.delete(connection);
      if (random.chance(0.8)) return { bytes: allowance, by: random.pick(['reset', 'fin'] as const) };
      // The backend does not notice that its client is gone.
      connection.cutClientSideOnly();
      return 'drop';
    },
  );
  const isDone = (): boolean =>
    begun === count && [...allowances.keys()].every((connection) => !connection.isOpen);
  await waitFor(isDone, {
    timeoutMillis: TIMEOUT_MILLIS,
    message: `${count} connections to be cut behind a write`,
  }).finally(async () => {
    await proxy.reset();
  });
}

/** From now on, on half of the connections; ends when `count` answers are held back. */
export async function holdAnswersToWrites(proxy: TcpProxy, count: number): Promise<void> {
  let held = 0;
  judgeAnswersToWrites(
    proxy,
    // The others notice the death of the server, and it is theirs to tell these.
    everyOther(),
    () => {
      held++;
      return 'hold';
    },
  );
  await waitFor(() => held >= count, {
    timeoutMillis: TIMEOUT_MILLIS,
    message: `${count} answers to writes to be held back`,
  });
}

/**
 * A server that was sent a unit outside of a transaction says nothing before it has committed: the first message is the
 * first one that can be lost.
 *
 * @param verdictOn - is asked about each message of the answer until it has decided
 */
function judgeAnswersToWrites(
  proxy: TcpProxy,
  isChosen: (connection: ProxyConnection) => boolean,
  verdictOn: (connection: ProxyConnection, bytes: number) => Verdict | undefined,
): void {
  const idle = new Set<ProxyConnection>();
  const answering = new Set<ProxyConnection>();
  proxy.onFrontendMessage = (type, body, connection) => {
    const isUnit = 'QP'.includes(type) && idle.has(connection) && !answering.has(connection);
    if (isUnit && markersIn(body.toString('latin1')).length > 0 && isChosen(connection))
      answering.add(connection);
    return undefined;
  };
  proxy.onBackendMessage = (type, body, connection) => {
    if (type === 'Z' && body[0] === IDLE) idle.add(connection);
    else if (type === 'Z') idle.delete(connection);
    if (!answering.has(connection)) return undefined;
    const verdict = verdictOn(connection, body.length + HEADER_BYTES);
    if (verdict !== undefined) answering.delete(connection);
    return verdict;
  };
}
