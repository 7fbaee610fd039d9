// A tracing tool wraps methods of pg.Client.prototype, as they all do. node traced.cjs before|after holdfast/register
const assert = require('node:assert');

const seen = [];
function trace() {
  const { prototype } = require('pg').Client;
  for (const name of ['connect', 'query']) {
    const original = prototype[name];
    const traced = function (...args) {
      seen.push(name);
      return original.apply(this, args);
    };
    traced.__original = original;
    prototype[name] = traced;
  }
}

async function main() {
  if (process.argv[2] === 'before') trace();
  require('holdfast/register');
  if (process.argv[2] === 'after') trace();
  const { Client } = require('pg');
  const client = new Client();
  assert.notStrictEqual(client.failover, null);
  await client.connect();
  await client.query('SELECT 1');
  await client.query({ text: 'SELECT 2', query_timeout: 10_000 });
  await client.end();
  // The driver's own connections are nobody's business.
  assert.deepStrictEqual(seen, ['connect', 'query', 'query']);
}

main().then(() => console.log('ok'));
