import type { ClientBase } from 'pg';
import type { PostgresNode } from '../support/postgres-node.ts';

/** What one client does again and again. */
export interface Workload<Client = ClientBase> {
  readonly name: string;
  readonly clients: number;
  /** One operation, whose time counts. */
  run(client: Client): Promise<void>;
}

const BRANCHES = 10;
const TELLERS = BRANCHES * 10;
const ACCOUNTS = BRANCHES * 10_000;

/** The tables of pgbench, with fewer accounts: all of it stays in memory. */
export async function createTables(node: PostgresNode): Promise<void> {
  await node.query(`
    CREATE TABLE branches (bid int PRIMARY KEY, bbalance int NOT NULL, filler char(88)) WITH (fillfactor = 50);
    CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int NOT NULL, filler char(84)) WITH (fillfactor = 50);
    CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int NOT NULL, filler char(84)) WITH (fillfactor = 80);
    CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
    INSERT INTO branches SELECT bid, 0, '' FROM generate_series(1, ${BRANCHES}) AS bid;
    INSERT INTO tellers SELECT tid, (tid - 1) / 10 + 1, 0, '' FROM generate_series(1, ${TELLERS}) AS tid;
    INSERT INTO accounts SELECT aid, (aid - 1) / 10000 + 1, 0, '' FROM generate_series(1, ${ACCOUNTS}) AS aid;
    CREATE TABLE audited (text text);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SELECT 1'; RETURN NULL; END$$;
    CREATE TRIGGER audit AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION audit();
    GRANT ALL ON branches, tellers, accounts, history, audited TO app`);
  // Not in the string above: VACUUM runs in no transaction.
  await node.query('VACUUM ANALYZE');
}

/** The transaction of TPC-B as pgbench has it: seven statements, with parameters. */
export async function transferMoney(client: ClientBase): Promise<void> {
  const bid = upTo(BRANCHES);
  const tid = upTo(TELLERS);
  const aid = upTo(ACCOUNTS);
  const delta = upTo(10_001) - 5_001;
  await client.query('BEGIN');
  await client.query('UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2', [delta, aid]);
  await client.query('SELECT abalance FROM accounts WHERE aid = $1', [aid]);
  await client.query('UPDATE tellers SET tbalance = tbalance + $1 WHERE tid = $2', [delta, tid]);
  await client.query('UPDATE branches SET bbalance = bbalance + $1 WHERE bid = $2', [delta, bid]);
  await client.query(
    'INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)',
    [tid, bid, aid, delta],
  );
  await client.query('COMMIT');
}

async function readBalance(client: ClientBase): Promise<void> {
  await client.query('SELECT abalance FROM accounts WHERE aid = $1', [upTo(ACCOUNTS)]);
}

/** Outside of a transaction: the statement is one. */
async function insertHistory(client: ClientBase): Promise<void> {
  await client.query(
    'INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)',
    [upTo(TELLERS), upTo(BRANCHES), upTo(ACCOUNTS), 1],
  );
}

async function updateBalance(client: ClientBase): Promise<void> {
  await client.query('UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2', [1, upTo(ACCOUNTS)]);
}

/** Behind a trigger that nobody sees through the session's state is read back (decision 0005): one more round trip. */
async function insertAudited(client: ClientBase): Promise<void> {
  await client.query('BEGIN');
  await client.query('INSERT INTO audited VALUES ($1)', ['text']);
  await client.query('COMMIT');
}

export const WORKLOADS: readonly Workload[] = [
  { name: 'tpcb 1', clients: 1, run: transferMoney },
  { name: 'tpcb 8', clients: 8, run: transferMoney },
  { name: 'select 1', clients: 1, run: readBalance },
  { name: 'select 8', clients: 8, run: readBalance },
  { name: 'trigger 1', clients: 1, run: insertAudited },
];

const ONE_AND_EIGHT = [1, 8] as const;

/** For the comparison of the modes: what commits something, and what does not. */
export const MODE_WORKLOADS: readonly Workload[] = [
  { name: 'tpcb', run: transferMoney },
  { name: 'insert', run: insertHistory },
  { name: 'update', run: updateBalance },
  { name: 'select', run: readBalance },
].flatMap(({ name, run }) => ONE_AND_EIGHT.map((clients) => ({ name: `${name} ${clients}`, clients, run })));

function upTo(count: number): number {
  return 1 + Math.floor(Math.random() * count);
}
