/** A server's answer to a hidden statement that the driver sends on its own account. */
export class SqlError extends Error {
  /** SQLSTATE. */
  readonly code: string;
  readonly severity: string;

  constructor(message: string, code: string, severity: string) {
    super(message);
    this.name = 'SqlError';
    this.code = code;
    this.severity = severity;
  }
}

/** All values are text, as the server sends them; `null` is SQL NULL. */
export type SqlRow = readonly (string | null)[];

/**
 * Runs the driver's own SQL over one server connection.
 *
 * Rejects with `SqlError` for a server error (the connection stays usable) and with any other error if the
 * connection is gone or `deadline` has passed.
 */
export interface SqlRunner {
  run(sql: string, parameters?: readonly (string | null)[]): Promise<readonly SqlRow[]>;
}
