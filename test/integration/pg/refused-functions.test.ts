import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { FeatureUnavailable } from '../../../src/events.ts';
import { Client, type ClientConfig } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { WatchedEvents } from '../../support/watched-events.ts';

/** Every function of PostgreSQL that the driver names in what it sends of its own. */
const CALLED: readonly string[] = ((): string[] => {
  const source = fileURLToPath(new URL('../../../src/pg', import.meta.url));
  const names = new Set<string>();
  for (const file of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(source, file), 'utf8');
    for (const [, name] of text.matchAll(/pg_catalog\.([a-z_0-9]+)\(/g)) names.add(name!);
  }
  return [...names].sort();
})();

/** Without these nobody can tell a primary from a standby, or what names mean: connecting fails with the server's error. */
const NEEDED = ['current_database', 'current_setting', 'pg_is_in_recovery'];

/** Features in the words of the event. */
const MARKS = 'resolving a COMMIT in flight by the log position';
const QUESTIONS = 'judging statements and reading sessions back';

const STATE_UNKNOWN = /session state unknown/;
const NOT_SET_AGAIN = /refuses to set again/;
const NOT_ENDED = /old server process could not be ended/;

interface Lack {
  /** Without which functions. */
  readonly names: string;
  /** Features that are off: one event each. */
  readonly off: readonly string[];
  /** Why a transaction is not replayed in which nothing else is in the way. */
  readonly refusal?: RegExp;
}

/** Every other function is missed by nobody here. */
const LACKS: readonly Lack[] = [
  {
    names:
      'concat_ws has_function_privilege pg_control_checkpoint pg_control_recovery pg_control_system pg_current_wal_insert_lsn ' +
      'pg_current_wal_lsn pg_current_xact_id_if_assigned pg_last_wal_receive_lsn pg_last_wal_replay_lsn ' +
      'pg_logical_emit_message pg_postmaster_start_time pg_stat_get_wal_receiver pg_walfile_name to_regprocedure',
    off: [MARKS],
  },
  { names: 'pg_stat_get_activity', off: [MARKS], refusal: NOT_ENDED },
  { names: 'pg_backend_pid', off: [MARKS, QUESTIONS], refusal: NOT_ENDED },
  { names: 'getdatabaseencoding pg_partition_ancestors string_to_array substr', off: [QUESTIONS] },
  {
    names:
      'array_to_string concat convert_from convert_to decode encode json_agg json_array_elements_text json_build_array ' +
      'pg_get_expr pg_get_function_sqlbody pg_get_viewdef pg_identify_object pg_listening_channels pg_my_temp_schema ' +
      'pg_show_all_settings set_config split_part strpos unnest',
    off: [QUESTIONS],
    refusal: STATE_UNKNOWN,
  },
  { names: 'count', off: [QUESTIONS], refusal: NOT_SET_AGAIN },
  { names: 'json_array_elements', off: [], refusal: NOT_SET_AGAIN },
];

