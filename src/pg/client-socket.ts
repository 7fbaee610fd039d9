import { IDLE } from '../session/journal.ts';
import { authenticationOk, backendKeyData, parameterStatus, readyForQuery } from './backend-messages.ts';
import { sendCancelRequest } from './cancel-request.ts';
import { CANCEL_REQUEST, SSL_REQUEST } from './frontend-messages.ts';
import { openSession } from './open-session.ts';
import type { LogicalSession } from './logical-session.ts';
import { liveSessionOf } from './live-sessions.ts';
import { streamFunctionOf, type Transport } from './transport.ts';
import type { SocketBackend, VirtualSocket } from './virtual-socket.ts';

/** pg's Connection, as far as the start of a conversation needs it. */
export interface OuterConnection {
  readonly sslNegotiation?: string | undefined;
  emit(event: 'sslconnect'): boolean;
  listenerCount(event: 'error'): number;
}

type Stage = 'new' | 'opened' | 'connecting' | 'online' | 'closed';

/**
 * What stands behind a client's virtual socket from its first byte: plays the server's part of the handshake, and then
 * hands everything to the logical session.
 */
export class ClientSocket implements SocketBackend {
  readonly #socket: VirtualSocket;
  readonly #session: LogicalSession;
  readonly #outer: () => OuterConnection;
  readonly #abort = new AbortController();
  #stage: Stage = 'new';

  constructor(socket: VirtualSocket, session: LogicalSession, outer: () => OuterConnection) {
    this.#socket = socket;
    this.#session = session;
    this.#outer = outer;
  }

  open(): void {
    process.nextTick(() => {
      if (this.#stage !== 'new') return;
      this.#stage = 'opened';
      this.#socket.opened();
      // With direct negotiation pg waits for its TLS handshake without asking for it.
      const outer = this.#outer();
      if (outer.sslNegotiation === 'direct') outer.emit('sslconnect');
    });
  }

  accept(chunk: Uint8Array): void {
    // Whatever else comes before the handshake is over is a goodbye.
    if (this.#stage === 'online') this.#session.accept(chunk);
    else if (this.#stage === 'opened')
      this.#begin(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }

  get isWritable(): boolean {
    return this.#stage !== 'online' || this.#session.isWritable;
  }

  flush(): void {
    if (this.#stage === 'online') this.#session.flush();
  }

  resume(): void {
    if (this.#stage === 'online') this.#session.resumeReading();
  }

  get transport(): Transport | null {
    return this.#session.transport;
  }

  close(): void {
    this.#stage = 'closed';
    this.#abort.abort(new Error('Connection terminated'));
    this.#session.closeRequested();
  }

  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.#session.setKeepAlive(enable, initialDelayMillis);
  }

  setReferenced(referenced: boolean): void {
    this.#session.setReferenced(referenced);
  }

  /** The first message says what the client wants: TLS, to cancel something, or to begin a session. */
  #begin(first: Buffer): void {
    const code = first.length >= 8 ? first.readUInt32BE(4) : 0;
    if (code === SSL_REQUEST) {
      // TLS is between the hidden connection and the server: here both ends are in this process.
      process.nextTick(() => this.#outer().emit('sslconnect'));
      return;
    }
    this.#stage = 'connecting';
    if (code === CANCEL_REQUEST && first.length >= 16) {
      this.#cancel(first);
      return;
    }
    openSession(this.#session, this.#abort.signal).then(
      () => {
        if (this.#stage === 'closed') this.#session.closeRequested();
        else this.#welcome();
      },
      (error: unknown) => {
        if (this.#stage === 'closed') return;
        this.#session.closeRequested();
        this.#socket.destroy(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  #welcome(): void {
    const { connection, parameters } = this.#session;
    this.#stage = 'online';
    const messages = [authenticationOk()];
    for (const [name, value] of parameters) messages.push(parameterStatus(name, value));
    if (connection !== null) messages.push(backendKeyData(connection.processId, connection.secretKey));
    messages.push(readyForQuery(IDLE));
    this.#socket.deliver(Buffer.concat(messages));
  }

  /** CancelRequest: to the server where that backend lives now, in the clear, as pg sends it. */
  #cancel(request: Buffer): void {
    const target = liveSessionOf(request.readInt32BE(8), request.readInt32BE(12));
    const { options, resolved } = this.#session.context;
    const address = target?.connection?.address ?? resolved.hosts[0]!;
    const makeStream = streamFunctionOf(resolved.clientConfig);
    sendCancelRequest({ address, makeStream, timeoutMillis: options.dialTimeoutMillis }, request, (error) => {
      // pg listens on a client that it connects, not on one that cancels: there the error would end the process.
      this.#socket.destroy(this.#outer().listenerCount('error') > 0 ? error : undefined);
    });
  }
}
