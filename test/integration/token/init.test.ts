import { describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { insert, keyAt, ODD_SCHEMA, put } from '../../support/token-lab.ts';

describe.each(['15', '18'])('npx holdfast init on PostgreSQL %s', (version) => {
  const lab = FailoverLab.forThisSuite({ version, standbys: 0, tokens: false });

  async function init(...options: string[]): Promise<{ code: number; out: string; err: string }> {
    const { host, port } = lab.primary;
    const url = `postgres://postgres:secret@${host}:${port}/app`;
    let [out, err] = ['', ''];
    const output = {
      out: (text: string) => (out += `${text}\n`),
      err: (text: string) => (err += `${text}\n`),
    };
    const needsUrl = options.includes('--apply') || options.includes('--check');
    const code = await runCli(['init', ...options, ...(needsUrl ? ['--url', url] : [])], output);
    expect(out + err).not.toContain('secret');
    return { code, out, err };
  }

  const fine = { code: 0, out: 'Everything is there.\n', err: '' };
  const sql = async (text: string): Promise<unknown> => await lab.primary.query(text);

  it('applies and checks, any number of times, in any schema, for everybody or for some', async () => {
    expect(await init('--check')).toMatchObject({
      code: 1,
      err: expect.stringContaining('the schema "holdfast" does not exist'),
    });
    for (const options of [[], ['--schema', ODD_SCHEMA], ['--schema', 'tight', '--role', 'app']]) {
      for (let round = 0; round < 2; round += 1)
        expect(await init('--apply', ...options)).toEqual({
          code: 0,
          out: 'The objects are there.\n',
          err: '',
        });
      expect(await init('--check', ...options)).toEqual(fine);
    }
    // Several processes that start together.
    const codes = await Promise.all(
      [1, 2, 3].map(async () => (await init('--apply', '--schema', 'at_once')).code),
    );
    expect(codes).toEqual([0, 0, 0]);
  });

  it('what it prints is what it applies', async () => {
    await sql((await init('--schema', 'printed')).out);
    expect(await init('--check', '--schema', 'printed')).toEqual(fine);
    await sql((await init('--schema', 'printed', '--drop')).out);
    expect((await init('--check', '--schema', 'printed')).code).toBe(1);
  });

  it('an application has the rights it needs, also below SET ROLE, and no others', async () => {
    await init('--apply', '--schema', 'tight', '--role', 'app');
    await sql(
      `CREATE ROLE stranger LOGIN PASSWORD 'x'; CREATE ROLE tenant; GRANT tenant TO app; GRANT ALL ON note TO PUBLIC`,
    );
    const app = await lab.stock();
    const { rows } = await lab.primary.query(`SELECT last_value + 1 AS millis FROM tight.token_watermark`);
    await app.query('BEGIN; SET LOCAL ROLE tenant');
    await app.query(`INSERT INTO note VALUES ('a')`);
    expect(await put(app, keyAt(Number(rows[0].millis)), 'tight')).toBe(true);
    expect(await insert(app, keyAt(Number(rows[0].millis)), 'tight')).toBe(true);
    await app.query('COMMIT');
    for (const text of [
      'TABLE tight.token',
      'TABLE tight.new_token',
      `INSERT INTO tight.new_token (token, fenced) VALUES ('${keyAt()}', true)`,
      `DELETE FROM tight.token`,
      `SELECT setval('tight.token_watermark', 1)`,
    ])
      await expect(app.query(text)).rejects.toMatchObject({ code: '42501' });
    const stranger = await lab.stock({ user: 'stranger', password: 'x' });
    for (const text of [`resolve_token('${keyAt()}')`, 'purge_tokens(60000, 1)'])
      await expect(stranger.query(`SELECT tight.${text}`)).rejects.toMatchObject({ code: '42501' });
    expect((await init('--check', '--schema', 'tight', '--role', 'stranger')).err).toContain(
      'stranger may not execute resolve_token(uuid)',
    );
    await stranger.query('SET search_path = pg_temp');
    await stranger.query('BEGIN READ ONLY');
    expect(await put(stranger, keyAt(), 'tight')).toBe(false);
  });

  it.each([
    ['ALTER TABLE holdfast.token SET UNLOGGED', 'the table token is not logged'],
    ['ALTER TABLE holdfast.token ADD COLUMN x int', 'the table token has other columns'],
    [
      'ALTER TABLE holdfast.token DROP CONSTRAINT token_pkey',
      'the table token has other columns, or another key',
    ],
    ['DROP SEQUENCE holdfast.token_watermark', 'the sequence token_watermark does not exist'],
    [
      'ALTER FUNCTION holdfast.put_token(uuid) SECURITY INVOKER',
      'the function put_token(uuid) is not as this version',
    ],
    [
      'ALTER FUNCTION holdfast.put_token(uuid) RESET ALL',
      'the function put_token(uuid) is not as this version',
    ],
    ['DROP FUNCTION holdfast.resolve_token(uuid)', 'the function resolve_token(uuid) does not exist'],
    [
      'REVOKE EXECUTE ON FUNCTION holdfast.put_token(uuid) FROM PUBLIC',
      'public may not execute put_token(uuid)',
    ],
    ['DROP VIEW holdfast.new_token', 'the view new_token does not exist'],
    [
      'ALTER VIEW holdfast.new_token ALTER COLUMN fenced DROP DEFAULT',
      'new_token is not as this version of holdfast makes it',
    ],
    ['REVOKE INSERT (token) ON holdfast.new_token FROM PUBLIC', 'public may not insert into new_token'],
    [
      'REVOKE EXECUTE ON FUNCTION holdfast.refuse_token() FROM PUBLIC',
      'public may not execute refuse_token()',
    ],
    ['REVOKE USAGE ON SCHEMA holdfast FROM PUBLIC', 'public may not use the schema "holdfast"'],
    ['ALTER TABLE holdfast.token OWNER TO app', 'the objects have several owners'],
  ])('says what is wrong: %s', async (change, message) => {
    await sql('DROP SCHEMA IF EXISTS holdfast CASCADE');
    await init('--apply');
    expect(await init('--check')).toEqual(fine);
    await sql(change);
    const { code, out, err } = await init('--check');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain(`missing: ${message}`);
    expect(err).toContain(`Run 'npx holdfast init --apply'`);
  });

  it("the application's role must not own the objects", async () => {
    await sql('DROP SCHEMA IF EXISTS holdfast CASCADE; CREATE SCHEMA holdfast AUTHORIZATION app');
    await (await lab.stock()).query((await init('--role', 'app')).out);
    expect(await init('--check', '--role', 'app')).toMatchObject({
      code: 1,
      err: expect.stringContaining('app owns token, '),
    });
  });

  it('warns of publications that have the table, with the cure (D8)', async () => {
    await sql('DROP SCHEMA IF EXISTS holdfast CASCADE');
    await init('--apply');
    await sql(
      'CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION one FOR TABLES IN SCHEMA holdfast',
    );
    const { code, out, err } = await init('--check');
    expect({ code, out }).toEqual({ code: 0, out: 'Everything is there.\n' });
    expect(err).toContain('warning: the publication "everything" has the table token');
    expect(err).toContain(
      'name the tables or schemas of the publication, or run init on the subscriber as well',
    );
    expect(err).toContain('warning: the publication "one" has the table token');
  });

  it('a database that is not there is an error without a password', async () => {
    let err = '';
    const url = `postgres://postgres:secret@${lab.primary.host}:${lab.primary.port}/secret-database`;
    const code = await runCli(['init', '--apply', '--url', url], {
      out: () => undefined,
      err: (text) => (err += text),
    });
    expect(code).toBe(1);
    expect(err).toBe('holdfast: database "***-database" does not exist (3D000)');
  });
});
