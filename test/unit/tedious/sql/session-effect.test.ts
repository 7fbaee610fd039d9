import { describe, expect, it } from 'vitest';
import {
  effectOfFailure,
  effectOfProcedure,
  NO_EFFECT,
  sessionEffect,
  type SessionEffect,
} from '../../../../src/tedious/sql/session-effect.ts';

function texts({ settings }: SessionEffect): string[] {
  return settings.map(({ text }) => text);
}

function pins({ pins: found }: SessionEffect): string[] {
  return found.map(({ name }) => name);
}

const INITIAL_SQL = `set ansi_nulls on
set ansi_null_dflt_on on
set ansi_padding on
set ansi_warnings on
set arithabort on
set concat_null_yields_null on
set cursor_close_on_commit off
set datefirst 7
set dateformat mdy
set implicit_transactions off
set language us_english
set numeric_roundabort off
set quoted_identifier on
set textsize 2147483647
set transaction isolation level read committed
set xact_abort off`;

describe('what a batch sets', () => {
  it('the SQL that tedious begins with', () => {
    const effect = sessionEffect(INITIAL_SQL, 'batch');
    expect(effect).toMatchObject({ database: null, pins: [] });
    expect(texts(effect).map((text) => text.toLowerCase())).toEqual(INITIAL_SQL.split('\n'));
  });

  it.each([
    ['set nocount on', ['SET nocount ON']],
    ['SET ANSI_NULLS, QUOTED_IDENTIFIER ON; select 1', ['SET ANSI_NULLS ON', 'SET QUOTED_IDENTIFIER ON']],
    ['set lock_timeout -1', ['SET lock_timeout -1']],
    ["set language N'Français'", ["SET language N'Français'"]],
    ['set deadlock_priority low', ['SET deadlock_priority low']],
    ['set transaction isolation level repeatable read', ['SET transaction isolation level repeatable read']],
    ['set statistics io, time on', ['SET statistics io ON', 'SET statistics time ON']],
    ['set identity_insert [a b].t on', ['SET identity_insert [a b].t ON']],
    ['set datefirst 1 set datefirst 2', ['SET datefirst 2']],
    [
      'set dateformat dmy; set language us_english; set dateformat ymd',
      ['SET language us_english', 'SET dateformat ymd'],
    ],
    ['begin tran; set rowcount 5; commit', ['SET rowcount 5']],
  ])('%j', (sql, expected) => {
    const effect = sessionEffect(sql, 'batch');
    expect(pins(effect)).toEqual([]);
    expect(texts(effect).map((text) => text.toLowerCase())).toEqual(
      expected.map((text) => text.toLowerCase()),
    );
  });

  it.each([
    ['select 1'],
    ['set @a = 1'],
    ['declare @a int; set @a = 1; set @b += 2'],
    ['update t set nocount = 1, datefirst = 7'],
    ['merge t using s on 1 = 1 when matched then update set language = 1;'],
    ['alter database x set recovery simple'],
    ["print 'set nocount on'"],
    ['create procedure p as set datefirst 1 create table #t (a int)'],
    ['-- set nocount on\nselect 1 /* use x */'],
    ["exec p 'use x'"],
    ['select [set], [use] from [#t]'],
  ])('%j: nothing', (sql) => {
    expect(sessionEffect(sql, 'batch')).toBe(NO_EFFECT);
  });

  it.each([
    ['set datefirst @n', 'datefirst'],
    ['set textsize @@rowcount', 'textsize'],
    ['set something_new on', 'something_new'],
    ['set nocount', 'nocount'],
    ['set transaction isolation level chaos', 'transaction'],
    ['set context_info 0x01', 'context_info'],
    ['if @a = 1 set datefirst 1', 'datefirst'],
    ['begin set datefirst 1 end', 'datefirst'],
    ['begin try set datefirst 1 end try begin catch end catch', 'datefirst'],
    ['while @a > 0 set datefirst 1', 'datefirst'],
    ['if @a = 1 return; set datefirst 1', 'datefirst'],
    ['if @a = 1 goto done; set datefirst 1; done: select 1', 'datefirst'],
    ['set noexec on', 'noexec'],
    ['set showplan_xml on', 'showplan_xml'],
    ['set implicit_transactions on', 'implicit_transactions'],
    ['set ansi_defaults on', 'implicit_transactions'],
  ])('%j: pins the session by the name %j', (sql, name) => {
    expect(pins(sessionEffect(sql, 'batch'))).toEqual([name]);
  });

  it('turning off undoes the pin', () => {
    expect(sessionEffect('set noexec off', 'batch').undone).toEqual(['noexec']);
    const off = sessionEffect('set implicit_transactions on; set implicit_transactions off', 'batch');
    expect(off).toMatchObject({ pins: [], undone: ['implicit_transactions'] });
    expect(texts(off)).toEqual(['SET IMPLICIT_TRANSACTIONS OFF']);
  });

  it('where the same is set for certain behind a condition, the condition does not matter', () => {
    const effect = sessionEffect('if @a = 1 set datefirst 1; set datefirst 2', 'batch');
    expect([pins(effect), texts(effect)]).toEqual([[], ['SET DATEFIRST 2']]);
    const after = sessionEffect('set datefirst 2; if @a = 1 set datefirst 1', 'batch');
    expect([pins(after), texts(after)]).toEqual([['datefirst'], ['SET DATEFIRST 2']]);
  });

  it('a database', () => {
    expect(sessionEffect('use a; select 1 use [b c]', 'batch').database).toBe('[b c]');
    expect(sessionEffect('if @a = 1 use b', 'batch')).toMatchObject({ database: 'b', pins: [] });
    expect(sessionEffect("select 1 option (use hint ('x'))", 'batch')).toBe(NO_EFFECT);
  });
});

