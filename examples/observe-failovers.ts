/** Tells on standard output what the driver does; kill the primary while it runs. Ends with SIGINT or SIGTERM. */
import { HoldfastError } from 'holdfast';
import { Pool } from 'holdfast/pg';

const pool = new Pool({ connectionString: process.env['DATABASE_URL'], max: 4 });
// As with pg: without a listener, an idle client that is lost for good would end the process.
pool.on('error', (error) => {
  console.log(`an idle client is gone: ${error.message}`);
});

pool.failover
  ?.on('failoverStarted', ({ id, host, cause }) => {
    console.log(`failover ${id}: ${host} is lost (${cause ?? 'the connection just ended'})`);
  })
  .on('replaySucceeded', ({ session, statements, durationMillis }) => {
    console.log(`session ${session}: ${statements} statements replayed in ${durationMillis.toFixed(0)} ms`);
  })
  .on('commitResolved', ({ session, outcome, reason }) => {
    console.log(`session ${session}: its COMMIT is ${outcome} (${reason})`);
  })
  .on('failoverSucceeded', ({ id, host, sessions, durationMillis }) => {
    console.log(
      `failover ${id}: ${sessions} sessions go on at ${host} after ${durationMillis.toFixed(0)} ms`,
    );
  })
  .on('failoverFailed', ({ id, reason }) => {
    console.log(`failover ${id} has failed: ${reason}`);
  });

const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort();
});
process.once('SIGTERM', () => {
  stop.abort();
});

while (!stop.signal.aborted) {
  try {
    await pool.query('SELECT pg_sleep(0.05)');
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    console.log(`${error.name}, outcome: ${error.outcome}: ${error.message}`);
  }
}
// What a metrics endpoint would show.
console.log(pool.failover?.snapshot());
await pool.end();
