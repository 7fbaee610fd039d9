import { describe, expect, it } from 'vitest';
import type { LostCommit } from '../../../src/events.ts';
import type { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';

async function transaction(client: Client): Promise<unknown> {
  await client.query('BEGIN');
  await client.query(`INSERT INTO note VALUES ('a')`);
  return await client.query('COMMIT');
}

describe.each([
  { by: 'log positions', tokens: false },
  { by: 'tokens', tokens: true },
])('R9: what was in doubt is found committed by $by, and acknowledged', ({ tokens }) => {
  const lab = FailoverLab.forThisSuite({ tokens });

  const FORMS = [
    { name: 'a transaction', answer: { type: 'C', text: 'COMMIT' }, run: transaction, statements: 3 },
    ...(tokens
      ? [
          {
            name: 'an autocommit write',
            answer: { type: 'Z' },
            run: async (client: Client) => await client.query(`INSERT INTO note VALUES ('a')`),
            statements: 1,
          },
        ]
      : []),
  ];

  for (const { name, run, answer, statements } of FORMS) {
    it(`${name}: is reported if a failover loses it later`, async () => {
      const client = await lab.connect();
      const lost: LostCommit[] = [];
      client.failover!.on('lostCommit', (event) => lost.push(event));
      const outcomes: string[] = [];
      client.failover!.on('commitResolved', ({ outcome }) => outcomes.push(outcome));
      await lab.shipAll();
      await lab.primary.freezeWalSender();
      // Only the connection is lost: the server lives on.
      const cut = onMessage(lab.proxy, { from: 'server', ...answer }, (connection) => {
        const verdict = loseAnswers(lab.proxy, connection);
        setTimeout(() => {
          lab.proxy.onBackendMessage = undefined;
          connection.cut();
        }, 100);
        return verdict;
      });
      const write = run(client);
      await cut;
      await write;
      expect(outcomes).toEqual(['committed']);
      expect(await lab.notes()).toEqual(['a']);
      await lab.primary.kill();
      await lab.cluster.failover();
      await client.query('SELECT');
      expect(await lab.notes()).toEqual([]);
      expect(lost).toHaveLength(1);
      expect(lost[0]!.outcome).toBe('lost');
      expect(lost[0]!.statements).toHaveLength(statements);
    });
  }
});