describe('what a batch leaves in its session', () => {
  it.each([
    ['create table #t (a int)', '#T'],
    ['create table [#t x] (a int)', '#T X'],
    ['create table tempdb..#t (a int)', '#T'],
    ['select * into #t from s', '#T'],
    ['with a as (select 1 as x) select x into "#t" from a', '#T'],
    ['select 1 as x into #t union all select 2', '#T'],
    ['if @a = 1 create table #t (a int)', '#T'],
    ['create table ##t (a int)', '##T'],
    ['create procedure #p as select 1', '#P'],
    ["exec sp_getapplock 'r', 'Exclusive', 'Session'", 'applock r'],
    ["exec @r = sp_getapplock @Resource = 'r', @LockMode = 'Shared', @LockOwner = @o", 'applock r'],
    ["sp_getapplock @Resource = @x, @LockMode = 'Shared', @LockOwner = session", 'applock ?'],
    ["execute as user = 'u'", 'execute_as'],
    ["setuser 'u'", 'setuser'],
    ['declare c cursor for select 1', 'cursor C'],
    ['declare c insensitive scroll cursor for select 1', 'cursor C'],
    ["exec sys.sp_set_session_context 'k', 'v'", 'sp_set_session_context'],
    ["exec sp_setapprole 'a', 'p'", 'sp_setapprole'],
    ['exec sp_xml_preparedocument @h output, @x', 'xml_document'],
    ["exec sp_prepexec @h output, N'', N'select 1'", 'sp_prepexec'],
    ["open symmetric key k decryption by password = 'p'", 'key K'],
    ['dbcc traceon (1204)', 'trace flag 1204'],
    ["exec ('create table ##t (a int)')", '##T'],
    ["exec sp_executesql N'declare c cursor for select ''x'''", 'cursor C'],
  ])('%j: it has %j', (sql, name) => {
    const effect = sessionEffect(sql, 'batch');
    expect(pins(effect)).toEqual([name]);
    expect(effect.pins[0]?.reason).toMatch(/^it has /);
  });

  it('says which', () => {
    expect(sessionEffect('create table #Orders (a int)', 'batch').pins[0]?.reason).toBe(
      'it has the temporary table #Orders',
    );
  });

  it.each([
    ['insert into #t select 1'],
    ['insert into t output inserted.a into #t values (1)'],
    ["exec sp_getapplock 'r', 'Exclusive'"],
    ["exec sp_getapplock @Resource = 'r', @LockMode = 'Exclusive', @LockOwner = 'Transaction'"],
    ['declare @c cursor; set @c = cursor for select 1'],
    ['declare c cursor local for select 1'],
    ['dbcc traceon (1204, -1)'],
    ["exec sp_addlinkedserver 'x'"],
    ["exec ('set datefirst 1; use x; create table #t (a int)')"],
    ["exec sp_executesql N'create table #t (a int); drop table #t'"],
    ["exec ('create table ##t (a int)') at other"],
    ['open c; fetch next from c into @a; close c'],
  ])('%j: nothing', (sql) => {
    expect(sessionEffect(sql, 'batch')).toBe(NO_EFFECT);
  });

  it.each([
    ['drop table #t', ['#T']],
    ['drop table if exists #a, t, [#b]', ['#A', '#B']],
    ['revert', ['execute_as']],
    ['setuser', ['setuser']],
    ["exec sp_releaseapplock 'r', 'Session'", ['applock r']],
    ['deallocate c', ['cursor C']],
    ['deallocate global c', ['cursor C']],
    ['exec sp_unsetapprole @c', ['sp_setapprole']],
    ['close symmetric key k', ['key K']],
    ['dbcc traceoff (1204)', ['trace flag 1204']],
  ])('%j: undoes %j', (sql, undone) => {
    expect(sessionEffect(sql, 'batch')).toMatchObject({ pins: [], undone });
  });

  it.each([
    ['create table #t (a int); insert #t values (1); drop table #t', [], ['#T']],
    ['drop table if exists #t; create table #t (a int)', ['#T'], []],
    ["if object_id('tempdb..#t') is not null drop table #t; select 1 as a into #t", ['#T'], []],
    ['if @a = 1 drop table #t', [], []],
    ['if @a = 1 begin create table #t (a int); drop table #t end', [], []],
    ['if @a = 1 create table #t (a int); drop table #t', [], ['#T']],
    ['create table #t (a int); if @a = 1 drop table #t', ['#T'], []],
    ['create table #t (a int); begin try select 1; drop table #t end try begin catch end catch', ['#T'], []],
    ['begin try create table #t (a int) end try begin catch end catch; drop table #t', [], ['#T']],
    ['create table #t (a int); if @a = 1 return; drop table #t', ['#T'], []],
    ['while 1 = 1 begin create table #t (a int); if @a = 1 break; drop table #t end', ['#T'], []],
    [
      'declare c cursor for select 1 open c fetch next from c while @@fetch_status = 0 begin fetch next from c if @a = 1 break end ' +
        'close c deallocate c',
      [],
      ['cursor C'],
    ],
    ["execute as user = 'u'; execute as user = 'v'; revert", ['execute_as'], []],
    [
      "exec sp_getapplock 'a', 'Shared', 'Session'; exec sp_releaseapplock 'b', 'Session'",
      ['applock a'],
      ['applock b'],
    ],
  ])('%j: in their order', (sql, expected, undone) => {
    const effect = sessionEffect(sql, 'batch');
    expect(pins(effect)).toEqual(expected);
    expect(effect.undone).toEqual(undone);
  });

  it('a text that can be read in two ways pins, if that makes a difference', () => {
    expect(pins(sessionEffect('select 1 -- \rset datefirst 1', 'batch'))).toEqual(['unsure']);
    expect(sessionEffect('select 1 -- \rselect 2', 'batch')).toBe(NO_EFFECT);
  });
});

