import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS } from '../support/drivers.ts';
import { waitFor } from '../support/wait-for.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('what the server says unasked, with $name', (driver) => {
  it('notices come as they are, before the result of their statement', async () => {
    const client = await lab.connect(driver);
    const trace: unknown[] = [];
    client.on('notice', (notice: any) =>
      trace.push([notice.name, notice.severity, notice.code, notice.message, notice.detail]),
    );
    await client
      .query(
        "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two' USING DETAIL = 'd', ERRCODE = '01234'; END $$",
      )
      .then(() => trace.push('result'));
    expect(trace).toEqual([
      ['notice', 'NOTICE', '00000', 'one', undefined],
      ['notice', 'WARNING', '01234', 'two', 'd'],
      'result',
    ]);
  });

  it('nobody hears a notice of the driver itself', async () => {
    const client = lab.client(driver);
    const notices: string[] = [];
    client.on('notice', (notice) => notices.push(notice.message ?? ''));
    await client.connect();
    await client.query("SET client_min_messages = 'debug1'");
    notices.length = 0;
    await client.query('BEGIN');
    await client.query('CREATE TEMP TABLE IF NOT EXISTS noticed (a int)');
    await client.query('INSERT INTO noticed VALUES (1)');
    await client.query('COMMIT');
    await client.query('SELECT 1');
    expect(notices.filter((text) => /holdfast|pg_catalog|emit_message/i.test(text))).toEqual([]);
  });

  it('notifications come to whoever listens, with channel, payload and process', async () => {
    const listener: any = await lab.connect(driver);
    const speaker: any = await lab.connect(driver);
    const heard: any[] = [];
    listener.on('notification', (message: unknown) => heard.push(message));
    await listener.query('LISTEN news');
    await speaker.query("NOTIFY news, 'hello ü'");
    await speaker.query('SELECT pg_notify($1, $2)', ['news', '']);
    await waitFor(() => heard.length === 2);
    expect(
      heard.map(({ channel, payload, processId, name }) => ({ channel, payload, processId, name })),
    ).toEqual([
      { channel: 'news', payload: 'hello ü', processId: speaker.processID, name: 'notification' },
      { channel: 'news', payload: '', processId: speaker.processID, name: 'notification' },
    ]);
    await listener.query('UNLISTEN news');
    await speaker.query('NOTIFY news');
    await listener.query('SELECT 1');
    expect(heard).toHaveLength(2);
  });

  it('notifications of a transaction come when it is committed, not when it is rolled back', async () => {
    const client = await lab.connect(driver);
    const heard: (string | undefined)[] = [];
    client.on('notification', (message) => heard.push(message.payload));
    await client.query('LISTEN own');
    for (const [payload, end] of [
      ['lost', 'ROLLBACK'],
      ['kept', 'COMMIT'],
    ] as const) {
      await client.query('BEGIN');
      await client.query(`NOTIFY own, '${payload}'`);
      expect(heard).toEqual([]);
      await client.query(end);
    }
    await waitFor(() => heard.length > 0);
    expect(heard).toEqual(['kept']);
  });

  it('changed parameters are told on the connection', async () => {
    const client: any = lab.client(driver);
    const told = new Map<string, string>();
    client.connection.on('parameterStatus', (message: any) =>
      told.set(message.parameterName, message.parameterValue),
    );
    await client.connect();
    expect(told.get('server_version')).toMatch(/^17/);
    expect(told.get('client_encoding')).toBe('UTF8');
    expect(told.get('server_encoding')).toBe('UTF8');
    expect(told.get('session_authorization')).toBe('app');
    await client.query("SET TimeZone = 'Asia/Tokyo'");
    expect(told.get('TimeZone')).toBe('Asia/Tokyo');
  });
});
