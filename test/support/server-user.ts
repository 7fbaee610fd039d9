import { spawn } from 'node:child_process';

/** uid and gid of `nobody`, which initdb finds in the user database of every Linux. */
const NOBODY = 65534;

/** PostgreSQL refuses to run as root, so its processes run as this user then; otherwise as ourselves. */
export function serverUser(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined;
}

/** The uid that owns data directories. */
export function serverUid(): number {
  return serverUser()?.uid ?? process.getuid?.() ?? 0;
}

/** PG* variables of the developer's shell must not reach the servers. */
export const serverEnvironment: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '/usr/bin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
};

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command as the user of the servers. The working directory is `/`, as ours may be closed to that user. */
export async function runAsServerUser(
  command: string,
  args: readonly string[],
  input?: string,
): Promise<CommandResult> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...serverUser(), cwd: '/', env: serverEnvironment });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
    });
    // A command that has already failed closes its input; its exit code tells more than EPIPE.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** As `runAsServerUser`, but an exit code other than 0 rejects with what the command printed. */
export async function mustRunAsServerUser(
  command: string,
  args: readonly string[],
  input?: string,
): Promise<CommandResult> {
  const result = await runAsServerUser(command, args, input);
  if (result.code !== 0) {
    throw new Error(`${command} ended with code ${String(result.code)}:\n${result.stdout}${result.stderr}`);
  }
  return result;
}
