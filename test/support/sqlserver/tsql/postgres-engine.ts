import pg from 'pg';
import { EngineLoginError, type Engine, type EngineSession } from '../engine.ts';
import { sqlMessage } from './errors.ts';
import { PostgresSession } from './postgres-session.ts';

export interface PostgresEngineOptions {
  readonly host: string;
  readonly port: number;
  readonly serverName: string;
}

/** What a primary needs before its databases look like SQL Server's. To be run once, as a superuser. */
export const SETUP = `
DO $$ BEGIN
  -- PostgreSQL 18 has it by itself.
  CREATE CAST (bigint AS bytea) WITH FUNCTION int8send(bigint);
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
CREATE SCHEMA IF NOT EXISTS sys;
CREATE OR REPLACE VIEW sys.databases AS
SELECT n.name, n.create_date, n.group_database_id, 'DISABLED'::varchar(60) AS delayed_durability_desc
FROM (SELECT current_database()::varchar(128) AS name, timestamp '2020-01-01' AS create_date,
  md5((SELECT system_identifier::text FROM pg_control_system()))::uuid AS group_database_id
  UNION ALL SELECT 'tempdb', pg_postmaster_start_time()::timestamp, NULL) AS n;
CREATE TABLE IF NOT EXISTS sys.replica_list (replica_server_name varchar(256) PRIMARY KEY, read_only_routing_url varchar(256), endpoint_url varchar(256));
CREATE OR REPLACE VIEW sys.availability_groups AS
SELECT md5((SELECT system_identifier::text FROM pg_control_system()))::uuid AS group_id, 'group1'::varchar(128) AS name;
CREATE OR REPLACE VIEW sys.availability_replicas AS
SELECT md5(l.replica_server_name)::uuid AS replica_id, g.group_id, l.replica_server_name, l.read_only_routing_url, l.endpoint_url
FROM sys.replica_list AS l CROSS JOIN sys.availability_groups AS g;
CREATE OR REPLACE VIEW sys.dm_hadr_availability_replica_states AS
SELECT replica_id, 1::smallint AS is_local, (CASE WHEN pg_is_in_recovery() THEN 'SECONDARY' ELSE 'PRIMARY' END)::varchar(60) AS role_desc
FROM sys.availability_replicas WHERE replica_server_name = current_setting('sqlserver.server_name', true);
GRANT USAGE ON SCHEMA sys TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA sys TO PUBLIC;
GRANT SELECT ON sys.databases TO PUBLIC;
GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC;
`;

/** Names of columns as their tables have them, for all nodes: replication carries PostgreSQL's only. */
const casing = new Map<string, string>();

/** The engine of the test server: one node of PostgreSQL, behind the language of SQL Server. */
export class PostgresEngine implements Engine {
  readonly #options: PostgresEngineOptions;
  readonly #sessions = new Set<PostgresSession>();

  constructor(options: PostgresEngineOptions) {
    this.#options = options;
  }

  async open(login: Parameters<Engine['open']>[0]): Promise<EngineSession> {
    const { host, port, serverName } = this.#options;
    const database = login.database === '' ? 'app' : login.database;
    const client = new pg.Client({
      host,
      port,
      user: login.user,
      password: login.password,
      database,
      options: `-c sqlserver.server_name=${serverName}`,
    });
    client.on('error', () => undefined);
    let spid: number;
    try {
      await client.connect();
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      spid = rows[0]!.pid;
    } catch (error) {
      throw new EngineLoginError(refusal(error, login.user, database));
    }
    const session = new PostgresSession(client, { serverName, database, spid }, casing);
    this.#sessions.add(session);
    client.on('end', () => this.#sessions.delete(session));
    return session;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
  }
}

function refusal(error: unknown, user: string, database: string): EngineLoginError['detail'] {
  const { code } = error as { code?: string };
  switch (code) {
    case '28P01':
    case '28000':
      return sqlMessage(18456, `Login failed for user '${user}'.`, 14);
    case '3D000':
      return sqlMessage(
        4060,
        `Cannot open database "${database}" requested by the login. The login failed.`,
        11,
      );
    default:
      return sqlMessage(983, `Unable to access availability database '${database}' (${code ?? 'gone'}).`, 14);
  }
}
