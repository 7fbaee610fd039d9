/** The hosts come from a service registry, here a URL that answers with JSON, instead of from the connection string. */
import type { TopologyProvider, TopologyView } from 'holdfast';
import { Pool } from 'holdfast/pg';

const registryUrl = process.env['REGISTRY_URL'] ?? 'http://localhost:8500/cluster';

/**
 * It only suggests: the driver asks every host itself who it is, so an answer that is wrong or old costs time, never
 * data. Deadlines, failures and answers that make no sense are the driver's business too.
 */
const registry: TopologyProvider = {
  async discover(signal) {
    const response = await fetch(registryUrl, { signal });
    if (!response.ok) throw new Error(`the registry answers with status ${response.status}`);
    // {"hosts": [{"host": "db1", "port": 5432}, …], "primary": {"host": "db1", "port": 5432}}
    return (await response.json()) as TopologyView;
  },
};

const pool = new Pool({
  user: process.env['PGUSER'],
  password: process.env['PGPASSWORD'],
  database: process.env['PGDATABASE'],
  failover: { provider: registry },
});
pool.failover?.on('providerFailed', ({ reason }) => {
  console.log(`the registry is of no help: ${reason}`);
});

const { rows } = await pool.query<{ port: number }>('SELECT inet_server_port() AS port');
console.log(`connected to port ${rows[0]!.port}, as the registry says`);
await pool.end();
