import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import { describe, expect, it } from 'vitest';
import type { LostCommit } from '../../../src/events.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseFromHere, lostOf, transaction } from '../../support/lost-commits.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const REAPPLY = { failover: { lostCommits: 'reapply', positionIntervalMillis: 20 } } as const;

const outcomes = (lost: readonly LostCommit[]): unknown[] =>
  lost.map(({ outcome, notReapplied }) => (notReapplied === null ? outcome : [outcome, notReapplied]));

describe(`lostCommits: 'reapply'`, () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    setUp: `
      CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
      CREATE TABLE item (id bigserial PRIMARY KEY, made timestamptz DEFAULT now(), text text);
      CREATE TABLE tenant_note (tenant text DEFAULT current_setting('app.tenant'), text text);
      ALTER TABLE tenant_note ENABLE ROW LEVEL SECURITY;
      ALTER TABLE tenant_note FORCE ROW LEVEL SECURITY;
      CREATE POLICY own ON tenant_note USING (tenant = current_setting('app.tenant', true));`,
  });

  it('applies a lost transaction once, before its session goes on', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'a', 'b'));
    const { rows } = await client.query('SELECT text FROM note ORDER BY text');
    expect(rows).toEqual([{ text: 'a' }, { text: 'b' }]);
    expect(outcomes(lost)).toEqual(['reapplied']);
    expect(client.failover!.snapshot()).toMatchObject({ commitsLost: 1, commitsReapplied: 1 });
  });

  it('applies statements outside of transactions as well, in every form', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query(`INSERT INTO note VALUES ('text')`);
      await client.query('INSERT INTO note VALUES ($1)', ['parameters']);
      await client.query({ name: 'named', text: 'INSERT INTO note VALUES ($1)', values: ['named'] });
      await client.query(`INSERT INTO note VALUES ('one'); INSERT INTO note VALUES ('two')`);
    });
    await client.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied', 'reapplied', 'reapplied', 'reapplied']);
    expect(await lab.notes()).toEqual(['named', 'one', 'parameters', 'text', 'two']);
  });

  it('keeps the order in which they were committed, over all sessions', async () => {
    const pool = lab.pool({ max: 5, ...REAPPLY });
    const lost = lostOf(pool);
    await pool.query(`INSERT INTO account VALUES ('x', 0) ON CONFLICT (id) DO UPDATE SET balance = 0`);
    await loseFromHere(lab, async () => {
      for (let i = 0; i < 5; i++) {
        const client = await pool.connect();
        const values: number[] = [];
        await client.query('BEGIN');
        const { rows } = await client.query<{ balance: number }>(
          `UPDATE account SET balance = balance * 2 + $1 WHERE id = 'x' RETURNING balance`,
          [i],
        );
        values.push(rows[0]!.balance);
        await client.query('COMMIT');
        // Another one each time: the next is taken before this is given back.
        setImmediate(() => {
          client.release();
        });
      }
    });
    const { rows } = await pool.query<{ balance: number }>(`SELECT balance FROM account WHERE id = 'x'`);
    expect(rows[0]!.balance).toBe(26);
    expect(outcomes(lost)).toEqual(Array.from({ length: 5 }, () => 'reapplied'));
  });

  it('gives the ids and times that the application has seen', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    const seen: unknown[] = [];
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      for (const text of ['a', 'b']) {
        const { rows } = await client.query<object>('INSERT INTO item (text) VALUES ($1) RETURNING *', [
          text,
        ]);
        seen.push(rows[0]);
      }
      await client.query('COMMIT');
      const { rows } = await client.query<object>(`INSERT INTO item (text) VALUES ('c') RETURNING *`);
      seen.push(rows[0]);
    });
    const { rows } = await client.query('SELECT * FROM item ORDER BY id');
    expect(outcomes(lost)).toEqual(['reapplied', 'reapplied']);
    expect(rows).toEqual(seen);
  });

  it('lets an open transaction go on that rested on a lost one', async () => {
    const first = await lab.connect(REAPPLY);
    const second = await lab.connect(REAPPLY);
    await loseFromHere(lab, async () => {
      await transaction(first, 'a');
      await second.query('BEGIN');
      const { rows } = await second.query('SELECT text FROM note FOR UPDATE');
      expect(rows).toEqual([{ text: 'a' }]);
      await second.query(`UPDATE note SET text = 'b' WHERE text = 'a'`);
    });
    await second.query('COMMIT');
    expect(await lab.notes()).toEqual(['b']);
  });

  it('which diverges, and says so, if lost ones are only reported', async () => {
    // Other limits make no other cluster: the policy is each client's own.
    const first = await lab.connect({ failover: { lostCommits: 'report' } });
    const second = await lab.connect({ failover: { lostCommits: 'report' } });
    const lost = lostOf(first);
    await loseFromHere(lab, async () => {
      await transaction(first, 'a');
      await second.query('BEGIN');
      await second.query('SELECT text FROM note FOR UPDATE');
      await second.query(`UPDATE note SET text = 'b' WHERE text = 'a'`);
    });
    const { error } = await settle(second.query('COMMIT'));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    expect(outcomes(lost)).toEqual(['lost']);
    expect(await lab.notes()).toEqual([]);
  });

  it('runs as the same tenant, with what was set for its session and for it alone (A15)', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await client.query(`SET app.tenant = 'one'`);
    await client.query(`SET search_path = public, pg_temp`);
    // What is not known yet of a session is found out while it is idle.
    await client.query('SELECT');
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO tenant_note (text) VALUES ('session')`);
      await client.query(`SET LOCAL app.tenant = 'two'`);
      await client.query(`INSERT INTO tenant_note (text) VALUES ('local')`);
      await client.query('COMMIT');
      await client.query(`SET app.tenant = 'three'`);
    });
    const other = await lab.connect(REAPPLY);
    await other.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied']);
    const { rows } = await lab.primary.query('SELECT tenant, text FROM tenant_note ORDER BY text');
    expect(rows).toEqual([
      { tenant: 'two', text: 'local' },
      { tenant: 'one', text: 'session' },
    ]);
  });

  it('never applies one that is there: it is not asked twice over two failovers', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'a'));
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['a']);
    await lab.cluster.rejoin(lab.cluster.nodes.find((node) => node !== lab.primary)!);
    await lab.replacePrimary();
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['a']);
    expect(outcomes(lost)).toEqual(['reapplied']);
  });

  it('applies it again if the second failover loses it once more', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'a'));
    const next = lab.cluster.nodes.find((node) => node !== lab.primary)!;
    await lab.cluster.rejoin(next);
    await lab.primary.freezeWalSender();
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['a']);
    await lab.primary.kill();
    await lab.cluster.failover();
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['a']);
    expect(outcomes(lost)).toEqual(['reapplied', 'reapplied']);
  });

  it('finds out what became of its own COMMIT, if the answer to that is lost', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'a'));
    const { proxy } = lab;
    let cuts = 0;
    let isRunAgain = false;
    // Behind the statement that puts its token comes the COMMIT in question.
    proxy.onFrontendMessage = (type, body) => {
      if (type === 'P' && body.includes('put_token')) isRunAgain = true;
      return undefined;
    };
    proxy.onBackendMessage = (type, body) => {
      if (!isRunAgain || type !== 'C' || body.toString('latin1') !== 'COMMIT\0' || cuts > 0) return undefined;
      cuts++;
      proxy.cut();
      return 'drop';
    };
    await client.query('SELECT');
    expect(cuts).toBe(1);
    await waitFor(() => lost.length === 1);
    expect(outcomes(lost)).toEqual(['reapplied']);
    expect(await lab.notes()).toEqual(['a']);
  });

  it('does not apply what gives other results by now, and tells why', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await lab.primary.query(`DELETE FROM account`);
    await lab.primary.query(`INSERT INTO account VALUES ('y', 1)`);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`UPDATE account SET balance = 0 WHERE id = 'y'`);
      await client.query('COMMIT');
    });
    await lab.primary.query(`DELETE FROM account WHERE id = 'y'`);
    await client.query('SELECT');
    expect(outcomes(lost)).toEqual([
      ['lost', 'a statement gave other results than the application had been given (UPDATE account)'],
    ]);
    expect(client.failover!.snapshot().commitsReapplied).toBe(
      client.failover!.snapshot().commitsLost - 2, // This one, and the one that was only reported above.
    );
  });

  it('applies one that rests on what another session has written', async () => {
    const early = await lab.connect(REAPPLY);
    const late = await lab.connect(REAPPLY);
    const lost = lostOf(early);
    await lab.primary.query('DELETE FROM account');
    await loseFromHere(lab, async () => {
      await late.query(`INSERT INTO account VALUES ('z', 5)`);
      await early.query(`UPDATE account SET balance = 7 WHERE id = 'z'`);
    });
    await early.query('SELECT');
    await late.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied']); // Its own; the other session is told of the other.
    const { rows } = await lab.primary.query('SELECT balance FROM account');
    expect(rows).toEqual([{ balance: 7 }]);
  });
});

describe('a lost transaction that can not be applied again', () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    setUp: `CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL)`,
  });

  it(`stops the failover with onReapplyFailed: 'fail'`, async () => {
    const client = await lab.connect({ failover: { ...REAPPLY.failover, onReapplyFailed: 'fail' } });
    const lost = lostOf(client);
    await client.query(`INSERT INTO account VALUES ('a', 1)`);
    await loseFromHere(lab, () => client.query(`UPDATE account SET balance = 2 WHERE id = 'a'`));
    await lab.primary.query('DELETE FROM account');
    const { error } = await settle(client.query('SELECT'));
    expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
    expect(error!.message).toMatch(/onReapplyFailed/);
    expect(outcomes(lost)).toHaveLength(1);
    const other = await lab.connect(REAPPLY);
    expect((await other.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('because there are no tokens is reported only', async () => {
    await lab.primary.query('DROP SCHEMA holdfast CASCADE');
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'a'));
    await client.query('SELECT');
    expect(outcomes(lost)).toEqual([['lost', 'there are no commit tokens on the new server']]);
    expect(await lab.notes()).toEqual([]);
  });
});

describe('a lost transaction that can not simply be run again in its order', () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    setUp: `
      CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL);
      CREATE TABLE transfer (id text PRIMARY KEY, account text REFERENCES account DEFERRABLE INITIALLY DEFERRED);
      CREATE TABLE audit (text text, who text DEFAULT current_user);`,
  });

  async function accounts(): Promise<string[]> {
    const { rows } = await lab.primary.query<{ id: string; balance: number }>(
      'SELECT id, balance FROM account ORDER BY id',
    );
    return rows.map(({ id, balance }) => `${id} ${balance}`);
  }

  /**
   * The later statement is sent before the COMMIT of the transaction whose lock it waits for, so by the order of sending it
   * comes first.
   */
  async function loseOutOfOrder(further: () => Promise<unknown>): Promise<LostCommit[][]> {
    const holder = await lab.connect(REAPPLY);
    const waiter = await lab.connect(REAPPLY);
    const lost = [lostOf(holder), lostOf(waiter)];
    await lab.primary.query(`TRUNCATE account CASCADE; INSERT INTO account VALUES ('x', 0), ('y', 0)`);
    await loseFromHere(lab, async () => {
      await holder.query('BEGIN');
      await holder.query(`UPDATE account SET balance = balance + 5 WHERE id = 'x'`);
      const waiting = waiter.query(
        `UPDATE account SET balance = balance * 2 WHERE id = 'x' RETURNING balance`,
      );
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_locks WHERE NOT granted');
        return rowCount === 1;
      });
      await holder.query('COMMIT');
      expect((await waiting).rows).toEqual([{ balance: 10 }]);
      await further();
    });
    return lost;
  }

  it('diverges in the first round, and is applied in the second behind the one that it rests on', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = await loseOutOfOrder(() => Promise.resolve());
    await client.query('SELECT');
    expect(lost.map(outcomes)).toEqual([['reapplied'], ['reapplied']]);
    expect(await accounts()).toEqual(['x 10', 'y 0']);
  });

  it('is reported if no round makes it right, and the others are applied', async () => {
    const client = await lab.connect(REAPPLY);
    const own = lostOf(client);
    const lost = await loseOutOfOrder(async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('half')`);
      await client.query(`UPDATE account SET balance = 1 WHERE id = 'y'`);
      await client.query('COMMIT');
    });
    await lab.primary.query(`DELETE FROM account WHERE id = 'y'`);
    await client.query('SELECT');
    expect(lost.map(outcomes)).toEqual([['reapplied'], ['reapplied']]);
    expect(outcomes(own)).toEqual([['lost', expect.stringMatching(/other results/)]]);
    expect(await accounts()).toEqual(['x 10']);
    expect(await lab.notes()).toEqual([]);
  });

  it('is held to its deferred constraints at its COMMIT', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await lab.primary.query(`TRUNCATE account CASCADE; INSERT INTO account VALUES ('old', 1)`);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO transfer VALUES ('good', 'new')`);
      await client.query(`INSERT INTO account VALUES ('new', 2)`);
      await client.query('COMMIT');
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('half')`);
      await client.query(`INSERT INTO transfer VALUES ('bad', 'old')`);
      await client.query('COMMIT');
    });
    await lab.primary.query(`DELETE FROM account WHERE id = 'old'`);
    await client.query('SELECT');
    // In the order in which they were lost.
    expect(outcomes(lost)).toEqual(['reapplied', ['lost', 'SQLSTATE 23503']]);
    expect(await accounts()).toEqual(['new 2']);
    expect((await lab.primary.query('SELECT id FROM transfer')).rows).toEqual([{ id: 'good' }]);
    expect(await lab.notes()).toEqual([]);
  });

  it('is applied with what it was given by COPY', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('inserted')`);
      await pipeline(
        Readable.from(['copied 1\n', 'copied 2\n']),
        client.query(copyFrom('COPY note FROM STDIN')),
      );
      await client.query('COMMIT');
      await pipeline(Readable.from(['alone\n']), client.query(copyFrom('COPY note FROM STDIN')));
    });
    await client.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied', 'reapplied']);
    expect(await lab.notes()).toEqual(['alone', 'copied 1', 'copied 2', 'inserted']);
  });

  it('is applied by the roles that had run its statements', async () => {
    await lab.primary.query(`
      DO $$ BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
      GRANT clerk TO app; GRANT INSERT ON audit TO clerk; TRUNCATE audit`);
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO audit (text) VALUES ('before')`);
      await client.query('SET LOCAL ROLE clerk');
      await client.query(`INSERT INTO audit (text) VALUES ('local')`);
      await client.query('COMMIT');
      await client.query('SET ROLE clerk');
      await client.query('BEGIN');
      await client.query(`INSERT INTO audit (text) VALUES ('session')`);
      await client.query('COMMIT');
      await client.query('RESET ROLE');
    });
    // Another one: a session whose state is not read back yet behind RESET may be closed.
    const other = await lab.connect(REAPPLY);
    await other.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied', 'reapplied']);
    const { rows } = await lab.primary.query<{ text: string; who: string }>(
      'SELECT text, who FROM audit ORDER BY text',
    );
    expect(rows.map(({ text, who }) => `${text} ${who}`)).toEqual([
      'before app',
      'local clerk',
      'session clerk',
    ]);
  });

  it('is applied if its cursor gives the same rows, and else not', async () => {
    const client = await lab.connect(REAPPLY);
    const lost = lostOf(client);
    await lab.primary.query(
      `TRUNCATE account CASCADE; INSERT INTO account VALUES ('a', 1), ('b', 2), ('c', 3)`,
    );
    await loseFromHere(lab, async () => {
      for (const [rest, note] of [
        ['CLOSE rest', 'same'],
        ['FETCH ALL FROM rest', 'other'],
      ]) {
        await client.query('BEGIN');
        await client.query('DECLARE rest CURSOR FOR SELECT id FROM account ORDER BY id');
        const { rows } = await client.query('FETCH 2 FROM rest');
        expect(rows).toEqual([{ id: 'a' }, { id: 'b' }]);
        await client.query('INSERT INTO note VALUES ($1)', [note]);
        await client.query(rest!);
        await client.query('COMMIT');
      }
    });
    await lab.primary.query(`DELETE FROM account WHERE id = 'c'`);
    await client.query('SELECT');
    expect(outcomes(lost)).toEqual(['reapplied', ['lost', expect.stringMatching(/other results/)]]);
    expect(await lab.notes()).toEqual(['same']);
  });
});
