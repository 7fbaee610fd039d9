// What is the same, and what is whose instance, after holdfast/register.
import 'holdfast/register';
import assert from 'node:assert';
import { createRequire } from 'node:module';
import pg, { Client, Pool } from 'pg';
import PgPool from 'pg-pool';
import * as holdfast from 'holdfast/pg';

const require = createRequire(import.meta.url);
const Genuine = require('pg/lib/client');

assert.strictEqual(require('pg'), pg);
assert.strictEqual(pg.Client, Client);
assert.strictEqual(pg.Pool, Pool);
assert.notStrictEqual(Client, Genuine);
assert.notStrictEqual(new Client().failover, null);
assert.strictEqual(new PgPool().Client, Client);
assert.deepStrictEqual([Client.name, Pool.name, Client.Query], ['Client', 'BoundPool', pg.Query]);

// CommonJS gets the same classes by their own name; the ES module has its own, on the same genuine ones.
assert.strictEqual(require('holdfast/pg').Client, Client);
assert.strictEqual(require('holdfast/pg').Pool, Pool);
for (const name of ['Client', 'Pool']) {
  assert.strictEqual(Object.getPrototypeOf(holdfast[name]), Object.getPrototypeOf(pg[name]));
  assert.ok(new holdfast[name]() instanceof pg[name]);
  assert.ok(new pg[name]() instanceof holdfast[name]);
}
assert.strictEqual(Object.getPrototypeOf(Client), Genuine);
assert.strictEqual(holdfast.types, pg.types);
assert.strictEqual(holdfast.DatabaseError, pg.DatabaseError);

require('holdfast/register');
await import('holdfast/register');
assert.strictEqual(pg.Client, Client);
console.log('ok');
