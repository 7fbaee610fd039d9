import { PrismaClientKnownRequestError } from '@prisma/client/runtime/client';

/** What Prisma's adapters throw; declared here because `@prisma/driver-adapter-utils` is their dependency and not ours. */
interface AdapterError {
  readonly message: string;
  readonly cause: {
    readonly kind: string;
    readonly originalCode?: string;
    readonly originalMessage?: string;
  };
}

const WRITE_CONFLICT =
  'Transaction failed due to a write conflict or a deadlock. Please retry your transaction';

/**
 * The error as Prisma gives it for a query.
 *
 * Prisma 7 maps the errors of queries to its codes, but lets that of a COMMIT or a savepoint of an interactive
 * transaction through as the adapter threw it. A retry loop that waits for P2034 would miss a transaction that could not
 * be committed (R5, R6), though it may run again. Both kinds that a failover can end in are mapped as for a query; all
 * else stays as it is.
 */
export function asRequestError(error: unknown): unknown {
  if (!isAdapterError(error)) return error;
  const { kind, originalCode = 'N/A', originalMessage = error.message } = error.cause;
  switch (kind) {
    case 'TransactionWriteConflict':
      return knownError('P2034', WRITE_CONFLICT, error);
    case 'postgres':
      return knownError(
        'P2039',
        `Database error. Code: \`${originalCode}\`. Message: \`${originalMessage}\``,
        error,
      );
    default:
      return error;
  }
}

function knownError(code: string, message: string, cause: AdapterError): PrismaClientKnownRequestError {
  const meta = { driverAdapterError: cause };
  // The version is for bug reports to Prisma; nothing that can be had here tells it.
  const error = new PrismaClientKnownRequestError(message, { code, meta, clientVersion: 'unknown' });
  return Object.assign(error, { cause });
}

function isAdapterError(error: unknown): error is AdapterError {
  return (
    error instanceof Error &&
    error.name === 'DriverAdapterError' &&
    typeof error.cause === 'object' &&
    error.cause !== null
  );
}
