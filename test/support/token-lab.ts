import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { runProbe, type BackendIdentity } from '../../src/pg/probe.ts';
import { tokenText } from '../../src/session/token-key.ts';
import { createTokenObjectsSql, insertTokenSql, putTokenSql } from '../../src/pg/token/token-objects.ts';
import { resolveToken, type TokenInDoubt, type TokenResolution } from '../../src/pg/token/token-resolver.ts';
import type { FailoverLab } from './failover-lab.ts';
import type { PostgresNode } from './postgres-node.ts';
import { sqlRunnerOver } from './sql-runner-over.ts';

/** Needs quotes wherever it is used. */
export const ODD_SCHEMA = `it's "my" \\ $holdfast$ Schema`;

export interface InstallOptions {
  readonly schema?: string;
  readonly roles?: readonly string[];
}

/** Makes the objects as an administrator does, and takes the watermark back, so that tests may give keys of any age. */
export async function installTokens(
  node: PostgresNode,
  { schema = 'holdfast', roles = [] }: InstallOptions = {},
): Promise<void> {
  await node.query(createTokenObjectsSql({ schema, roles }));
  await setWatermark(node, 0, schema);
}

export async function setWatermark(node: PostgresNode, millis: number, schema = 'holdfast'): Promise<void> {
  await node.query(`SELECT setval(format('%I.token_watermark', $1::text)::regclass, $2)`, [schema, millis]);
}

export async function watermarkOf(node: PostgresNode, schema = 'holdfast'): Promise<number> {
  const { rows } = await node.query<{ value: string }>(
    `SELECT pg_sequence_last_value(format('%I.token_watermark', $1::text)::regclass)::text AS value`,
    [schema],
  );
  return Number(rows[0]!.value);
}

/** A key of that time, by default of this machine's, which is the servers' as well. */
export function keyAt(millis = Date.now()): string {
  const key = randomBytes(16);
  key.writeUIntBE(millis, 0, 6);
  key[6] = 0x70 | (key[6]! & 0x0f);
  key[8] = 0x80 | (key[8]! & 0x3f);
  return tokenText(key);
}

/** The row of the token: whether it is a fence; undefined if there is none. */
export async function rowOf(node: PostgresNode, token: string): Promise<boolean | undefined> {
  const { rows } = await node.query<{ fenced: boolean }>(
    'SELECT fenced FROM holdfast.token WHERE token = $1',
    [token],
  );
  return rows[0]?.fenced;
}

/** What the driver sends in front of COMMIT; true if a row was written. */
export async function put(client: pg.ClientBase, token: string, schema = 'holdfast'): Promise<boolean> {
  const { rows } = await client.query<[boolean | null]>({
    text: putTokenSql(schema),
    values: [token],
    rowMode: 'array',
  });
  return rows[0]![0] === true;
}

/** What the driver sends behind a statement that has changed rows; true if a row was written. */
export async function insert(client: pg.ClientBase, token: string, schema = 'holdfast'): Promise<boolean> {
  const { rows } = await client.query<[boolean]>({
    text: insertTokenSql(schema),
    values: [token, Number.parseInt(token.replace('-', '').slice(0, 12), 16)],
    rowMode: 'array',
  });
  return rows[0]?.[0] === true;
}

/** The backend of a client, as the driver knows it. */
export async function backendOf(client: pg.Client): Promise<BackendIdentity> {
  return (await runProbe(sqlRunnerOver(client))).backend!;
}

/** Asks on a connection of its own, as the driver does. */
export async function resolve(
  lab: FailoverLab,
  token: string,
  {
    millis = 10_000,
    config = {},
    ...change
  }: Partial<TokenInDoubt> & { readonly millis?: number; readonly config?: pg.ClientConfig } = {},
): Promise<TokenResolution> {
  return await resolveToken({
    runner: sqlRunnerOver(await lab.stock(config)),
    schema: 'holdfast',
    token,
    backend: null,
    signal: AbortSignal.timeout(millis),
    ...change,
  });
}
