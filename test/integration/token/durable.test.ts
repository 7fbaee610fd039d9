import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { resolveTokens } from '../../../src/pg/token/resolve-tokens.ts';
import { TokenKeys, tokenText } from '../../../src/session/token-key.ts';
import { askTokenPresence } from '../../../src/pg/token/token-presence.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';
import { backendOf, installTokens, keyAt, put, resolve, setWatermark } from '../../support/token-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

async function write(client: pg.Client, token: string): Promise<void> {
  await client.query('BEGIN');
  await client.query(`INSERT INTO note VALUES ('a')`);
  await put(client, token);
}

describe('the token of a COMMIT that waits for its synchronous standby', () => {
  const lab = FailoverLab.forThisSuite({
    synchronous: true,
    tokens: false,
    settings: { max_prepared_transactions: 5 },
  });

  beforeEach(async () => {
    await installTokens(lab.primary);
    await lab.cluster.waitForReplay();
  });

  async function waitingCommit(): Promise<{
    token: string;
    client: pg.Client;
    pid: string;
    commit: Promise<unknown>;
  }> {
    const client = await lab.stock();
    const token = keyAt();
    const { pid } = await backendOf(client);
    await write(client, token);
    await lab.primary.freezeWalSender();
    const commit = settle(client.query('COMMIT'));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1`,
        [pid],
      );
      return rowCount === 1;
    });
    return { token, client, pid, commit };
  }

  it('does not end it, and says so (A5); later it is committed', async () => {
    const { token, client, commit } = await waitingCommit();
    const backend = { pid: '0', backendStart: '' };
    const { rows } = await lab.primary.query<{ pid: string; start: string }>(
      `SELECT pid::text, extract(epoch FROM backend_start)::text AS start FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
    );
    Object.assign(backend, { pid: rows[0]!.pid, backendStart: rows[0]!.start });
    expect(await resolve(lab, token, { backend, millis: 800 })).toEqual({
      outcome: 'unknown',
      reason: 'waiting-for-sync',
    });
    lab.primary.thawWalSender();
    await commit;
    expect((await client.query('SELECT 1')).rowCount).toBe(1);
    expect(await resolve(lab, token)).toMatchObject({ outcome: 'committed' });
  });

  it('of a PREPARE TRANSACTION is waited for as long, and then it is prepared', async () => {
    const client = await lab.stock();
    const token = keyAt();
    const backend = await backendOf(client);
    await write(client, token);
    await lab.primary.freezeWalSender();
    const prepare = settle(client.query(`PREPARE TRANSACTION 'slow'`));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(`SELECT FROM pg_prepared_xacts WHERE gid = 'slow'`);
      return rowCount === 1;
    });
    let isOver = false;
    const answer = resolveTokens({
      keys: [Buffer.from(token.replaceAll('-', ''), 'hex')],
      preparedAs: 'slow',
      synchronousStandbys: true,
      runner: sqlRunnerOver(await lab.stock()),
      schema: 'holdfast',
      backend,
      signal: AbortSignal.timeout(20_000),
    }).finally(() => {
      isOver = true;
    });
    // All the while nobody else has it.
    await lab.primary.query('SELECT pg_sleep(1)');
    expect(isOver).toBe(false);
    lab.primary.thawWalSender();
    expect(await answer).toEqual({ outcome: 'committed', reason: 'token-committed' });
    await prepare;
    await (await lab.stock()).query(`ROLLBACK PREPARED 'slow'`);
  });

  it('of a PREPARE TRANSACTION whose wait was broken off does not count before a standby has it', async () => {
    const client = await lab.stock();
    const token = keyAt();
    const { pid } = await backendOf(client);
    await write(client, token);
    await lab.primary.freezeWalSender();
    const prepare = settle(client.query(`PREPARE TRANSACTION 'broken off'`));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1`,
        [pid],
      );
      return rowCount === 1;
    });
    await lab.primary.query('SELECT pg_cancel_backend($1)', [pid]);
    await prepare;
    await client.end();
    const ask = async (millis: number): ReturnType<typeof resolveTokens> =>
      await resolveTokens({
        keys: [Buffer.from(token.replaceAll('-', ''), 'hex')],
        preparedAs: 'broken off',
        synchronousStandbys: true,
        runner: sqlRunnerOver(await lab.stock()),
        schema: 'holdfast',
        backend: null,
        signal: AbortSignal.timeout(millis),
      });
    expect(await ask(1_000)).toMatchObject({ outcome: 'unknown' });
    lab.primary.thawWalSender();
    expect(await ask(20_000)).toEqual({ outcome: 'committed', reason: 'token-committed' });
    await (await lab.stock()).query(`ROLLBACK PREPARED 'broken off'`);
  });

  it('whose wait was broken off is not called committed before a standby has it', async () => {
    const { token, pid, commit } = await waitingCommit();
    await lab.primary.query('SELECT pg_cancel_backend($1)', [pid]);
    await commit;
    expect(await resolve(lab, token, { millis: 800 })).toEqual({
      outcome: 'unknown',
      reason: 'not-replicated',
    });
    lab.primary.thawWalSender();
    expect(await resolve(lab, token)).toMatchObject({ outcome: 'committed' });
  });
});

describe('the token after the promotion of a standby', () => {
  const lab = FailoverLab.forThisSuite({ tokens: false });

  beforeEach(async () => {
    await installTokens(lab.primary);
    await lab.cluster.waitForReplay();
  });

  it.each([
    ['had the COMMIT', true, 'committed'],
    ['never got it', false, 'fenced'],
  ])('that %s', async (_, isShipped, outcome) => {
    const client = await lab.stock();
    const token = keyAt();
    await write(client, token);
    if (!isShipped) await lab.primary.freezeWalSender();
    await client.query('COMMIT');
    if (isShipped) await lab.shipAll();
    await lab.primary.kill();
    await lab.cluster.failover();
    expect(await resolve(lab, token)).toMatchObject({ outcome });
    expect(await lab.notes()).toEqual(isShipped ? ['a'] : []);
    // And if that one crashes and recovers.
    await lab.primary.kill();
    await lab.primary.start();
    expect(await resolve(lab, token)).toMatchObject({ outcome });
  });
});

describe.each([-3_600_000, 3_600_000])('a clock that is %i ms off', (skewMillis) => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, tokens: false });

  it('never makes a wrong answer: committed is committed, and what was refused is not there (A11)', async () => {
    await installTokens(lab.primary);
    const client = await lab.stock();
    const presence = await askTokenPresence(sqlRunnerOver(client), 'holdfast');
    if (presence.kind !== 'present') throw new Error(presence.kind);
    const keys = new TokenKeys();
    // As if the clock of the process had been put, or had stood still, since the server told the time.
    keys.observe({ ...presence.time, serverMillis: presence.time.serverMillis + skewMillis });
    const token = tokenText(keys.next());
    await write(client, token);
    await client.query('COMMIT');
    expect(await resolve(lab, token)).toMatchObject({ outcome: 'committed' });
    // Somebody purges as far as its own retention allows.
    await lab.primary.query('SELECT holdfast.purge_tokens(60000, 1000)');
    const isBehind = skewMillis < 0;
    expect(await resolve(lab, token)).toMatchObject({ outcome: isBehind ? 'unknown' : 'committed' });
    await setWatermark(lab.primary, presence.time.serverMillis - 60_000);
    const late = tokenText(keys.next());
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('late')`);
    const { error } = await settle(put(client, late));
    expect(error?.code).toBe(isBehind ? 'HF001' : undefined);
    expect((await client.query('COMMIT')).command).toBe(isBehind ? 'ROLLBACK' : 'COMMIT');
    expect(await resolve(lab, late)).toMatchObject({ outcome: isBehind ? 'unknown' : 'committed' });
    expect(await lab.notes()).toEqual(isBehind ? ['a'] : ['a', 'late']);
    // A new connection tells the time, and the watermark: then it works.
    const again = await askTokenPresence(sqlRunnerOver(client), 'holdfast');
    if (again.kind !== 'present') throw new Error(again.kind);
    keys.observe(again.time);
    await write(client, tokenText(keys.next()));
    expect((await client.query('COMMIT')).command).toBe('COMMIT');
  });
});
