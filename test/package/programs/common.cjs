const assert = require('node:assert');
const { ConfigurationError, HoldfastError } = require('holdfast');
const { Client, Pool } = require('holdfast/pg');
const stock = require('pg');

async function main() {
  // One object as pg's is, with the same properties; and the default export for what translates ES modules.
  const whole = require('holdfast/pg');
  assert.strictEqual(whole.default, whole);
  const names = Object.getOwnPropertyNames(stock);
  for (const name of names) {
    const ours = Object.getOwnPropertyDescriptor(whole, name);
    const theirs = Object.getOwnPropertyDescriptor(stock, name);
    assert.ok(ours, name);
    assert.deepStrictEqual([ours.enumerable, 'get' in ours], [theirs.enumerable, 'get' in theirs], name);
  }
  assert.deepStrictEqual(Object.keys(whole).sort(), Object.keys(stock).sort());
  assert.strictEqual(whole.native, null);
  whole.Client = Object;
  assert.strictEqual(require('holdfast/pg').Client, Object);
  whole.Client = Client;
  assert.throws(() => new Client({ failover: { hosts: [] } }), ConfigurationError);

  // Both builds in one process: each recognises the other's errors.
  const esm = await import('holdfast');
  assert.ok(new esm.OutcomeUnknownError('…') instanceof HoldfastError);
  assert.ok(new ConfigurationError('…') instanceof esm.ConfigurationError);
  assert.ok(!(new ConfigurationError('…') instanceof esm.OutcomeUnknownError));

  const pool = new Pool({ connectionString: process.env.DATABASE_URL });
  assert.ok(pool instanceof stock.Pool);
  const { rows } = await pool.query('SELECT pg_is_in_recovery() AS standby');
  assert.deepStrictEqual(rows, [{ standby: false }]);
  await pool.end();

  // A server that is not there: its own error, through the retries of a failover.
  const nowhere = new Client({
    host: '127.0.0.1',
    port: 1,
    user: 'nobody',
    failover: { timeoutMillis: 500 },
  });
  await assert.rejects(nowhere.connect(), { code: 'ECONNREFUSED' });
}

main().then(() => console.log('ok'));
