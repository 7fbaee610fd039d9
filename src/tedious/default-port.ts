/** SQL Server's own port, used wherever none was given. */
export const DEFAULT_PORT = 1433;