describe('what a text of sp_executesql leaves', () => {
  it.each([
    ['set datefirst 1; set datefirst @n; use other'],
    ['create table #t (a int)'],
    ['select 1 as a into #t; drop table #t'],
    ['set implicit_transactions on'],
  ])('%j: nothing', (sql) => {
    expect(sessionEffect(sql, 'dynamic')).toBe(NO_EFFECT);
  });

  it.each([
    ['create table ##t (a int)', ['##T']],
    ['set context_info @c', ['context_info']],
    ['exec sp_set_session_context @k, @v', ['sp_set_session_context']],
    ['declare c cursor for select 1', ['cursor C']],
    ["exec sp_getapplock @r, 'Exclusive', 'Session'", ['applock ?']],
  ])('%j: it has %j', (sql, expected) => {
    expect(pins(sessionEffect(sql, 'dynamic'))).toEqual(expected);
  });

  it("drops the session's own table, unless it made one of that name", () => {
    expect(sessionEffect('drop table #t', 'dynamic').undone).toEqual(['#T']);
    expect(sessionEffect('create table #t (a int); drop table #t', 'dynamic').undone).toEqual([]);
  });
});

describe('a text that failed', () => {
  const after = (sql: string, settings: readonly (readonly [string, string])[] = []): string[] =>
    pins(effectOfFailure(sessionEffect(sql, 'batch'), new Map(settings)));

  it('leaves nothing if it is one statement', () => {
    expect(after('set language klingon')).toEqual([]);
    expect(after('create table #t (a int)')).toEqual([]);
  });

  it('may have come to any of its statements', () => {
    const sql = 'set datefirst 1; create table #t (a int); drop table #t; use other; insert t values (1)';
    expect(after(sql)).toEqual(['datefirst', '#T']);
    expect(after(sql, [['datefirst', 'SET DATEFIRST 1']])).toEqual(['#T']);
    expect(after('drop table #t; select 1')).toEqual([]);
  });
});

