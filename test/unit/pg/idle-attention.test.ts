import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { IdleAttention, type AttendedSession } from '../../../src/pg/idle-attention.ts';
import type { ServerConnection } from '../../../src/pg/server-connection.ts';
import type { SqlRunner } from '../../../src/pg/sql-runner.ts';

function session(isReady: boolean) {
  const attend = vi.fn(() => Promise.resolve());
  const made = {
    connection: {} as ServerConnection | null,
    isIdle: true,
    context: {
      options: { stateCheckMillis: 0 },
      database: { isReady },
      memory: { questions: (connection: SqlRunner) => connection },
    },
    memory: { wantsAttention: true, isPinned: false, attend },
    marks: { statementMayBeGone: vi.fn() },
    hold: vi.fn(),
    letGo: vi.fn(),
  };
  return { made, attend, attention: new IdleAttention(made satisfies AttendedSession) };
}

it('attends at once to what can be judged at once', () => {
  const { attend, attention } = session(true);
  attention.wanted();
  expect(attend).toHaveBeenCalledTimes(1);
});

it('loads no parser for a session that is ended behind its first answer', async () => {
  const { made, attend, attention } = session(false);
  attention.wanted();
  expect(attend).not.toHaveBeenCalled();
  made.connection = null;
  await turn();
  await turn();
  expect(attend).not.toHaveBeenCalled();
});

it('loads it for one that goes on being idle', async () => {
  const { attend, attention } = session(false);
  attention.wanted();
  await turn();
  await turn();
  expect(attend).toHaveBeenCalledTimes(1);
});

it('holds back what the application sends meanwhile, until all is found out (A8)', async () => {
  const { made, attend, attention } = session(false);
  attention.wanted();
  expect(made.hold).toHaveBeenCalledTimes(1);
  made.isIdle = false; // The application has given its next statement.
  await turn();
  expect(attend).toHaveBeenCalledTimes(1);
  await turn();
  expect(made.letGo).toHaveBeenCalledTimes(1);
});

it('is patient only once', async () => {
  const { attend, attention } = session(false);
  attention.wanted();
  await turn();
  attention.wanted();
  expect(attend).toHaveBeenCalledTimes(2);
});
