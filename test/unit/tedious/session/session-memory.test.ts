import { describe, expect, it } from 'vitest';
import { SessionMemory } from '../../../../src/tedious/session/session-memory.ts';
import { sessionEffect } from '../../../../src/tedious/sql/session-effect.ts';

function after(...texts: readonly string[]): SessionMemory {
  const memory = new SessionMemory();
  for (const text of texts) memory.ran(sessionEffect(text.replace(/^!/, ''), 'batch'), text.startsWith('!'));
  return memory;
}

describe('the state of a session of SQL Server', () => {
  it('is restored in the order in which it was set, since SET LANGUAGE changes DATEFORMAT', () => {
    const memory = after('set language us_english', 'set dateformat dmy', 'set language british');
    memory.databaseChanged('a]b');
    expect(memory.restoration(false)).toEqual(['USE [a]]b]', 'SET DATEFORMAT dmy', 'SET LANGUAGE british']);
  });

  it('a temporary table pins it until it is dropped, however it is made', () => {
    expect(after('drop table if exists #t; create table #t (a int)').refusal(false)).toContain('#t');
    expect(after('select 1 as a into [#t]', 'drop table #t').refusal(false)).toBeNull();
  });

  it('what nests has to be undone as often', () => {
    const lock = `exec sp_getapplock 'r', 'Shared', 'Session'`;
    const release = `exec sp_releaseapplock 'r', 'Session'`;
    expect(after(lock, lock, release).refusal(false)).toContain('application lock');
    expect(after(lock, lock, release, release).refusal(false)).toBeNull();
    expect(after(release, lock, release).refusal(false)).toBeNull();
  });

  it('what is set for certain ends the doubt about it', () => {
    expect(after('if @a = 1 set datefirst 1').refusal(false)).toContain('datefirst');
    expect(after('if @a = 1 set datefirst 1', 'set datefirst 1').refusal(false)).toBeNull();
  });

  it('a text that failed leaves doubt, but about what was so before', () => {
    expect(after('!set nocount on; insert t values (1)').refusal(false)).toContain('nocount');
    const known = after('set nocount on', '!set nocount on; insert t values (1)');
    expect([known.refusal(false), known.restoration(false)]).toEqual([null, ['SET NOCOUNT ON']]);
  });
});

describe('another user', () => {
  it.each(["EXECUTE AS USER = 'u'", "SETUSER 'u'", "EXEC sp_setapprole 'r', 'p'"])('is known: %s', (sql) => {
    const memory = new SessionMemory();
    expect(memory.hasChangedUser).toBe(false);
    memory.ran(sessionEffect(sql, 'batch'));
    expect(memory.hasChangedUser).toBe(true);
  });

  it('is over behind its REVERT', () => {
    const memory = new SessionMemory();
    memory.ran(sessionEffect("EXECUTE AS USER = 'u'", 'batch'));
    memory.ran(sessionEffect('REVERT', 'batch'));
    expect(memory.hasChangedUser).toBe(false);
  });
});
