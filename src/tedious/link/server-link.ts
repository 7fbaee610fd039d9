import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Connection, ConnectionConfiguration } from 'tedious';
import type { HostAddress } from '../../topology/host-address.ts';
import type { LoginFacts, LoginRemark } from '../endpoint/login-answer.ts';
import { MESSAGE, STATUS } from '../wire/message-type.ts';
import { PacketReader } from '../wire/packet-reader.ts';
import type { MessageToken } from '../wire/read-token.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { writePackets } from '../wire/write-packets.ts';

export type ConnectionClass = new (config: ConnectionConfiguration) => Connection;

/** Who hears of a link. */
export interface LinkHandler {
  /** Bytes of the answer to the message sent last, without packet headers; `isLast`: it is whole with them. */
  answered(bytes: Buffer, isLast: boolean): void;
  /** The link is gone; told once. */
  lost(error: Error): void;
}

/** The login was refused, or no server was there. `errors`: what the server said. */
export class DialError extends Error {
  readonly code: string;
  readonly errors: readonly MessageToken[];

  constructor(cause: Error & { code?: string }, errors: readonly MessageToken[]) {
    super(cause.message, { cause });
    this.code = cause.code ?? 'ESOCKET';
    this.errors = errors;
  }
}

export interface DialTarget {
  /** The user's own tedious. */
  readonly Connection: ConnectionClass;
  /** As the application gave it: TLS, credentials and all. */
  readonly config: ConnectionConfiguration;
  /** Null: as the configuration says, an instance's name and the like included. */
  readonly address: HostAddress | null;
  readonly dialTimeoutMillis: number;
}

/** What of a logged-in tedious is used that its documentation does not promise: the way to its transport. */
interface TakenOver {
  readonly messageIo: {
    readonly socket: Duplex;
    readonly securePair?: { readonly cleartext: Duplex };
    readonly incomingMessageStream: Duplex;
    readonly outgoingMessageStream: Duplex;
    packetSize(): number;
  };
}

const TDS_VERSIONS: Readonly<Record<string, number>> = {
  '7_1': 0x71000001,
  '7_2': 0x72090002,
  '7_3_A': 0x730a0003,
  '7_3_B': 0x730b0003,
  '7_4': 0x74000004,
};

/**
 * A connection to a server, dialled and logged in by a hidden stock connection, whose transport is then taken over. So
 * TLS, every kind of authentication and routing are tedious's own.
 */
export class ServerLink {
  readonly facts: LoginFacts;
  readonly #connection: Connection;
  readonly #transport: Duplex;
  readonly #packetBytes: number;
  readonly #reader: PacketReader;
  #handler: LinkHandler | null = null;
  #isLost = false;
  #lostTo: Error | null = null;

  private constructor(connection: Connection, facts: LoginFacts) {
    this.#connection = connection;
    this.facts = facts;
    const { messageIo } = connection as unknown as TakenOver;
    this.#packetBytes = messageIo.packetSize();
    const transport = messageIo.securePair?.cleartext ?? messageIo.socket;
    this.#transport = transport;
    transport.unpipe(messageIo.incomingMessageStream);
    messageIo.outgoingMessageStream.unpipe(transport);
    this.#reader = new PacketReader(({ data, isLast }) => {
      const handler = this.#handler;
      if (handler === null || this.#isLost) return;
      if (data.length > 0 || isLast) handler.answered(data, isLast);
    });
    transport.on('data', (chunk: Buffer) => {
      if (this.#isLost) return;
      try {
        this.#reader.push(chunk);
      } catch (error) {
        this.#lose(error instanceof Error ? error : new Error(String(error)));
      }
    });
    // Whichever of them speaks first; TLS does not hand on all that its socket says.
    for (const stream of new Set([transport, messageIo.socket])) {
      stream.on('error', (error: Error) => {
        this.#lose(error);
      });
      for (const event of ['end', 'close']) {
        stream.on(event, () => {
          this.#lose(connectionReset());
        });
      }
    }
    transport.resume();
  }

