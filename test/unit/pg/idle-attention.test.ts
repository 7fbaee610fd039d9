import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { IdleAttention, type AttendedSession } from '../../../src/pg/idle-attention.ts';
import type { ServerConnection } from '../../../src/pg/server-connection.ts';

function session(isReady: boolean) {
  const attend = vi.fn(() => Promise.resolve());
  const made = {
    connection: {} as ServerConnection | null,
    isIdle: true,
    context: {
      options: { stateCheckMillis: 0 },
      database: { isReady },
      memory: { questions: (connection: ServerConnection) => connection },
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

it('lets the application go first only once', async () => {
  const { made, attend, attention } = session(false);
  attention.wanted();
  made.isIdle = false;
  await turn();
  await turn();
  expect(attend).not.toHaveBeenCalled();
  made.isIdle = true;
  attention.wanted();
  expect(attend).toHaveBeenCalledTimes(1);
});
