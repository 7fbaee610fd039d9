import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SessionLab, valueOf } from '../../support/session-lab.ts';

interface Setting {
  readonly name: string;
  readonly vartype: string;
  readonly current: string;
  readonly enumvals: string[] | null;
  readonly min_val: string | null;
  readonly max_val: string | null;
}

/** Of the transaction, not of the session: never restored. */
const OF_TRANSACTION = ['transaction_isolation', 'transaction_read_only', 'transaction_deferrable'];

/**
 * Restoring by value rests on this: what current_setting gives, set_config takes, and it means the same. pg_settings
 * shows it to the unit, so it is compared too.
 */
describe.each(['14', '15', '16', '17', '18'])(
  'every setting of PostgreSQL %s that a session can make',
  (version) => {
    let lab: SessionLab;
    beforeAll(async () => {
      lab = await SessionLab.start(version);
    });
    afterAll(async () => {
      await lab.stop();
    });

    it('means the same when set again to what it shows', async () => {
      const client = await lab.dial(lab.superuser);
      const { rows } = await client.query<Setting>(
        `
      SELECT name, vartype, current_setting(name) AS current, enumvals, min_val, max_val
      FROM pg_settings WHERE context IN ('user', 'superuser') AND name <> ALL ($1) ORDER BY name`,
        [OF_TRANSACTION],
      );
      expect(rows.length).toBeGreaterThan(170);
      const unlike: unknown[] = [];
      let compared = 0;
      for (const setting of rows) {
        for (const value of valuesOf(setting)) {
          const set = await make(client, setting.name, value);
          if (set === null && value !== setting.current) continue;
          await client.query(`SELECT set_config($1, NULL, false)`, [setting.name]);
          const again = await make(client, setting.name, set?.shown ?? '');
          if (again?.shown !== set?.shown || again?.exact !== set?.exact)
            unlike.push([setting.name, value, set, again]);
          compared++;
          await client.query(`SELECT set_config($1, NULL, false)`, [setting.name]);
        }
      }
      expect(unlike).toEqual([]);
      // Few of the values tried may be refused (a lower limit that depends on the machine), or nothing is shown.
      expect(compared).toBeGreaterThan(rows.length * 1.5);
      expect(await valueOf(client, `SELECT count(*) FROM pg_settings WHERE source = 'session'`)).toBe('0');
    });
  },
);

async function make(
  client: pg.Client,
  name: string,
  value: string,
): Promise<{ shown: string; exact: string } | null> {
  try {
    await client.query('SELECT set_config($1, $2, false)', [name, value]);
  } catch {
    return null;
  }
  const { rows } = await client.query<{ shown: string; exact: string }>(
    'SELECT current_setting(name) AS shown, setting AS exact FROM pg_settings WHERE name = $1',
    [name],
  );
  return rows[0] ?? null;
}

/** The present value and some others, among them such as are shown with and without a unit. */
function valuesOf({ name, vartype, current, enumvals, min_val, max_val }: Setting): Set<string> {
  const numbers = (candidates: readonly number[]): string[] =>
    candidates.filter((number) => number >= Number(min_val) && number <= Number(max_val)).map(String);
  switch (vartype) {
    case 'bool':
      return new Set([current, 'on', 'off']);
    case 'enum':
      return new Set([current, ...(enumvals ?? [])]);
    case 'integer':
      // Small ones would end the session or the statement; they are numbers like any other.
      if (name.endsWith('_timeout')) return new Set([current, '61001', '1h']);
      return new Set([current, ...numbers([Number(min_val), Number(max_val), 61_001, 65_536])]);
    case 'real':
      return new Set([current, ...numbers([Number(min_val), Number(max_val), 0.012_345_678, 1.5, 61_001])]);
    default:
      return new Set([current, '']);
  }
}
