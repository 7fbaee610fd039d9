import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { takeBaseline } from '../../../src/pg/session-check.ts';
import { isPristine } from '../../../src/pg/session-snapshot.ts';
import { SessionLab, valueOf } from '../../support/session-lab.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';

const RESTORED = { kind: 'restored' };

/** One statement that sets it; what to ask to see it. */
const RESTORABLE: readonly (readonly [setting: string, query: string])[] = [
  [`SET search_path TO "$user", public, "my schema"`, 'SHOW search_path'],
  [`SET search_path TO ''`, 'SHOW search_path'],
  [`SET SESSION TIME ZONE -3`, 'SHOW TimeZone'],
  [`SET TIME ZONE INTERVAL '-03:30' HOUR TO MINUTE`, 'SHOW TimeZone'],
  [`SET TimeZone TO '<+03>-03'`, 'SHOW TimeZone'],
  [`SET TimeZone TO 'Europe/Berlin'`, 'SHOW TimeZone'],
  [`SET DateStyle TO 'ISO, DMY'`, 'SHOW DateStyle'],
  [`SET DateStyle TO 'German'`, 'SHOW DateStyle'],
  [`SET IntervalStyle TO 'iso_8601'`, 'SHOW IntervalStyle'],
  [`SET bytea_output TO 'escape'`, 'SHOW bytea_output'],
  [`SET extra_float_digits TO 0`, 'SHOW extra_float_digits'],
  [`SET client_encoding TO 'LATIN1'`, 'SHOW client_encoding'],
  [`SET work_mem TO '4097kB'`, 'SHOW work_mem'],
  [`SET statement_timeout TO '90s'`, 'SHOW statement_timeout'],
  [`SET random_page_cost TO 1.25`, 'SHOW random_page_cost'],
  [`SET application_name TO 'ünï "x" \\ y'`, 'SHOW application_name'],
  [`SET standard_conforming_strings TO off`, 'SHOW standard_conforming_strings'],
  [`SET temp_tablespaces TO ''`, 'SHOW temp_tablespaces'],
  [`SET default_transaction_read_only TO on`, 'SHOW default_transaction_read_only'],
  [`SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE`, 'SHOW transaction_isolation'],
  [
    `SET app.note TO 'ünï "q" ''x'' \\ € line
feed'`,
    'SHOW app.note',
  ],
  [`SELECT set_config('app.note', repeat('long ', 20000), false)`, 'SHOW app.note'],
  [`SELECT set_config('app.note', '', false)`, `SELECT current_setting('app.note', true) = ''`],
  [`SET ROLE tenant_a`, 'SELECT current_user'],
  [`SET ROLE "we Ird ""x"`, 'SELECT current_user'],
  [`LISTEN "a ""b"" ü; DROP"`, 'SELECT pg_listening_channels()'],
  [`PREPARE "p "" q" (int) AS SELECT $1 + 1 -- remark`, `EXECUTE "p "" q" (41)`],
];

