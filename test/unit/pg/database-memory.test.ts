import { describe, expect, it } from 'vitest';
import { DatabaseMemory } from '../../../src/pg/database-memory.ts';
import type { SqlRow, SqlRunner } from '../../../src/pg/sql-runner.ts';

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
});
