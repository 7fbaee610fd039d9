import { createHash } from 'node:crypto';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedDirectory } from './cached-directory.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { reachableTmpdir } from './scratch.ts';
import { mustRunAsServerUser, serverUid, serverUser } from './server-user.ts';

/** Small segments make the copies of the template smaller, and tests cross more segment boundaries. */
const INITDB_ARGUMENTS = [
  '--username=postgres',
  // Each node gets its own pg_hba.conf before it is ever started.
  '--auth=trust',
  '--encoding=UTF8',
  '--locale=C',
  '--wal-segsize=1',
  '--no-sync',
  '--no-instructions',
];

export const SUPERUSER = { user: 'postgres', password: 'secret' } as const;
/** An ordinary role, as an application should have it, and the owner of the database of the same name. */
export const APPLICATION = { user: 'app', password: 'app', database: 'app' } as const;

const SET_UP_SQL = [
  `ALTER ROLE ${SUPERUSER.user} PASSWORD '${SUPERUSER.password}'`,
  `CREATE ROLE ${APPLICATION.user} LOGIN PASSWORD '${APPLICATION.password}'`,
  `CREATE DATABASE ${APPLICATION.database} OWNER ${APPLICATION.user}`,
];

/** A data directory fresh from initdb with role and database of the application, made once a version and machine. */
export async function postgresTemplate(binaries: PostgresBinaries): Promise<string> {
  const recipe = createHash('sha256')
    .update(JSON.stringify([INITDB_ARGUMENTS, SET_UP_SQL]))
    .digest('hex')
    .slice(0, 8);
  const name = `holdfast-template-${binaries.packageVersion}-${recipe}-u${serverUid()}`;
  const cache = await cachedDirectory(join(reachableTmpdir(), name), serverUid(), async (empty) => {
    await mkdir(empty, { mode: 0o700 });
    await chmod(empty, 0o700);
    const user = serverUser();
    if (user !== undefined) await chown(empty, user.uid, user.gid);
    await initialise(binaries, join(empty, 'data'));
  });
  return join(cache, 'data');
}

async function initialise(binaries: PostgresBinaries, dataDirectory: string): Promise<void> {
  const initdb = join(binaries.binDirectory, 'initdb');
  await mustRunAsServerUser(initdb, [...INITDB_ARGUMENTS, '-D', dataDirectory]);
  // Single-user mode: one statement a line, and no port that somebody else might connect to.
  const { stderr } = await mustRunAsServerUser(
    join(binaries.binDirectory, 'postgres'),
    ['--single', '-D', dataDirectory, '-c', 'fsync=off', 'postgres'],
    `${SET_UP_SQL.join('\n')}\n`,
  );
  // It goes on after an error and ends with code 0.
  if (/\b(ERROR|FATAL|PANIC):/.test(stderr)) throw new Error(`could not set up the template:\n${stderr}`);
}
