import { describe, expect, it } from 'vitest';
import { parseInitArguments } from '../../../src/cli/init-arguments.ts';
import { runCli } from '../../../src/cli/run-cli.ts';
import { createTokenObjectsSql, dropTokenObjectsSql } from '../../../src/pg/token/token-objects.ts';

async function run(...given: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await runCli(given, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

describe('npx holdfast', () => {
  it('prints the SQL by default', async () => {
    expect(await run('init')).toEqual({
      code: 0,
      out: createTokenObjectsSql({ schema: 'holdfast' }),
      err: '',
    });
    expect((await run('init', '--drop', '--schema', 'x')).out).toBe(dropTokenObjectsSql('x'));
  });

  it('reads its options', () => {
    expect(
      parseInitArguments(['init', '--apply', '--schema=My "own"', '--role', 'a', '--role', 'B']),
    ).toEqual({
      kind: 'apply',
      drop: false,
      engine: 'pg',
      schema: 'My "own"',
      roles: ['a', 'B'],
      url: undefined,
    });
  });

  it('helps', async () => {
    for (const given of [[], ['--help'], ['init', '--help'], ['init', '-h'], ['help']]) {
      const { code, out } = await run(...given);
      expect(code).toBe(0);
      expect(out).toMatch(/^Usage: npx holdfast init/);
    }
  });

  it.each([
    [['inti'], `there is no command "inti"; did you mean 'init'?`],
    [['init', '--aply'], `there is no option "--aply"; did you mean '--apply'?`],
    [['init', '--check', '--apply'], '--check changes nothing'],
    [['init', '--schema', 'pg_x'], '--schema must be the name of a schema'],
    [['init', '--schema'], "the options can't be read"],
    [['init', '--role', ''], '--role needs the name of a role'],
    [['init', '--url', 'postgres://a:secret@b/c'], '--url needs --apply or --check'],
    [['init', '--check', '--url', 'a:secret@b/c'], '--url must begin with postgres://'],
    [['init', 'postgres://a:secret@b/c'], 'a database is named with --url'],
  ])('%j is an error that says what to do, and no password', async (given, message) => {
    const { code, out, err } = await run(...given);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(message);
    expect(err).not.toContain('secret');
  });
});
