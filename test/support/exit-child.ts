/**
 * A process of its own for tests of when a process may end: does what its arguments say with a client or pool, and
 * then only waits for nothing being left to do. Prints 'done' when its work is done.
 */
import stock from 'pg';
import holdfast from '../../src/pg.ts';
import { TcpProxy } from './tcp-proxy.ts';

const [driver = '', scenario = '', config = '{}'] = process.argv.slice(2);
const pg: typeof stock = driver === 'pg' ? stock : holdfast;
const settings = JSON.parse(config) as stock.PoolConfig;

async function run(): Promise<void> {
  switch (scenario) {
    case 'end': {
      const client = new pg.Client(settings);
      await client.connect();
      await client.query('SELECT 1');
      await client.end();
      return;
    }
    case 'unref': {
      const client = new pg.Client(settings);
      await client.connect();
      await client.query('SELECT 1');
      (client as unknown as { unref(): void }).unref();
      return;
    }
    case 'unref and ref': {
      const client = new pg.Client(settings) as stock.Client & { ref(): void; unref(): void };
      await client.connect();
      client.unref();
      client.ref();
      return;
    }
    case 'open': {
      await new pg.Client(settings).connect();
      return;
    }
    case 'pool': {
      await new pg.Pool(settings).query('SELECT 1');
      return;
    }
    case 'pool ended': {
      const pool = new pg.Pool(settings);
      await Promise.all([pool.query('SELECT 1'), pool.query('SELECT 2')]);
      await pool.end();
      return;
    }
    case 'refused': {
      await new pg.Client(settings).connect().catch(() => undefined);
      return;
    }
    case 'idle client of a pool terminated':
    case 'client terminated':
    case 'client of a pool terminated while out': {
      // Nobody listens to 'error'. Another session ends this one in a transaction, where it can't come back (R14).
      const other = new stock.Client(settings);
      await other.connect();
      const pool = new pg.Pool(settings);
      const client = scenario === 'client terminated' ? new pg.Client(settings) : await pool.connect();
      if (scenario === 'client terminated') await client.connect();
      const { processID } = client as unknown as { processID: number };
      if (scenario === 'idle client of a pool terminated') (client as stock.PoolClient).release();
      else await client.query('BEGIN');
      console.log('ready');
      await other.query('SELECT pg_terminate_backend($1)', [processID]);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await other.end();
      await pool.end();
      return;
    }
    case 'end while waiting':
    case 'pool ended while waiting': {
      // The only host is gone, behind a proxy of this process's own.
      const { host, port } = settings as { host: string; port: number };
      const proxy = await TcpProxy.start({ host, port });
      const through = { ...settings, host: proxy.host, port: proxy.port };
      const pool = new pg.Pool(through);
      const client = scenario === 'end while waiting' ? new pg.Client(through) : await pool.connect();
      client.on('error', () => undefined);
      if (client instanceof pg.Client) await client.connect().catch(() => undefined);
      await client.query('BEGIN');
      await proxy.stop();
      const waiting = client.query('SELECT 1').catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (scenario === 'end while waiting') await client.end();
      else {
        (client as stock.PoolClient).release(true);
        await pool.end();
      }
      await waiting;
      return;
    }
    default:
      throw new Error(`no scenario ${scenario}`);
  }
}

await run();
console.log('done');
