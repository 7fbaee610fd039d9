import { Connection, Request, TYPES } from 'holdfast/tedious'; // was: from 'tedious'

// All replicas of the availability group, as host:port separated by commas.
const hosts = process.env['MSSQL_HOSTS']!.split(',');
const [server, port] = hosts[0]!.split(':');

const connection = new Connection({
  server: server!,
  authentication: {
    type: 'default',
    options: { userName: process.env['MSSQL_USER']!, password: process.env['MSSQL_PASSWORD']! },
  },
  options: {
    port: Number(port ?? 1433),
    database: process.env['MSSQL_DATABASE']!,
    encrypt: process.env['MSSQL_ENCRYPT'] !== 'false',
  },
  failover: { hosts },
});

connection.failover?.on('failoverSucceeded', ({ durationMillis }) => {
  console.error(`goes on after ${durationMillis.toFixed(0)} ms`);
});

type Done = (error?: Error | null) => void;
const step = (act: (done: Done) => unknown): Promise<void> =>
  new Promise((resolve, reject) => {
    act((error) => {
      if (error === undefined || error === null) resolve();
      else reject(error);
    });
  });

const move = (id: number, amount: number): Promise<void> =>
  step((done) => {
    const request = new Request('UPDATE account SET balance = balance + @amount WHERE id = @id', done);
    request.addParameter('id', TYPES.Int, id);
    request.addParameter('amount', TYPES.Int, amount);
    connection.execSql(request);
  });

await step((done) => {
  connection.connect(done);
});
for (let count = 1; count <= 100; count++) {
  await step((done) => {
    connection.beginTransaction(done);
  });
  await move(1, -1);
  await new Promise((resolve) => setTimeout(resolve, 10)); // Kill the primary here, for instance.
  await move(2, 1);
  await step((done) => {
    connection.commitTransaction(done); // Or here: the driver finds out what became of it.
  });
}
console.log('100 moved');
connection.close();
