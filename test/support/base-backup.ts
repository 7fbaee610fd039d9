import { chown, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PostgresNode } from './postgres-node.ts';
import { mustRunAsServerUser, runAsServerUser, serverUser } from './server-user.ts';

/** Belongs to the running server, not to the database. */
const LEFT_OUT = new Set(['postmaster.pid', 'postmaster.opts', 'standby.signal', 'backup_label', 'pg_wal']);
/** A server makes these anew, but wants the directories to be there. */
const LEFT_EMPTY = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
]);

/**
 * Fills the empty data directory of `target` with a base backup of the running server `source`.
 *
 * The binaries come without pg_basebackup and pg_rewind, so the files are copied between the two backup functions.
 * The WAL is not copied: the standby streams it from the start of the backup on.
 */
export async function takeBaseBackup(source: PostgresNode, target: PostgresNode): Promise<void> {
  const [start, stop] =
    source.major >= 15
      ? [`pg_backup_start('holdfast', true)`, 'labelfile FROM pg_backup_stop(false)']
      : [`pg_start_backup('holdfast', true, false)`, 'labelfile FROM pg_stop_backup(false, false)'];
  const label = await source.withClient(async (client) => {
    await client.query(`SELECT ${start}`);
    await copyFiles(source.dataDirectory, target.dataDirectory);
    const { rows } = await client.query<{ labelfile: string }>(`SELECT ${stop}`);
    return rows[0]!.labelfile;
  });
  await target.writeDataFile('backup_label', label);
  await target.writeConfiguration();
}

async function copyFiles(source: string, target: string): Promise<void> {
  for (const path of ['', 'pg_wal', 'pg_wal/archive_status', 'pg_wal/summaries']) {
    await makeDirectory(join(target, path));
  }
  const copied: string[] = [];
  for (const name of await readdir(source)) {
    if (LEFT_EMPTY.has(name)) await makeDirectory(join(target, name));
    else if (!LEFT_OUT.has(name)) copied.push(join(source, name));
  }
  const { code, stderr } = await runAsServerUser('cp', ['-Rp', ...copied, target]);
  // Files may vanish while they are copied: the server drops tables and temporary files as it likes.
  const serious = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.includes('No such file or directory'));
  if (code !== 0 && (code !== 1 || serious.length > 0))
    throw new Error(`could not copy ${source}: ${stderr}`);
  // The control file last, so that it is not older than what it speaks of.
  await mustRunAsServerUser('cp', ['-p', join(source, 'global', 'pg_control'), join(target, 'global')]);
}

async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  const user = serverUser();
  if (user !== undefined) await chown(path, user.uid, user.gid);
}