describe('a procedure that is called by the protocol', () => {
  /** A parameter of type nvarchar(100) or varchar(100). */
  function parameter(name: string, value: string, isNarrow = false): Buffer {
    const text = Buffer.from(value, isNarrow ? 'latin1' : 'utf16le');
    const type = Buffer.from([isNarrow ? 0xa7 : 0xe7, 200, 0, 9, 4, 0xd0, 0, 0x34, text.length, 0]);
    return Buffer.concat([
      Buffer.from([name.length]),
      Buffer.from(name, 'utf16le'),
      Buffer.from([0]),
      type,
      text,
    ]);
  }

  function call(name: string, ...parameters: readonly Buffer[]): SessionEffect {
    const headers = Buffer.from([22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    const head = Buffer.alloc(2);
    head.writeUInt16LE(name.length);
    const flags = Buffer.alloc(2);
    const payload = Buffer.concat([headers, head, Buffer.from(name, 'utf16le'), flags, ...parameters]);
    return effectOfProcedure(name, payload);
  }

  it.each([false, true])('a lock of the session (narrow: %j)', (isNarrow) => {
    const own = [parameter('@Resource', 'r', isNarrow), parameter('@LockOwner', 'Session', isNarrow)];
    expect(pins(call('sp_getapplock', ...own))).toEqual(['applock r']);
    expect(call('sys.sp_releaseapplock', ...own).undone).toEqual(['applock r']);
    const transaction = parameter('@LockOwner', 'Transaction', isNarrow);
    expect(call('sp_getapplock', parameter('@Resource', 'r', isNarrow), transaction)).toBe(NO_EFFECT);
    expect(call('sp_getapplock', parameter('@Resource', 'r', isNarrow))).toBe(NO_EFFECT);
  });

  it('what could not be read may be a lock of the session', () => {
    const unknown = Buffer.from([0, 0, 0xf3, 0, 0, 0]);
    expect(pins(call('sp_getapplock', parameter('@Resource', 'r'), unknown))).toEqual(['applock r']);
  });

  it('other procedures of the server, and those of the application', () => {
    expect(pins(call('[sys].[sp_set_session_context]'))).toEqual(['sp_set_session_context']);
    expect(pins(call('sp_cursoropen'))).toEqual(['sp_cursoropen']);
    expect(call('dbo.p')).toBe(NO_EFFECT);
  });
});