describe('a server refuses functions that the driver uses (D1)', () => {
  const lab = FailoverLab.forThisSuite();
  let refused: string | null = null;
  const open: Client[] = [];

  /** Takes them from everybody. False if they never were everybody's. */
  async function refuse(names: readonly string[]): Promise<boolean> {
    const { rows } = await lab.primary.query<{ list: string | null }>(
      `SELECT string_agg('pg_catalog.' || f.oid::regprocedure, ', ') AS list FROM pg_proc f
       WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.proname = ANY ($1)
         AND has_function_privilege('app', f.oid, 'EXECUTE')`,
      [names],
    );
    refused = rows[0]!.list;
    if (refused === null) return false;
    await lab.primary.query(`REVOKE EXECUTE ON FUNCTION ${refused} FROM PUBLIC`);
    return true;
  }

  afterEach(async () => {
    for (const client of open.splice(0)) await client.end().catch(() => undefined);
    if (refused !== null) await lab.primary.query(`GRANT EXECUTE ON FUNCTION ${refused} TO PUBLIC`);
    refused = null;
  });

  interface Application {
    readonly client: Client & { readonly seen: WatchedEvents };
    readonly told: FeatureUnavailable[];
  }

  /** On a cluster of its own: what the driver has told once it does not tell again. */
  async function connect(config: ClientConfig = {}): Promise<Application> {
    const hosts = lab.proxies.map(({ host, port }) => ({ host, port }));
    const client = new Client({
      connectionString: lab.connectionString(),
      failover: { provider: { discover: () => Promise.resolve({ hosts }) }, timeoutMillis: 10_000 },
      ...config,
    });
    const told: FeatureUnavailable[] = [];
    client.failover!.on('featureUnavailable', (event) => told.push(event));
    open.push(client);
    const watched = Object.assign(client, { seen: new WatchedEvents(client) });
    await client.connect();
    return { client: watched, told };
  }

  /** What an application does, each way of the protocol; `name` is in all its rows. */
  async function work(client: Client, name: string): Promise<void> {
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('${name} simple')`);
    await client.query('SAVEPOINT one');
    expect(await rejectionOf(client.query('SELECT 1/0'))).toMatchObject({ code: '22012' });
    await client.query('ROLLBACK TO one');
    await client.query('INSERT INTO note VALUES ($1)', [`${name} extended`]);
    await client.query('COMMIT');
    await Promise.all([
      client.query('BEGIN'),
      client.query({ name: 'note', text: 'INSERT INTO note VALUES ($1)', values: [`${name} in line`] }),
      client.query('COMMIT'),
    ]);
    await client.query(`BEGIN; INSERT INTO note VALUES ('${name} string'); COMMIT`);
    await client.query(`SET statement_timeout = '45s'`);
    await client.query('DO $$BEGIN INSERT INTO note VALUES (NULL); END$$');
    await client.query('INSERT INTO note VALUES ($1)', [`${name} alone`]);
  }

  const DONE = ['alone', 'extended', 'in line', 'simple', 'string'];

  async function written(name: string): Promise<string[]> {
    const { rows } = await lab.primary.query<{ text: string }>(
      `SELECT substr(text, length($1) + 2) AS text FROM note WHERE starts_with(text, $1) ORDER BY text`,
      [name],
    );
    return rows.map(({ text }) => text);
  }

  /** A transaction around the loss: it takes effect as a whole, or not at all and the error says so. */
  async function lose(client: Client, name: string, loss: () => Promise<void>): Promise<string | null> {
    const attempt = async (): Promise<void> => {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', [`${name} 1`]);
      await loss();
      await client.query('INSERT INTO note VALUES ($1)', [`${name} 2`]);
      await client.query('COMMIT');
    };
    const { error } = await settle(attempt());
    expect(await written(name)).toEqual(error === undefined ? ['1', '2'] : []);
    if (error === undefined) return null;
    expect(error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    return error.message;
  }

  const cut = (): Promise<void> => {
    lab.proxy.cut();
    return Promise.resolve();
  };

  it.each(CALLED)('%s', async (name) => {
    // Reading the server's files is for superusers in any case.
    expect(await refuse([name])).toBe(name !== 'pg_read_file');
    if (NEEDED.includes(name)) {
      expect(await rejectionOf(connect())).toMatchObject({ code: '42501' });
      return;
    }
    const { client, told } = await connect();
    await work(client, 'before');
    expect(await written('before')).toEqual(DONE);
    const lack: Lack | undefined = LACKS.find(({ names }) => names.split(' ').includes(name));
    const refusal = await lose(client, 'lost', cut);
    if (lack?.refusal === undefined) expect(refusal).toBeNull();
    else expect(refusal).toMatch(lack.refusal);
    const next = refusal === null ? client : (await connect()).client;
    await work(next, 'after');
    expect(await written('after')).toEqual(DONE);
    if (refusal === null) expect(client.seen.isQuiet).toBe(true);
    expect(told.map(({ feature }) => feature).sort()).toEqual([...(lack?.off ?? [])].sort());
  });

  it('all of them together, and the primary is lost', async () => {
    await refuse(CALLED.filter((name) => !NEEDED.includes(name)));
    const { client, told } = await connect();
    await work(client, 'before');
    expect(await written('before')).toEqual(DONE);
    await lose(client, 'lost', async () => {
      await lab.replacePrimary();
    });
    const next = await connect();
    await work(next.client, 'after');
    expect(await written('after')).toEqual(DONE);
    // Once a host and feature.
    const keys = told.map(({ host, feature }) => `${host} ${feature}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).toContain(`127.0.0.1:${String(lab.proxies[0]!.port)} ${MARKS}`);
  });

  it.each([
    ['pg_logical_emit_message', {}],
    ['pg_current_xact_id_if_assigned', {}],
    ['pg_logical_emit_message', { pipeline: true }],
  ])('%s from now on: a session that has used it goes on as well (%o)', async (name, config) => {
    const { client, told } = await connect(config);
    await work(client, 'before');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('open')`);
    await refuse([name]);
    await client.query('COMMIT');
    await work(client, 'after');
    expect(await written('before')).toEqual(DONE);
    expect(await written('after')).toEqual(DONE);
    expect(await written('open')).toEqual(['']);
    expect(told.map(({ feature }) => feature)).toEqual([MARKS]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
