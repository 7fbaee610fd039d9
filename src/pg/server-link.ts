import type { ReachableHost } from '../cluster/host-observation.ts';
import type { ServerIdentity } from '../cluster/member.ts';
import { AnnouncedParameters } from './announced-parameters.ts';
import { enterLiveSession, leaveLiveSession, type LiveSession } from './live-sessions.ts';
import type { ProbeResult } from './probe.ts';
import type { ProbedConnection } from './scouts.ts';
import type { ServerConnection } from './server-connection.ts';
import { SocketOptions } from './socket-options.ts';
import type { Transport } from './transport.ts';

/**
 * The connection under one logical session, with what is known of the server behind it, and with what the application
 * has set and was told, which must hold on each connection that takes its place.
 */
export class ServerLink {
  readonly parameters = new AnnouncedParameters();
  readonly #socketOptions = new SocketOptions();
  #connection: ServerConnection | null = null;
  #probe: ProbeResult | null = null;
  #server: ServerIdentity | null = null;
  #followsPrimary = true;

  /** Null while there is none. */
  get connection(): ServerConnection | null {
    return this.#connection;
  }

  /** What the current or the last server said of itself over this session's connection. */
  get probe(): ProbeResult | null {
    return this.#probe;
  }

  /** The current or the last server. */
  get server(): ServerIdentity | null {
    return this.#server;
  }

  /** False on a standby: a promotion elsewhere is then nothing to the session. */
  get followsPrimary(): boolean {
    return this.#followsPrimary;
  }

  get transport(): Transport | null {
    return this.#connection?.socket ?? null;
  }

  /** From now on this is the session's connection. A cancel finds it by its key. */
  adopt({ connection, probe }: ProbedConnection, host: ReachableHost, session: LiveSession): void {
    this.#connection = connection;
    this.#probe = probe;
    this.#server = { address: host.address, incarnation: host.incarnation };
    this.#followsPrimary = !probe.inRecovery;
    this.#socketOptions.applyTo(connection);
    enterLiveSession(session, connection.processId, connection.secretKey);
  }

  /** The connection is lost or given up. Returns it, if there was one. */
  forget(): ServerConnection | null {
    const connection = this.#connection;
    if (connection !== null) leaveLiveSession(connection.processId, connection.secretKey);
    this.#connection = null;
    return connection;
  }

  /** The server has reported a parameter of the connection. */
  reported(name: string, value: string): void {
    // The standby under this session was promoted, and can write from now on; or another server is none.
    if (name === 'in_hot_standby') this.#followsPrimary = value === 'off';
  }

  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.#socketOptions.setKeepAlive(this.#connection, enable, initialDelayMillis);
  }

  setReferenced(isReferenced: boolean): void {
    this.#socketOptions.setReferenced(this.#connection, isReferenced);
  }
}
