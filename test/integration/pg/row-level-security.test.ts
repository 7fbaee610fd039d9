import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';

const TENANTS = ['a', 'b', 'c', 'd'];
const ALL = 'SELECT tenant FROM account';

const SET_UP = `
  CREATE TABLE account (id int PRIMARY KEY, tenant text NOT NULL);
  INSERT INTO account SELECT n, (ARRAY['a', 'b', 'c', 'd'])[n % 4 + 1] FROM generate_series(1, 40) AS n;
  ALTER TABLE account ENABLE ROW LEVEL SECURITY;
  -- Without a tenant, or with the one that new connections have, there are rows all the same: the worst case.
  CREATE POLICY own ON account USING (tenant = coalesce(nullif(current_setting('app.tenant', true), ''), 'a'));
  GRANT SELECT, INSERT, UPDATE, DELETE ON account TO app;
  CREATE FUNCTION login(who text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('app.tenant', who, false); END $$;
  CREATE FUNCTION login_by_name(setting text, who text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config(setting, who, false); END $$;
  CREATE TABLE visit (who text); GRANT INSERT ON visit TO app;
  CREATE FUNCTION login_by_trigger() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('app.tenant', NEW.who, false); RETURN NEW; END $$;
  CREATE TRIGGER login BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION login_by_trigger()`;

const LOGINS: readonly (readonly [string, string])[] = [
  ['a function', 'SELECT login($1)'],
  ['a function that is told the name of the setting', `SELECT login_by_name('app.tenant', $1)`],
  ['a trigger', 'INSERT INTO visit VALUES ($1)'],
  ['a statement', `SELECT set_config('app.tenant', $1, false)`],
];

/** R8, A8: a session restored without a setting would show one tenant the rows of another. */
describe.each(LOGINS)('a tenant is set by %s, under row-level security', (_how, login) => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });
  beforeAll(async () => {
    await lab.primary.withClient(async (superuser) => {
      await superuser.query(SET_UP);
    });
  });

  /**
   * Whoever answers at all answers with the tenant's own rows. Returns how often that was.
   *
   * @param before is told how many statements of the round came before the one that is about to be sent
   */
  async function visits(
    rounds: number,
    before: (round: number, statements: number) => void,
  ): Promise<number> {
    const pool = lab.pool({ max: TENANTS.length });
    let answered = 0;
    for (let round = 0; round < rounds; round++) {
      let statements = 0;
      const clients = await Promise.all(TENANTS.map(() => pool.connect()));
      await Promise.all(
        clients.map(async (client, index) => {
          client.on('error', () => undefined); // It may be refused, R8.
          const tenant = TENANTS[index]!;
          before(round, statements++);
          const { error } = await settle(client.query(login, [tenant]));
          for (let read = 0; read < 5 && error === undefined; read++) {
            before(round, statements++);
            const outcome = await settle(client.query<{ tenant: string }>(ALL));
            if (outcome.error !== undefined) break;
            answered++;
            expect(outcome.value!.rows).toHaveLength(10);
            expect(new Set(outcome.value!.rows.map((row) => row.tenant))).toEqual(new Set([tenant]));
          }
          client.release(true);
        }),
      );
    }
    return answered;
  }

  it('no row of another tenant is ever seen, whichever statement the connection is lost at', async () => {
    const answered = await visits(24, (round, statements) => {
      if (statements === round) lab.proxy.cut();
    });
    expect(answered).toBeGreaterThan(24);
  });

  it('nor when the primary is replaced', async () => {
    let replaced = Promise.resolve();
    const answered = await visits(3, (round, statements) => {
      if (round === 1 && statements === 8) replaced = lab.replacePrimary();
    });
    await replaced;
    expect(answered).toBeGreaterThan(2 * 4 * 5);
  });
});