describe.each(['14', '15', '17', '18'])('a moved session of PostgreSQL %s', (version) => {
  let lab: SessionLab;
  beforeAll(async () => {
    lab = await SessionLab.start(version);
  });
  afterEach(async () => {
    await lab.hangUp();
  });
  afterAll(async () => {
    await lab.stop();
  });

  it.each(RESTORABLE)('has again what was made by %s', async (setting, query) => {
    const { old, fresh, result, statements } = await lab.move([setting]);
    expect(result).toEqual(RESTORED);
    expect(await valueOf(fresh, query)).toEqual(await valueOf(old, query));
    expect(statements.length).toBeLessThanOrEqual(3);
  });

  it('has everything at once, in two round trips, and RESET goes back to what the connection came with', async () => {
    const config = { application_name: 'from startup', options: '-c work_mem=3MB' };
    const { fresh, snapshot, result, statements } = await lab.move(
      [`SET work_mem TO '5MB'`, `SET application_name TO 'x'`, `SELECT login('a')`, `SET ROLE tenant_a`],
      { config },
    );
    expect([...snapshot.settings]).toEqual([
      ['application_name', 'x'],
      ['work_mem', '5MB'],
    ]);
    expect(result).toEqual(RESTORED);
    expect(statements).toHaveLength(2);
    await fresh.query('RESET ALL; RESET ROLE');
    expect(await valueOf(fresh, 'SHOW work_mem')).toBe('3MB');
    expect(await valueOf(fresh, 'SHOW application_name')).toBe('from startup');
    expect(await valueOf(fresh, 'SELECT current_user')).toBe('app');
  });

  it('costs nothing if nothing was touched, or all of it was undone', async () => {
    const config = { application_name: 'a', options: '-c statement_timeout=77s' };
    const { snapshot, result, statements } = await lab.move(
      [
        'BEGIN',
        'SET LOCAL work_mem TO 64',
        'SET jit TO off',
        'ROLLBACK',
        'SET jit TO off',
        'RESET jit',
        'LISTEN x',
        'UNLISTEN *',
      ],
      { config },
    );
    expect(result).toEqual(RESTORED);
    expect(statements).toHaveLength(0);
    const other = await lab.dial(config);
    const baseline = await takeBaseline(sqlRunnerOver(other), []);
    expect(isPristine(snapshot, baseline)).toBe(true);
  });

  it('never takes the characteristics of a transaction for settings of the session', async () => {
    const { snapshot, result } = await lab.move([
      'SET transaction_isolation TO serializable',
      'SET transaction_read_only TO on',
      'SET transaction_deferrable TO on',
    ]);
    expect([...snapshot.settings.keys()]).toEqual([]);
    expect(result).toEqual(RESTORED);
  });

  it('has the role that was chosen, also where each connection starts with another one', async () => {
    const config = { options: '-c role=tenant_a' };
    const none = await lab.move(['SET ROLE none'], { config });
    expect(none.result).toEqual(RESTORED);
    expect(await valueOf(none.fresh, 'SELECT current_user')).toBe('app');
    const reset = await lab.move(['SET ROLE powerless', 'RESET ROLE'], { config });
    expect(reset.statements).toHaveLength(0);
    expect(await valueOf(reset.fresh, 'SELECT current_user')).toBe('tenant_a');
  });

  it('has session user, role and settings that needed rights given up since', async () => {
    const statements = [
      `SET log_min_duration_statement TO '1h'`,
      'SET SESSION AUTHORIZATION app',
      'SET ROLE tenant_a',
      'SET search_path TO public',
    ];
    const { fresh, result } = await lab.move(statements, { config: lab.superuser });
    expect(result).toEqual(RESTORED);
    expect(await valueOf(fresh, 'SELECT session_user')).toBe('app');
    expect(await valueOf(fresh, 'SELECT current_user')).toBe('tenant_a');
    expect(await valueOf(fresh, 'SHOW log_min_duration_statement')).toBe('1h');
  });

  it('has settings that only the role may set', async () => {
    const meanwhile = 'GRANT boss TO app';
    await lab.cluster.primary.query(`CREATE ROLE boss SUPERUSER; ${meanwhile}`);
    const { fresh, result } = await lab.move(['SET ROLE boss', `SET log_min_duration_statement TO '1h'`]);
    expect(result).toEqual(RESTORED);
    expect(await valueOf(fresh, 'SHOW log_min_duration_statement')).toBe('1h');
    await lab.cluster.primary.query('DROP ROLE boss');
  });

  it('has settings that the server hides from the chosen role', async () => {
    const { fresh, result } = await lab.move(
      [`SET dynamic_library_path TO '$libdir:/nowhere'`, 'SET ROLE tenant_a'],
      {
        config: lab.superuser,
      },
    );
    expect(result).toEqual(RESTORED);
    await fresh.query('RESET ROLE');
    expect(await valueOf(fresh, 'SHOW dynamic_library_path')).toBe('$libdir:/nowhere');
  });

  it('has the value of a library that only the old connection had loaded', async () => {
    const { fresh, snapshot, result } = await lab.move([
      `SELECT login('a')`,
      `SET plpgsql.extra_warnings TO 'shadowed_variables'`,
    ]);
    expect(snapshot.settings.get('plpgsql.extra_warnings')).toBe('shadowed_variables');
    expect(result).toEqual(RESTORED);
    await fresh.query(`SELECT login('a')`);
    expect(await valueOf(fresh, 'SHOW plpgsql.extra_warnings')).toBe('shadowed_variables');
  });

  it.runIf(Number(version) >= 17)(
    'has no setting that a login trigger gives to new connections',
    async () => {
      const { fresh, result } = await lab.move(['SELECT 1'], {
        meanwhile: `
        CREATE FUNCTION public.on_login() RETURNS event_trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$;
        CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION public.on_login()`,
      });
      expect(result).toEqual(RESTORED);
      expect(await valueOf(fresh, 'SHOW work_mem')).toBe('4MB');
      await lab.cluster.primary.query('DROP EVENT TRIGGER on_login');
    },
  );
});
