// pg's ES module is evaluated before holdfast/register: its names stay what they were, and a warning says so.
import assert from 'node:assert';
import pg, { Client } from 'pg';
import 'holdfast/register';

const [warning] = await new Promise((resolve) => process.on('warning', (...values) => resolve(values)));
assert.strictEqual(warning.code, 'HOLDFAST_PG_LOADED_BEFORE');
assert.strictEqual(new Client().failover, undefined);
assert.notStrictEqual(new pg.Client().failover, null);
console.log('ok');
