import { describe, expect, it } from 'vitest';
import { tokenize } from '../../../../src/tedious/sql/lexer.ts';
import { effectOfProcedure, NO_EFFECT, sessionEffect } from '../../../../src/tedious/sql/session-effect.ts';

function effect(sql: string, scope: 'batch' | 'dynamic' = 'batch'): ReturnType<typeof sessionEffect> {
  return sessionEffect(sql, tokenize(sql), scope);
}

describe('settings', () => {
  it('are kept by name, with the statement that sets them', () => {
    expect(effect('SET XACT_ABORT ON; SET LOCK_TIMEOUT -1 set language us_english').settings).toEqual([
      { name: 'xact_abort', text: 'SET XACT_ABORT ON' },
      { name: 'lock_timeout', text: 'SET LOCK_TIMEOUT -1' },
      { name: 'language', text: 'set language us_english' },
    ]);
    expect(effect('SET TRANSACTION ISOLATION LEVEL READ COMMITTED').settings).toEqual([
      { name: 'isolation', text: 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED' },
    ]);
    expect(effect('SET TRANSACTION ISOLATION LEVEL SNAPSHOT SELECT 1').settings[0]?.text).toBe(
      'SET TRANSACTION ISOLATION LEVEL SNAPSHOT',
    );
    expect(effect('SET ANSI_NULLS, QUOTED_IDENTIFIER ON').settings).toEqual([
      { name: 'ansi_nulls,quoted_identifier', text: 'SET ANSI_NULLS, QUOTED_IDENTIFIER ON' },
    ]);
    expect(effect('SET IDENTITY_INSERT dbo.t ON').settings[0]?.text).toBe('SET IDENTITY_INSERT dbo.t ON');
  });

  it('end with the text of sp_executesql', () => {
    expect(effect('SET XACT_ABORT ON', 'dynamic')).toEqual(NO_EFFECT);
  });

  it('are no columns and no variables', () => {
    expect(effect('UPDATE t SET language = 1')).toEqual(NO_EFFECT);
    expect(effect('SET @x = 1')).toEqual(NO_EFFECT);
  });

  it.each([
    'SET LOCK_TIMEOUT @x',
    'IF 1 = 1 SET XACT_ABORT ON',
    'SET CONTEXT_INFO 0x01',
    'SET IMPLICIT_TRANSACTIONS ON',
  ])('that can not be set again are pins: %s', (sql) => {
    expect(effect(sql).pins).toHaveLength(1);
  });
});

describe('what no new session has', () => {
  it.each([
    'CREATE TABLE #t (a int)',
    'SELECT 1 AS a INTO #t',
    'CREATE TABLE ##t (a int)',
    "EXEC sp_getapplock 'a', 'Exclusive', 'Session'",
    "EXECUTE AS USER = 'x'",
    "EXEC sp_set_session_context 'a', 1",
    'DECLARE c CURSOR FOR SELECT 1',
  ])('%s', (sql) => {
    expect(effect(sql).pins).toHaveLength(1);
  });

  it.each([
    'INSERT INTO #t VALUES (1)',
    'CREATE TABLE #t (a int); DROP TABLE #t',
    "EXEC sp_getapplock 'a', 'Exclusive'",
    'DECLARE c CURSOR FOR SELECT 1; DEALLOCATE c',
  ])('nothing: %s', (sql) => {
    expect(effect(sql).pins).toEqual([]);
  });

  it('a temporary table of a dynamic text ends with it, but not a global one', () => {
    expect(effect('CREATE TABLE #t (a int)', 'dynamic').pins).toEqual([]);
    expect(effect('CREATE TABLE ##t (a int)', 'dynamic').pins).toHaveLength(1);
  });

  it('may be gone behind another text', () => {
    expect(effect('DROP TABLE IF EXISTS #t').undone).toEqual(['#T']);
    expect(effect('REVERT').undone).toEqual(['execute_as']);
  });

  it('is known of procedures that are called by the protocol', () => {
    expect(effectOfProcedure('sp_prepexec', Buffer.alloc(0)).pins).toHaveLength(1);
    expect(effectOfProcedure('sys.sp_getapplock', Buffer.from('Session', 'utf16le')).pins).toHaveLength(1);
    expect(effectOfProcedure('sp_getapplock', Buffer.from('Transaction', 'utf16le')).pins).toEqual([]);
    expect(effectOfProcedure('my_procedure', Buffer.alloc(0))).toEqual(NO_EFFECT);
  });
});
