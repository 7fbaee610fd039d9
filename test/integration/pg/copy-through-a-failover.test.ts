import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

function lines(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `line ${String(from + i).padStart(6, '0')}\n`);
}

const ORDERED = 'COPY (SELECT text FROM note ORDER BY text) TO STDOUT';

describe('the primary is lost with a COPY', () => {
  const lab = FailoverLab.forThisSuite();

  async function fill(count: number): Promise<void> {
    await lab.primary.query(
      `INSERT INTO note SELECT 'line ' || lpad(n::text, 6, '0') FROM generate_series(1, $1::int) AS n`,
      [count],
    );
  }

  async function replacePrimaryBehind(held: Promise<unknown>): Promise<void> {
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
  }

  async function contentOf(stream: AsyncIterable<unknown>): Promise<string> {
    let text = '';
    for await (const chunk of stream) text += (chunk as Buffer).toString();
    return text;
  }

  async function expectUsable(client: WatchedClient): Promise<void> {
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  }

  describe('FROM STDIN', () => {
    it('that is larger than the journal, inside a transaction: refused, with the reason', async () => {
      const client = await lab.connect({ failover: { maxJournalBytes: 20_000 } });
      const limits: string[] = [];
      client.failover!.on('limitReached', ({ limit }) => limits.push(limit));
      await client.query('BEGIN');
      await pipeline(Readable.from(lines(1, 5000)), client.query(copyFrom('COPY note FROM STDIN')));
      expect(limits).toEqual(['failover.maxJournalBytes']);
      await lab.replacePrimary();
      const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('b')`));
      expect(error).toMatchObject({
        code: '40001',
        kind: 'transaction-not-replayable',
        outcome: 'rolled-back',
      });
      expect(error.message).toContain('20000 bytes of failover.maxJournalBytes');
      await client.query('ROLLBACK');
      expect(await lab.notes()).toEqual([]);
      await expectUsable(client);
    });

    it('that passes the limit while it is half sent: refused, with the reason', async () => {
      const client = await lab.connect({ failover: { maxJournalBytes: 20_000 } });
      await client.query('BEGIN');
      const stream = client.query(copyFrom('COPY note FROM STDIN'));
      await new Promise((resolve) => stream.write(lines(1, 50_000).join(''), resolve));
      const failed = rejectionOf(once(stream, 'close'));
      await lab.replacePrimary();
      // It may have been told by now: then it has let go of its connection, and would fail of that.
      if ((stream as unknown as { connection: object | null }).connection !== null)
        stream.end('line 999999\n');
      const error = await failed;
      expect(error).toMatchObject({ code: '40001', kind: 'transaction-not-replayable' });
      expect(error.message).toContain('20000 bytes of failover.maxJournalBytes');
      await client.query('ROLLBACK');
      expect(await lab.notes()).toEqual([]);
      await expectUsable(client);
    });

    it('that is larger than the journal and is committed before: all of it is there, once', async () => {
      const client = await lab.connect({ failover: { maxJournalBytes: 20_000 } });
      await client.query('BEGIN');
      await pipeline(Readable.from(lines(1, 5000)), client.query(copyFrom('COPY note FROM STDIN')));
      await client.query('COMMIT');
      await lab.replacePrimary();
      expect(await lab.notes()).toHaveLength(5000);
      await expectUsable(client);
    });

    it('whose source fails behind it: nothing is written, and the transaction goes on', async () => {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await client.query('SAVEPOINT s');
      const source = new Readable({ read: () => undefined });
      source.push(lines(1, 100).join(''));
      const failing = settle(pipeline(source, client.query(copyFrom('COPY note FROM STDIN'))));
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_stat_progress_copy');
        return rowCount === 1;
      });
      await lab.replacePrimary();
      source.destroy(new Error('the disk is gone'));
      expect((await failing).error?.message).toBe('the disk is gone');
      await client.query('ROLLBACK TO s');
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
      await expectUsable(client);
    });

    it('of a transaction of its own, half sent: its outcome is unknown, and it is not run twice', async () => {
      const client = await lab.connect();
      const stream = client.query(copyFrom('COPY note FROM STDIN'));
      await new Promise((resolve) => stream.write(lines(1, 50_000).join(''), resolve));
      const failed = rejectionOf(once(stream, 'close'));
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_stat_progress_copy');
        return rowCount === 1;
      });
      await lab.replacePrimary();
      stream.end('line 999999\n');
      expect(await failed).toMatchObject({ code: '08007', kind: 'outcome-unknown', outcome: 'unknown' });
      expect(await lab.notes()).toEqual([]);
      await expectUsable(client);
    });

    it('of a transaction of its own, whose answer is lost with the primary: unknown, and not run twice', async () => {
      const client = await lab.connect();
      const held = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COPY' }, 'hold');
      const pending = settle(
        pipeline(Readable.from(lines(1, 100)), client.query(copyFrom('COPY note FROM STDIN'))),
      );
      await replacePrimaryBehind(held);
      expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await lab.notes()).toHaveLength(100);
      await expectUsable(client);
    });

    it('that comes when the primary is gone already: it runs on the new one, once', async () => {
      const client = await lab.connect();
      await lab.killPrimary();
      const pending = pipeline(
        Readable.from(lines(1, 30_000)),
        client.query(copyFrom('COPY note FROM STDIN')),
      );
      await lab.cluster.failover();
      await pending;
      expect(await lab.notes()).toHaveLength(30_000);
      await expectUsable(client);
    });
  });

  describe('TO STDOUT', () => {
    it('outside a transaction: the other half comes, nothing twice', async () => {
      await fill(50_000);
      const client = await lab.connect();
      const held = onMessage(lab.proxy, { from: 'server', type: 'd', after: 20_000 }, 'hold');
      const stream = client.query(copyTo(ORDERED));
      const [text] = await Promise.all([contentOf(stream), replacePrimaryBehind(held)]);
      expect(text === lines(1, 50_000).join('')).toBe(true);
      expect(stream.rowCount).toBe(50_000);
      await expectUsable(client);
    });

    it('outside a transaction, and only the connection is cut: the other half comes, nothing twice', async () => {
      await fill(50_000);
      const client = await lab.connect();
      const cut = onMessage(lab.proxy, { from: 'server', type: 'd', after: 20_000 }, 'cut-before');
      const stream = client.query(copyTo(ORDERED));
      const [text] = await Promise.all([contentOf(stream), cut]);
      expect(text === lines(1, 50_000).join('')).toBe(true);
      await expectUsable(client);
    });

    it.each(['', 'BEGIN'])(
      'whose lines are others by now: an error, and never a file that ends too soon (%s)',
      async (before) => {
        await fill(50_000);
        const client = await lab.connect();
        if (before !== '') await client.query(before);
        const held = onMessage(lab.proxy, { from: 'server', type: 'd', after: 20_000 }, 'hold');
        const stream = client.query(copyTo(ORDERED));
        const reading = settle(contentOf(stream));
        await held;
        await lab.primary.query(`DELETE FROM note WHERE text = 'line 000007'`);
        await replacePrimaryBehind(held);
        expect((await reading).error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
        if (before !== '') await client.query('ROLLBACK');
        await expectUsable(client);
      },
    );

    it('of which everything but its end had come: it ends, nothing twice', async () => {
      await fill(1000);
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('line 999999')`);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'c' }, (connection) =>
        loseAnswers(lab.proxy, connection),
      );
      const stream = client.query(copyTo(ORDERED));
      const [text] = await Promise.all([contentOf(stream), replacePrimaryBehind(lost)]);
      expect(text === [...lines(1, 1000), 'line 999999\n'].join('')).toBe(true);
      await client.query('COMMIT');
      await expectUsable(client);
    });

    it('that was complete, in a transaction that is replayed: it is not given again', async () => {
      await fill(1000);
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('line 999999')`);
      expect(await contentOf(client.query(copyTo(ORDERED)))).toHaveLength(1001 * 12);
      await lab.replacePrimary();
      await client.query('COMMIT');
      expect(await lab.notes()).toHaveLength(1001);
      await expectUsable(client);
    });

    it('of many megabytes that nobody reads: behind the loss no more than the buffers hold is taken from the server', async () => {
      const total = 120_000_000;
      const client = await lab.connect();
      const stream = client.query(
        copyTo(`COPY (SELECT repeat('x', 9999) FROM generate_series(1, ${total / 10_000})) TO STDOUT`),
      );
      let bytes = 0;
      const count = (): void => {
        for (const proxy of lab.standbyProxies) {
          proxy.onBackendMessage = (type, body) => {
            if (type === 'd') bytes += body.length;
            return undefined;
          };
        }
      };
      const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      let given = 0;
      while (given < 1_000_000) given += (await iterator.next()).value.length as number;
      count();
      await lab.replacePrimary();
      // Who does not read does not notice. It runs again, what was given is skipped, and then the stream is full.
      while (bytes === 0) given += (await iterator.next()).value.length as number;
      let last = -1;
      await waitFor(
        () => {
          const stands = bytes > given && bytes === last;
          last = bytes;
          return stands;
        },
        { intervalMillis: 300, timeoutMillis: 20_000 },
      );
      expect(bytes).toBeLessThan(total / 2);
      expect(stream.readableLength).toBeLessThan(2_000_000);
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        given += next.value.length;
      expect(given).toBe(total);
      await expectUsable(client);
    });
  });
});
