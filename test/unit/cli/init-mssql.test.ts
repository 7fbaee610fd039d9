import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseInitArguments } from '../../../src/cli/init-arguments.ts';
import { runCli } from '../../../src/cli/run-cli.ts';
import { createTokenTablesSql, dropTokenTablesSql } from '../../../src/tedious/token/token-objects.ts';

/** A connection that answers each batch with the next of these; an Error refuses it. */
const server = vi.hoisted(() => ({
  answers: [] as (Error | unknown[][])[],
  batches: [] as string[],
  configs: [] as { server: string; authentication: object; options: object }[],
  isThere: true,
}));

vi.mock('../../../src/tedious/stock-tedious.ts', async () => {
  const { EventEmitter } = await import('node:events');
  class Request extends EventEmitter {
    readonly sql: string;
    readonly callback: (error: Error | null) => void;

    constructor(sql: string, callback: (error: Error | null) => void) {
      super();
      this.sql = sql;
      this.callback = callback;
    }
  }
  class Connection extends EventEmitter {
    constructor(config: (typeof server.configs)[number]) {
      super();
      server.configs.push(config);
    }

    connect(callback: (error?: Error) => void): void {
      const refusal = Object.assign(new Error("Login failed for user 'a' with p@ss and p%40ss."), {
        code: 'ELOGIN',
      });
      setImmediate(() => {
        if (server.isThere) callback();
        else callback(refusal);
      });
    }

    execSqlBatch(request: Request): void {
      server.batches.push(request.sql);
      const answer = server.answers.shift() ?? [];
      setImmediate(() => {
        if (answer instanceof Error) request.callback(answer);
        else {
          for (const row of answer)
            request.emit(
              'row',
              row.map((value) => ({ value })),
            );
          request.callback(null);
        }
      });
    }

    close(): void {
      this.emit('end');
    }
  }
  return { Connection, Request };
});

async function run(...given: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await runCli(['init', '--engine', 'mssql', ...given], {
    out: (text) => (out += text),
    err: (text) => (err += `${text}\n`),
  });
  return { code, out, err };
}

const URL = 'mssql://a:p%40ss@db1:1434/my%20shop';

afterEach(() => {
  Object.assign(server, { answers: [], batches: [], configs: [], isThere: true });
  vi.unstubAllEnvs();
});

describe('npx holdfast init --engine mssql', () => {
  it('prints the SQL by default, without a database', async () => {
    expect(await run()).toEqual({ code: 0, out: createTokenTablesSql('holdfast'), err: '' });
    expect((await run('--drop', '--schema', 'x')).out).toBe(dropTokenTablesSql('x'));
    expect(server.configs).toEqual([]);
  });

  it('reads its options; PostgreSQL is the default', () => {
    expect(parseInitArguments(['init', '--engine=mssql', '--apply', '--schema', 'x', '--url', URL])).toEqual({
      kind: 'apply',
      drop: false,
      engine: 'mssql',
      schema: 'x',
      roles: [],
      url: URL,
    });
    expect(parseInitArguments(['init'])).toMatchObject({ engine: 'pg' });
  });

  it('applies what it prints, with encryption unless it is told otherwise', async () => {
    expect(await run('--apply', '--url', URL)).toEqual({ code: 0, out: 'The tables are there.', err: '' });
    expect(server.batches).toEqual([createTokenTablesSql('holdfast')]);
    expect(server.configs).toEqual([
      {
        server: 'db1',
        authentication: { type: 'default', options: { userName: 'a', password: 'p@ss' } },
        options: { port: 1434, database: 'my shop', encrypt: true, trustServerCertificate: false },
      },
    ]);
    expect(await run('--apply', '--drop', '--url', URL)).toMatchObject({
      code: 0,
      out: 'The tables are removed.',
    });
    expect(server.batches.at(-1)).toBe(dropTokenTablesSql('holdfast'));
  });

  it('takes the password from the environment, and an IPv6 address', async () => {
    vi.stubEnv('MSSQL_PASSWORD', 'of the environment');
    await run('--apply', '--url', 'mssql://a@[::1]/b?encrypt=false&trustServerCertificate=1');
    expect(server.configs[0]).toMatchObject({
      server: '::1',
      authentication: { options: { password: 'of the environment' } },
      options: { port: 1433, encrypt: false, trustServerCertificate: true },
    });
  });

  it.each([
    [[[['present']], [['1', '00']]], 0, 'Everything is there.'],
    [[[['absent']]], 1, 'missing: the tables of the schema "holdfast"'],
    [[[['refused']]], 1, 'missing: this login needs INSERT and SELECT'],
    [[[['present']], []], 1, 'missing: the row of the table commit_token_watermark'],
  ])('checks: %j', async (answers, code, message) => {
    server.answers.push(...answers);
    const result = await run('--check', '--url', URL);
    expect(result.code).toBe(code);
    expect(result.out + result.err).toContain(message);
    if (code === 1) expect(result.err).toContain('--apply');
  });

  it('says what the server said, and no password in either form', async () => {
    server.answers.push(Object.assign(new Error('CREATE TABLE permission denied'), { code: 'EREQUEST' }));
    expect(await run('--apply', '--url', URL)).toEqual({
      code: 1,
      out: '',
      err: 'holdfast: CREATE TABLE permission denied (EREQUEST)\n',
    });
    server.isThere = false;
    expect((await run('--apply', '--url', URL)).err).toBe(
      "holdfast: Login failed for user 'a' with *** and ***. (ELOGIN)\n",
    );
  });

  it.each([
    [['--apply'], '--engine mssql needs --url'],
    [['--check'], '--engine mssql needs --url'],
    [['--url', 'mssql://a:secret@b/c'], '--url needs --apply or --check'],
    [['--apply', '--url', 'postgres://a:secret@b/c'], '--url must begin with mssql://'],
    [['--role', 'x'], '--role is for PostgreSQL'],
    [['--engine', 'oracle'], 'there is no engine "oracle"'],
  ])('%j is an error that says what to do', async (given, message) => {
    const { code, out, err } = await run(...given);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(message);
    expect(err).not.toContain('secret');
  });

  it.each([
    ['mssql://a:secret@b:x/c', "--url can't be read"],
    ['mssql://a:%secret@b/c', "--url can't be read"],
    ['mssql://a:secret@b/c?encrypted=true', "did you mean 'encrypt'?"],
    ['mssql://a:secret@b/c?encrypt=maybe', 'encrypt of --url must be true or false'],
  ])('%s is an error without the password', async (url, message) => {
    const { code, err } = await run('--apply', '--url', url);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(err).not.toContain('secret');
    expect(server.configs).toEqual([]);
  });
});
