import { Pool } from 'holdfast/pg'; // was: from 'pg'

// All hosts of the cluster, as libpq spells it: postgres://app:secret@db1,db2,db3/app?target_session_attrs=read-write
const pool = new Pool({ connectionString: process.env['DATABASE_URL'] });

async function transfer(from: number, to: number, amount: number): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    // FOR UPDATE keeps others from changing what was read, so that a replay reads the same again.
    const { rows } = await client.query<{ balance: number }>(
      'SELECT balance FROM account WHERE id = $1 FOR UPDATE',
      [from],
    );
    if (rows[0]!.balance < amount) throw new Error('not enough money');
    await new Promise((resolve) => setTimeout(resolve, 10)); // Kill the primary here, for instance.
    await client.query('UPDATE account SET balance = balance - $2 WHERE id = $1', [from, amount]);
    await client.query('UPDATE account SET balance = balance + $2 WHERE id = $1', [to, amount]);
    await client.query('COMMIT'); // Or here: the driver finds out what became of it.
    client.release();
  } catch (error) {
    client.release(true); // Closes the connection, which rolls back.
    throw error;
  }
}

await pool.query('CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, balance int NOT NULL)');
await pool.query('INSERT INTO account VALUES (1, 100), (2, 0)');
for (let count = 1; count <= 100; count++) await transfer(1, 2, 1);
console.log((await pool.query('SELECT id, balance FROM account ORDER BY id')).rows);
await pool.end();
