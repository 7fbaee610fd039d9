import pg from 'pg';
import { checkSession, takeBaseline } from '../../src/pg/session-check.ts';
import { restoreSession, type RestoreResult } from '../../src/pg/session-restore.ts';
import type { SessionSnapshot } from '../../src/pg/session-snapshot.ts';
import { PostgresCluster } from './postgres-cluster.ts';
import { sqlRunnerOver } from './sql-runner-over.ts';

/** What became of a session that was taken from one connection to another one. */
export interface MovedSession {
  readonly old: pg.Client;
  readonly fresh: pg.Client;
  readonly snapshot: SessionSnapshot;
  readonly result: RestoreResult;
  /** Hidden statements that the restore cost. */
  readonly statements: readonly string[];
}

export interface MoveOptions {
  readonly config?: pg.ClientConfig;
  /** Custom settings to ask for. Default `app.tenant`, `app.note`, `app.never`. */
  readonly custom?: readonly string[];
  /** Runs as superuser after the old session was read and before the new connection is dialled. */
  readonly meanwhile?: string;
}

/** One server with roles, a table under row-level security and functions that touch session state. */
export class SessionLab {
  readonly cluster: PostgresCluster;
  readonly #clients: pg.Client[] = [];

  private constructor(cluster: PostgresCluster) {
    this.cluster = cluster;
  }

  static async start(version: string): Promise<SessionLab> {
    const cluster = await PostgresCluster.start({ version, standbys: 0 });
    await cluster.primary.query(SET_UP);
    return new SessionLab(cluster);
  }

  /** Ends the clients of one test; the server goes on. */
  async hangUp(): Promise<void> {
    await Promise.all(
      this.#clients.splice(0).map(async (client) => {
        await client.end();
      }),
    );
  }

  async stop(): Promise<void> {
    await this.hangUp();
    await this.cluster.stop();
  }

  get superuser(): pg.ClientConfig {
    return this.cluster.primary.superuserConfig();
  }

  async dial(config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client(this.cluster.primary.connectionConfig(config));
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** Runs `statements` on one connection, each as a string of its own, and restores the session on another one. */
  async move(statements: readonly string[], options: MoveOptions = {}): Promise<MovedSession> {
    const { config = {}, custom = ['app.tenant', 'app.note', 'app.never'], meanwhile } = options;
    const old = await this.dial(config);
    for (const sql of statements) await old.query(sql);
    const snapshot = await checkSession(sqlRunnerOver(old), custom);
    if (meanwhile !== undefined) await this.cluster.primary.query(meanwhile);
    const fresh = await this.dial(config);
    const baseline = await takeBaseline(sqlRunnerOver(fresh), custom);
    const runner = sqlRunnerOver(fresh);
    const result = await restoreSession(runner, snapshot, baseline);
    return { old, fresh, snapshot, result, statements: runner.statements };
  }
}

/** The first value of the first row. */
export async function valueOf(client: pg.Client, sql: string): Promise<unknown> {
  const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
  return rows[0]?.[0];
}

const SET_UP = `
  CREATE ROLE tenant_a; CREATE ROLE "we Ird ""x"; CREATE ROLE powerless; CREATE ROLE other LOGIN;
  GRANT tenant_a, "we Ird ""x", powerless TO app;
  CREATE SCHEMA "my schema";
  CREATE TABLE public.account (id int, tenant text);
  INSERT INTO public.account VALUES (1, 'a'), (2, 'b');
  GRANT SELECT, INSERT ON public.account TO app;
  ALTER TABLE public.account ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON public.account USING (coalesce(current_setting('app.tenant', true), '') IN ('', tenant));
  CREATE FUNCTION public.login(who text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('app.tenant', who, false); END $$;
  CREATE FUNCTION public.audit_on() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN PERFORM set_config('log_min_duration_statement', '7', false); END $$;
  CREATE FUNCTION public.hold_lock() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(7); END $$`;