  /** @throws DialError, or the signal's reason */
  static async dial(target: DialTarget, signal: AbortSignal): Promise<ServerLink> {
    signal.throwIfAborted();
    const connection = new target.Connection(hiddenConfig(target));
    const remarks: LoginRemark[] = [];
    const errors: MessageToken[] = [];
    const remark = (made: LoginRemark): void => {
      // Behind the login it sends statements of its own, as the application's connection will.
      if (connection.state.name !== 'LoggedInSendingInitialSql') remarks.push(made);
    };
    connection.on('databaseChange', (value: string) => {
      remark({ kind: 'database', value });
    });
    connection.on('languageChange', (value: string) => {
      remark({ kind: 'language', value });
    });
    connection.on('infoMessage', (message: object) => {
      remark({ kind: 'info', message: messageOf(message) });
    });
    connection.on('errorMessage', (message: object) => errors.push(messageOf(message)));
    connection.on('error', ignore);
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        connection.close();
        reject(signal.reason instanceof Error ? signal.reason : new Error('given up'));
      };
      signal.addEventListener('abort', abort, { once: true });
      connection.connect((error?: Error | null) => {
        signal.removeEventListener('abort', abort);
        if (error === undefined || error === null) resolve();
        else reject(new DialError(error, errors));
      });
    });
    if (signal.aborted) {
      connection.close();
      signal.throwIfAborted();
    }
    const { options } = (
      connection as unknown as { config: { options: { tdsVersion: string; packetSize: number } } }
    ).config;
    return new ServerLink(connection, {
      remarks,
      collation: collationOf(connection),
      tdsVersion: TDS_VERSIONS[options.tdsVersion] ?? TDS_VERSIONS['7_4']!,
      packetBytes: options.packetSize,
    });
  }

  /** From now on this one hears what happens; at once if it is lost by now. */
  attach(handler: LinkHandler): void {
    this.#handler = handler;
    if (this.#lostTo !== null) handler.lost(this.#lostTo);
  }

  send(type: number, reset: RequestMessage['reset'], payload: Buffer): void {
    const firstPacketStatus = RESET_BITS[reset];
    if (!this.#isLost)
      this.#transport.write(writePackets(type, payload, this.#packetBytes, { firstPacketStatus }));
  }

  sendAttention(): void {
    this.send(MESSAGE.attention, 'none', Buffer.alloc(0));
  }

  /** The application is slower than the server. */
  pause(): void {
    this.#transport.pause();
  }

  resume(): void {
    if (!this.#isLost) this.#transport.resume();
  }

  /** It keeps no process alive. */
  unref(): void {
    const { socket } = (this.#connection as unknown as TakenOver).messageIo;
    (socket as Partial<Pick<Socket, 'unref'>>).unref?.();
  }

  /** Says nothing more. */
  destroy(): void {
    this.#isLost = true;
    this.#handler = null;
    this.#connection.close();
    this.#transport.destroy();
  }

  #lose(error: Error): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#lostTo = error;
    this.#handler?.lost(error);
    this.#connection.close();
    this.#transport.destroy();
  }
}

const RESET_BITS: Readonly<Record<RequestMessage['reset'], number>> = {
  none: 0,
  reset: STATUS.resetConnection,
  'reset-keep-transaction': STATUS.resetConnectionKeepTransaction,
};

function ignore(): void {
  // The link's own listeners tell of it.
}

/** As Node says it when a peer goes away. */
export function connectionReset(): Error {
  return Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
}

function hiddenConfig({ config, address, dialTimeoutMillis }: DialTarget): ConnectionConfiguration {
  const { instanceName, ...options } = config.options ?? {};
  const target =
    address === null
      ? {
          server: config.server,
          options: { ...options, ...(instanceName === undefined ? {} : { instanceName }) },
        }
      : { server: address.host, options: { ...options, port: address.port } };
  return {
    ...config,
    ...target,
    // Tried again by the driver, on all hosts.
    options: { ...target.options, connectTimeout: dialTimeoutMillis, maxRetriesOnTransientErrors: 0 },
  };
}

/** Of tedious's events `infoMessage` and `errorMessage`, whose fields need not all be there. */
function messageOf(event: object): MessageToken {
  const {
    number,
    state,
    class: severity,
    message,
    serverName,
    procName,
    lineNumber,
  } = event as Partial<{
    number: number;
    state: number;
    class: number;
    message: string;
    serverName: string;
    procName: string;
    lineNumber: number;
  }>;
  return {
    number: number ?? 0,
    state: state ?? 0,
    class: severity ?? 0,
    message: message ?? '',
    serverName: serverName ?? '',
    procedure: procName ?? '',
    line: lineNumber ?? 0,
  };
}

function collationOf(connection: Connection): Buffer | null {
  const { databaseCollation } = connection as unknown as { databaseCollation?: { toBuffer(): Buffer } };
  return databaseCollation?.toBuffer() ?? null;
}
