import type { SqlRunner } from './sql-runner.ts';

const PREPARED_SQL =
  'SELECT 1 FROM pg_catalog.pg_prepared_xacts AS p WHERE p.gid OPERATOR(pg_catalog.=) $1::pg_catalog.text ' +
  'AND p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()';

/** The view has 32-bit xids. */
const OF_XID = ' AND p.transaction OPERATOR(pg_catalog.=) $2::pg_catalog.xid8::pg_catalog.xid';

/** True if a transaction is prepared under this identifier in the database of the connection; with `xid`, if it is that one. */
export async function isPrepared(runner: SqlRunner, identifier: string, xid?: string): Promise<boolean> {
  const rows = await (xid === undefined
    ? runner.run(PREPARED_SQL, [identifier])
    : runner.run(PREPARED_SQL + OF_XID, [identifier, xid]));
  return rows.length > 0;
}
