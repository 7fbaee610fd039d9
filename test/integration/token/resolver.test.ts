import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import {
  backendOf,
  insert,
  installTokens,
  keyAt,
  put,
  resolve,
  rowOf,
  setWatermark,
  watermarkOf,
} from '../../support/token-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'];
/** What the driver sends in front of COMMIT, and behind a statement that has changed rows. */
const WAYS = [
  { way: 'put_token', put },
  { way: 'new_token', put: insert },
];
const LEVELS_AND_WAYS = LEVELS.flatMap((level) => WAYS.map((way) => ({ level, ...way })));
const COMMITTED = { outcome: 'committed', reason: 'token-committed' };
const FENCED = { outcome: 'fenced', reason: 'token-fenced' };
const PURGED = { outcome: 'unknown', reason: 'token-purged' };

describe.each(['15', '18'])('the token of a transaction on PostgreSQL %s', (version) => {
  const lab = FailoverLab.forThisSuite({ version });
  beforeAll(async () => {
    await installTokens(lab.primary);
  });

  describe.each(LEVELS_AND_WAYS)('in $level by $way', ({ level, put }) => {
    it('says committed when it has', async () => {
      const client = await lab.stock();
      const token = keyAt();
      await client.query(`BEGIN ISOLATION LEVEL ${level}`);
      await client.query(`INSERT INTO note VALUES ('a')`);
      expect(await put(client, token)).toBe(true);
      await client.query('COMMIT');
      expect(await resolve(lab, token)).toEqual(COMMITTED);
      expect(await resolve(lab, token)).toEqual(COMMITTED);
    });

    it('who asks first fences it: its COMMIT is a ROLLBACK', async () => {
      const client = await lab.stock();
      const token = keyAt();
      await client.query(`BEGIN ISOLATION LEVEL ${level}`);
      await client.query(`INSERT INTO note VALUES ('a')`);
      expect(await resolve(lab, token)).toEqual(FENCED);
      await expect(put(client, token)).rejects.toMatchObject({ code: '23505' });
      expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
      expect(await lab.notes()).toEqual([]);
      expect(await resolve(lab, token)).toEqual(FENCED);
    });

    it('while it is open the answer waits: still in progress at the deadline, else what it comes to', async () => {
      const client = await lab.stock();
      const [first, second] = [keyAt(), keyAt()];
      for (const [token, end] of [
        [first, 'COMMIT'],
        [second, 'ROLLBACK'],
      ] as const) {
        await client.query(`BEGIN ISOLATION LEVEL ${level}`);
        await client.query(`INSERT INTO note VALUES ('a')`);
        await put(client, token);
        expect(await resolve(lab, token, { millis: 400 })).toEqual({
          outcome: 'unknown',
          reason: 'still-in-progress',
        });
        const answer = resolve(lab, token);
        await waitFor(async () => {
          const { rowCount } = await lab.primary.query(
            `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%resolve_token%'`,
          );
          return rowCount === 1;
        });
        await client.query(end);
        expect(await answer).toEqual(end === 'COMMIT' ? COMMITTED : FENCED);
      }
      expect(await lab.notes()).toEqual(['a']);
    });

    it('a zombie whose fence was purged does not commit (A11)', async () => {
      const client = await lab.stock();
      const token = keyAt(Date.now() - 7_200_000);
      await client.query(`BEGIN ISOLATION LEVEL ${level}`);
      // Its snapshot is older than everything that follows.
      await client.query(`INSERT INTO note VALUES ('a')`);
      expect(await resolve(lab, token)).toEqual(FENCED);
      await lab.primary.query('SELECT holdfast.purge_tokens(3600000, 1000)');
      expect(await rowOf(lab.primary, token)).toBeUndefined();
      await expect(put(client, token)).rejects.toMatchObject({ code: 'HF001' });
      expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
      expect(await lab.notes()).toEqual([]);
      await setWatermark(lab.primary, 0);
    });
  });

  it('nor does one whose fence is purged while it puts its token: the watermark is read behind the insert', async () => {
    const [client, purger] = [await lab.stock(), await lab.stock({ ...lab.primary.superuserConfig() })];
    const token = keyAt(Date.now() - 7_200_000);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    expect(await resolve(lab, token)).toEqual(FENCED);
    // The insert waits for this lock; what was read before it would be read before the purge.
    await purger.query('BEGIN; LOCK TABLE holdfast.token IN SHARE ROW EXCLUSIVE MODE');
    const putting = settle(put(client, token));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%put_token%'`,
      );
      return rowCount === 1;
    });
    await purger.query('SELECT holdfast.purge_tokens(3600000, 1000)');
    await purger.query('COMMIT');
    expect(await rowOf(lab.primary, token)).toBeUndefined();
    expect((await putting).error).toMatchObject({ code: 'HF001' });
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
    expect(await lab.notes()).toEqual([]);
    await setWatermark(lab.primary, 0);
  });

  it.each(WAYS)('the watermark that counts is the one behind the insert, by $way', async ({ put }) => {
    const [client, other] = [await lab.stock(), await lab.stock({ ...lab.primary.superuserConfig() })];
    const millis = Date.now() - 7_200_000;
    const token = keyAt(millis);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    // The insert waits for this one. Meanwhile the watermark passes the key.
    await other.query('BEGIN');
    await other.query('INSERT INTO holdfast.token VALUES ($1, true)', [token]);
    const putting = settle(put(client, token));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query LIKE '%_token%'`,
      );
      return rowCount === 1;
    });
    await setWatermark(lab.primary, millis);
    await other.query('ROLLBACK');
    expect((await putting).error).toMatchObject({ code: 'HF001' });
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
    await setWatermark(lab.primary, 0);
  });

  it('a living backend that stands in the way is ended', async () => {
    const client = await lab.stock();
    const token = keyAt();
    const backend = await backendOf(client);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await put(client, token);
    expect(await resolve(lab, token, { backend })).toEqual(FENCED);
    expect((await settle(client.query('COMMIT'))).error).toBeDefined();
    expect(await lab.notes()).toEqual([]);
  });

  it('a prepared transaction is waited for, although its backend has gone', async () => {
    await lab.primary.configure({ max_prepared_transactions: 5 });
    await lab.primary.stop();
    await lab.primary.start();
    const client = await lab.stock();
    const token = keyAt();
    const backend = await backendOf(client);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await put(client, token);
    await client.query(`PREPARE TRANSACTION 'one'`);
    expect(await resolve(lab, token, { backend, millis: 500 })).toEqual({
      outcome: 'unknown',
      reason: 'still-in-progress',
    });
    await (await lab.stock()).query(`COMMIT PREPARED 'one'`);
    expect(await resolve(lab, token)).toEqual(COMMITTED);
  });

  it('what was purged is not known: neither committed nor fenced, however often one asks', async () => {
    const client = await lab.stock();
    const token = keyAt(Date.now() - 7_200_000);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await put(client, token);
    await client.query('COMMIT');
    expect(await resolve(lab, token)).toEqual(COMMITTED);
    await lab.primary.query('SELECT holdfast.purge_tokens(3600000, 1000)');
    expect(await resolve(lab, token)).toEqual(PURGED);
    expect(await resolve(lab, token)).toEqual(PURGED);
    await setWatermark(lab.primary, 0);
  });

  it('below the watermark a row that is there decides all the same', async () => {
    const client = await lab.stock();
    const [late, fenced] = [keyAt(1_000), keyAt(1_000)];
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await put(client, late);
    expect(await resolve(lab, fenced)).toEqual(FENCED);
    await setWatermark(lab.primary, 2_000);
    await client.query('COMMIT');
    expect(await resolve(lab, late)).toEqual(COMMITTED);
    expect(await resolve(lab, fenced)).toEqual(FENCED);
    expect(await watermarkOf(lab.primary)).toBe(2_000);
    await setWatermark(lab.primary, 0);
  });

  it('the defaults of the role do not matter: isolation, read only, search_path, timeouts, synchronous_commit', async () => {
    const token = keyAt();
    const options = [
      'default_transaction_isolation=serializable',
      'default_transaction_read_only=on',
      'search_path=pg_temp',
      'statement_timeout=1ms',
      'lock_timeout=1ms',
      'synchronous_commit=off',
    ];
    const config = { options: options.map((one) => `-c ${one}`).join(' ') };
    expect(await resolve(lab, token, { config })).toEqual(FENCED);
    expect(await rowOf(lab.primary, token)).toBe(true);
  });

  it('the functions that look at rows refuse a snapshot that stands still', async () => {
    const client = await lab.stock();
    for (const level of LEVELS.slice(1)) {
      for (const call of [`resolve_token('${keyAt()}')`, 'purge_tokens(3600000, 10)']) {
        await client.query(`BEGIN ISOLATION LEVEL ${level}`);
        await expect(client.query(`SELECT holdfast.${call}`)).rejects.toMatchObject({ code: 'HF002' });
        await client.query('ROLLBACK');
      }
    }
  });

  it('without objects, without rights, and on a standby there is no answer', async () => {
    const refused = { outcome: 'unknown', reason: 'token-refused' };
    expect(await resolve(lab, keyAt(), { schema: 'nowhere' })).toEqual(refused);
    await lab.primary.query('REVOKE EXECUTE ON FUNCTION holdfast.resolve_token(uuid) FROM PUBLIC');
    expect(await resolve(lab, keyAt())).toEqual(refused);
    await lab.primary.query('GRANT EXECUTE ON FUNCTION holdfast.resolve_token(uuid) TO PUBLIC');
    await lab.cluster.waitForReplay();
    const [standby] = lab.cluster.standbys;
    const config = { host: standby!.host, port: standby!.port };
    expect(await resolve(lab, keyAt(), { config })).toEqual(refused);
  });
});
