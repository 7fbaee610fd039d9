import { afterEach, describe, expect, it, vi } from 'vitest';
import { DatabaseMemory } from '../../../src/pg/database-memory.ts';
import type { SqlRow, SqlRunner } from '../../../src/pg/sql-runner.ts';
import { StatementText } from '../../../src/pg/statement-text.ts';
import { refusal, ScriptedRunner } from './scripted-runner.ts';

const SESSION = { searchPath: 'public', standardStrings: true, temporaryObjects: false };

describe('DatabaseMemory', () => {
  it('asks again for what a definition may have changed while it was being asked for', async () => {
    const questions: ((rows: readonly SqlRow[]) => void)[] = [];
    const runner: SqlRunner = {
      run: () =>
        new Promise((resolve) => {
          questions.push(resolve);
        }),
    };
    const memory = new DatabaseMemory();
    const learn = async (answers: number, meanwhile: () => void = () => undefined): Promise<void> => {
      const learned = memory.learn([], runner, SESSION);
      while (questions.length < answers) await new Promise((resolve) => setImmediate(resolve));
      meanwhile();
      for (const answer of questions) answer([]);
      await learned;
    };
    await learn(1, () => {
      memory.definitionsChanged();
    });
    await learn(2);
    await learn(2); // Known now.
    expect(questions).toHaveLength(2);
  });

  describe('after a loss, where a transaction is only replayed', () => {
    afterEach(() => {
      vi.useRealTimers();
    });

    const SCHEMA_OF_TRAITS = 'tgdeferrable';
    const unseen = new StatementText('do $$ begin null; end $$');
    /** What the server says now: names of what reaches out, or an error. */
    function serverOf(state: { reaching: readonly string[] | Error }): ScriptedRunner {
      return new ScriptedRunner((sql) => {
        if (state.reaching instanceof Error) return state.reaching;
        return sql.includes(SCHEMA_OF_TRAITS)
          ? state.reaching.map((name) => ['reaching', name])
          : state.reaching.map((name) => [name]);
      });
    }
    const renewal = (server: string) => ({ server, notBeforeMillis: performance.now(), proofs: false });

    it('asks only what can act outside, once for all sessions of that loss', async () => {
      const runner = serverOf({ reaching: [] });
      const memory = new DatabaseMemory();
      await memory.learn([unseen], runner, SESSION);
      const before = runner.statements.length;
      const loss = renewal('new');
      for (let session = 0; session < 3; session++) {
        expect(await memory.learn([unseen], runner, SESSION, loss)).toMatchObject([{ staysInside: true }]);
      }
      expect(runner.statements.length - before).toBe(1);
      expect(runner.count(SCHEMA_OF_TRAITS)).toBe(1);
      // Another server, or another loss, is another question.
      await memory.learn([unseen], runner, SESSION, renewal('other'));
      await memory.learn([unseen], runner, SESSION, renewal('other'));
      expect(runner.statements.length - before).toBe(3);
    });

    it('believes the answer, whatever was known before', async () => {
      const state: { reaching: readonly string[] | Error } = { reaching: [] };
      const runner = serverOf(state);
      const memory = new DatabaseMemory();
      expect(await memory.learn([unseen], runner, SESSION)).toMatchObject([{ staysInside: true }]);
      state.reaching = ['dblink'];
      expect(await memory.learn([unseen], runner, SESSION, renewal('new'))).toMatchObject([
        { staysInside: false },
      ]);
      state.reaching = refusal('42501');
      expect(await memory.learn([unseen], runner, SESSION, renewal('new'))).toMatchObject([
        { staysInside: false },
      ]);
    });

    it('does not make the rest of what is known any younger', async () => {
      vi.useFakeTimers({ toFake: ['performance'] });
      const runner = serverOf({ reaching: [] });
      const memory = new DatabaseMemory();
      await memory.learn([unseen], runner, SESSION);
      vi.advanceTimersByTime(59_000);
      await memory.learn([unseen], runner, SESSION, renewal('new'));
      expect(runner.count(SCHEMA_OF_TRAITS)).toBe(1);
      vi.advanceTimersByTime(1_000);
      await memory.learn([unseen], runner, SESSION, renewal('new'));
      expect(runner.count(SCHEMA_OF_TRAITS)).toBe(2);
    });

    it('keeps no answer that a change of definitions has overtaken', async () => {
      const answers: ((rows: readonly SqlRow[]) => void)[] = [];
      const memory = new DatabaseMemory();
      await memory.learn([unseen], serverOf({ reaching: [] }), SESSION);
      const runner = new ScriptedRunner(
        () =>
          new Promise((resolve) => {
            answers.push(resolve);
          }),
      );
      const loss = renewal('new');
      const learned = memory.learn([unseen], runner, SESSION, loss);
      await vi.waitFor(() => {
        expect(answers).toHaveLength(1);
      });
      memory.definitionsChanged();
      answers[0]!([]);
      await learned;
      const late = serverOf({ reaching: ['dblink'] });
      expect(await memory.learn([unseen], late, SESSION, loss)).toMatchObject([{ staysInside: false }]);
    });
  });
});
