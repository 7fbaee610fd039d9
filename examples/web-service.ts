/** A web service that keeps serving while its primary dies: requests take longer for a moment, and none fails. */
import { randomUUID } from 'node:crypto';
import fastify from 'fastify';
import { Pool, type PoolClient } from 'holdfast/pg';

const pool = new Pool({ connectionString: process.env['DATABASE_URL'], max: 10 });
pool.on('error', (error) => {
  app.log.error(error); // An idle connection could not be kept; the pool makes another one.
});

async function inTransaction<Result>(work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    client.release();
    return result;
  } catch (error) {
    client.release(true); // Closes the connection, which rolls back.
    throw error;
  }
}

const app = fastify({ logger: process.env['LOG'] !== undefined });

app.post<{ Body: { item: string } }>('/orders', async (request, reply) => {
  const id = randomUUID(); // Not RETURNING id: another server may give another one.
  await inTransaction(async (client) => {
    await client.query('INSERT INTO orders (id, item) VALUES ($1, $2)', [id, request.body.item]);
    await client.query('UPDATE stock SET left_over = left_over - 1 WHERE item = $1', [request.body.item]);
  });
  return await reply.code(201).send({ id });
});

app.get<{ Params: { id: string } }>('/orders/:id', async (request, reply) => {
  const { rows } = await pool.query('SELECT id, item FROM orders WHERE id = $1', [request.params.id]);
  return rows[0] ?? (await reply.code(404).send({ message: 'no such order' }));
});

app.get('/health', () => pool.failover?.snapshot());

await pool.query('CREATE TABLE IF NOT EXISTS orders (id uuid PRIMARY KEY, item text NOT NULL)');
await pool.query('CREATE TABLE IF NOT EXISTS stock (item text PRIMARY KEY, left_over int NOT NULL)');
await pool.query(`INSERT INTO stock VALUES ('chair', 1000000) ON CONFLICT DO NOTHING`);
console.log(`listening at ${await app.listen({ port: Number(process.env['PORT'] ?? 3000) })}`);

process.once('SIGTERM', () => {
  void app.close().then(() => pool.end());
});
