import { Connection, Request, type ConnectionConfiguration } from 'tedious';

export type Row = readonly unknown[];

/** A connection of any Connection class, logged in. */
export function connected<C extends Connection>(connection: C): Promise<C> {
  return new Promise((resolve, reject) => {
    connection.connect((error) => {
      if (error === undefined) resolve(connection);
      else reject(error);
    });
  });
}

/** The rows of one request: a batch if it has no parameters to give. */
export function run(
  connection: Connection,
  sql: string,
  how: 'batch' | 'statement' = 'statement',
): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    const rows: Row[] = [];
    const request = new Request(sql, (error) => {
      if (error === undefined || error === null) resolve(rows);
      else reject(error);
    });
    request.on('row', (columns: { value: unknown }[]) => {
      rows.push(columns.map(({ value }) => value));
    });
    if (how === 'batch') connection.execSqlBatch(request);
    else connection.execSql(request);
  });
}

type Step = (done: (error?: Error | null) => void) => void;

function stepOf(step: Step): Promise<void> {
  return new Promise((resolve, reject) => {
    step((error) => {
      if (error === undefined || error === null) resolve();
      else reject(error);
    });
  });
}

export function begin(connection: Connection): Promise<void> {
  return stepOf((done) => {
    connection.beginTransaction(done);
  });
}

export function commit(connection: Connection): Promise<void> {
  return stepOf((done) => {
    connection.commitTransaction(done);
  });
}

export function rollback(connection: Connection): Promise<void> {
  return stepOf((done) => {
    connection.rollbackTransaction(done);
  });
}

/** One batch over plain tedious, on a connection of its own. */
export async function runStock(config: ConnectionConfiguration, sql: string): Promise<Row[]> {
  const connection = await connected(new Connection(config));
  try {
    return await run(connection, sql, 'batch');
  } finally {
    connection.close();
  }
}
