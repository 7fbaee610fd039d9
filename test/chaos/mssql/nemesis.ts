import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '../../support/seeded-random.ts';
import type { Chosen, Fault } from '../../support/sqlserver/gateway/faults.ts';
import type { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

const isCommit: Chosen = ({ text }) => text === 'commit' || /COMMIT TRAN/.test(text);
const isNote: Chosen = ({ text }) => text.includes('INSERT INTO note');
const isUpdate: Chosen = ({ text }) => text.includes('UPDATE account');
const isAny: Chosen = () => true;

type Act = (cluster: SqlServerCluster, random: SeededRandom) => Promise<void>;

function fault(make: (random: SeededRandom) => Fault): Act {
  return async ({ gateway }, random) => {
    const taken = gateway.faults.add(make(random));
    await Promise.race([taken, sleep(500)]);
    gateway.faults.clear();
  };
}

/** A fault, and the loss of the primary right behind it. */
function thenLost(make: (random: SeededRandom) => Fault): Act {
  return async (cluster, random) => {
    await fault(make)(cluster, random);
    await replace(cluster);
  };
}

async function replace(cluster: SqlServerCluster): Promise<void> {
  const old = cluster.postgres.primary;
  await old.kill();
  cluster.gateway.kill();
  await cluster.postgres.failover();
  await cluster.rejoin(old);
}

const says =
  (number: number, severity: number, isCut: boolean): ((random: SeededRandom) => Fault) =>
  () => ({
    kind: 'error',
    at: isAny,
    message: { number, state: 1, class: severity, message: 'the nemesis', line: 1, procedure: '' },
    isCut,
  });

/** What befalls the servers and their connections. */
export const ACTS: Readonly<Record<string, Act>> = {
  'kill the primary': replace,
  'cut all connections': ({ gateway }) => {
    gateway.cutAll();
    return Promise.resolve();
  },
  'cut before a commit': fault(() => ({ kind: 'cut-before', at: isCommit })),
  'cut behind a commit': fault(() => ({ kind: 'cut-after', at: isCommit })),
  'cut behind a commit, then kill': thenLost(() => ({ kind: 'cut-after', at: isCommit })),
  'cut a commit and hold it': fault((random) => ({
    kind: 'cut-and-hold',
    at: isCommit,
    holdMillis: random.integer(10, 400),
  })),
  'cut before a note': fault(() => ({ kind: 'cut-before', at: isNote })),
  'cut behind a note': fault(() => ({ kind: 'cut-after', at: isNote })),
  'cut behind a note, then kill': thenLost(() => ({ kind: 'cut-after', at: isNote })),
  'cut behind an update': fault(() => ({ kind: 'cut-after', at: isUpdate })),
  'cut inside an answer': fault((random) => ({
    kind: 'cut-inside',
    at: isAny,
    bytes: random.integer(1, 120),
  })),
  'failing over': thenLost(says(983, 14, true)),
  'read-only': fault(says(3906, 16, false)),
};

export const nemesisActs = Object.entries(ACTS);
