// holdfast-pg is installed as pg: it has pg's shape, and its parts are pg's own but for the classes.
const assert = require('node:assert');
const pg = require('pg');
const real = require('pg-real');

assert.strictEqual(require('pg/package.json').name, 'holdfast-pg');
assert.deepStrictEqual(Object.getOwnPropertyNames(pg).sort(), Object.getOwnPropertyNames(real).sort());
assert.deepStrictEqual(Object.keys(pg).sort(), Object.keys(real).sort());
for (const name of Object.getOwnPropertyNames(real)) {
  if (name === 'Client' || name === 'Pool') {
    assert.notStrictEqual(pg[name], real[name]);
    assert.strictEqual(Object.getPrototypeOf(pg[name]), real[name]);
    assert.strictEqual(pg[name].name, real[name].name);
  } else {
    assert.strictEqual(pg[name], real[name], name);
  }
}
assert.strictEqual(pg.Client.Query, real.Query);
assert.notStrictEqual(new pg.Client().failover, null);
assert.strictEqual(new (require('pg-pool'))().Client, pg.Client);

for (const part of [
  'client',
  'connection',
  'connection-parameters',
  'crypto/sasl',
  'crypto/utils',
  'defaults',
  'index',
  'query',
  'result',
  'stream',
  'type-overrides',
  'utils',
]) {
  const expected = { client: pg.Client, index: pg }[part] ?? require(`pg-real/lib/${part}`);
  assert.strictEqual(require(`pg/lib/${part}`), expected, part);
  assert.strictEqual(require(`pg/lib/${part}.js`), expected, part);
}

// holdfast beside it is built on the genuine classes as well, and has nothing to replace.
const holdfast = require('holdfast/pg');
assert.strictEqual(Object.getPrototypeOf(holdfast.Client), real.Client);
assert.ok(new pg.Pool() instanceof holdfast.Pool);
const { Client } = pg;
require('holdfast/register');
assert.strictEqual(pg.Client, Client);

async function main() {
  const [names, realNames] = [await import('pg'), await import('pg-real')];
  assert.deepStrictEqual(Object.keys(names).sort(), Object.keys(realNames).sort());
  for (const name of Object.keys(names)) assert.strictEqual(names[name], names.default[name] ?? pg, name);
}

main().then(() => console.log('ok'));
