import type { ErrorFields } from './backend-messages.ts';

/** Why a server connection ended. */
export interface ConnectionLoss {
  /** The server's last words with severity FATAL or PANIC, if there were any. */
  readonly fatal: ErrorFields | null;
  /** The whole FATAL ErrorResponse, to be handed on where the loss is aimed at this session (R14). */
  readonly fatalMessage: Buffer | null;
  /** The socket's own error, such as ECONNRESET. */
  readonly socketError: Error | null;
}

/** The server has ended the connection with these words. No SqlError: that means that the connection is good. */
export class ConnectionEndedError extends Error {
  /** SQLSTATE. */
  readonly code: string;
  readonly severity = 'FATAL';

  constructor(message: string, code: string) {
    super(message);
    this.name = 'ConnectionEndedError';
    this.code = code;
  }
}

/** The loss as an error: the server's own words if it said any. */
export function lossError(loss: ConnectionLoss | null): Error {
  const fatal = loss?.fatal;
  if (fatal !== undefined && fatal !== null) {
    return new ConnectionEndedError(
      fatal.get('M') ?? 'connection ended by the server',
      fatal.get('C') ?? '08006',
    );
  }
  return loss?.socketError ?? new Error('Connection terminated unexpectedly');
}

/** SQLSTATE of the server's last words; null if it said none. */
export function fatalCode(loss: ConnectionLoss | null): string | null {
  return loss?.fatal?.get('C') ?? null;
}

/** That, or the system's own code; null if there is neither. */
export function causeCode(loss: ConnectionLoss | null): string | null {
  const code = (loss?.socketError as { code?: unknown } | null | undefined)?.code;
  return fatalCode(loss) ?? (typeof code === 'string' ? code : null);
}
