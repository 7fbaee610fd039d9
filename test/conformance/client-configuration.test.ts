import { Socket } from 'node:net';
import stock from 'pg';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('configuration of a client of $name', (driver) => {
  const { pg, extra } = driver;
  const visible = (client: stock.Client): unknown => {
    const { user, host, port, database, ssl, processID, secretKey, binary, pipeline } = client as any;
    return { user, host, port, database, ssl, processID, secretKey, binary, pipeline };
  };

  it('is a client of pg', () => {
    expect(new pg.Client(lab.config(driver))).toBeInstanceOf(stock.Client);
    expect(new pg.Pool(lab.config(driver))).toBeInstanceOf(stock.Pool);
    expect(pg.Client.name).toBe('Client');
  });

  it('shows what was configured', () => {
    const config = { ...extra, host: '127.0.0.1', port: 5999, user: 'u', database: 'd', password: 'p' };
    expect(visible(new pg.Client(config))).toEqual({
      user: 'u',
      host: '127.0.0.1',
      port: 5999,
      database: 'd',
      ssl: false,
      processID: null,
      secretKey: null,
      binary: false,
      pipeline: false,
    });
  });

  it('reads a URL in a configuration', () => {
    const client = new pg.Client({
      ...extra,
      connectionString: 'postgres://u%20x:p%40ss@h:5999/d?application_name=me',
    });
    expect(visible(client)).toMatchObject({ user: 'u x', host: 'h', port: 5999, database: 'd' });
    expect(client.password).toBe('p@ss');
    expect((client as any).connectionParameters.application_name).toBe('me');
  });

  it('reads a URL alone', () => {
    const client = new pg.Client('postgres://u:p@h:5999/d');
    expect(visible(client)).toMatchObject({ user: 'u', host: 'h', port: 5999, database: 'd' });
  });

  it('takes the defaults from the environment', () => {
    const variables = {
      PGHOST: 'envhost',
      PGPORT: '5777',
      PGUSER: 'envuser',
      PGDATABASE: 'envdb',
      PGPASSWORD: 'envpw',
    };
    const before = { ...process.env };
    Object.assign(process.env, variables);
    try {
      const client = new pg.Client(extra);
      expect(visible(client)).toMatchObject({
        host: 'envhost',
        port: 5777,
        user: 'envuser',
        database: 'envdb',
      });
      expect(client.password).toBe('envpw');
    } finally {
      for (const name of Object.keys(variables)) {
        if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = before[name];
      }
    }
  });

  it('takes what the session is to be from the environment as well', async () => {
    const variables = { PGAPPNAME: 'from-env', PGOPTIONS: '-c work_mem=6MB', PGPASSWORD: 'app' };
    const before = { ...process.env };
    Object.assign(process.env, variables);
    try {
      const { host, port } = lab.node;
      const client = lab.keep(new pg.Client({ ...extra, host, port, user: 'app', database: 'app' }));
      await client.connect();
      const { rows } = await client.query(
        `SELECT current_setting('application_name') AS name, current_setting('work_mem') AS memory`,
      );
      expect(rows).toEqual([{ name: 'from-env', memory: '6MB' }]);
    } finally {
      for (const name of Object.keys(variables)) {
        if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = before[name];
      }
    }
  });

  it('takes a port as text, and the name of the user for the database', async () => {
    const { host, port } = lab.node;
    const client = lab.keep(
      new pg.Client({ ...extra, host, port: String(port) as never, user: 'app', password: 'app' }),
    );
    expect(visible(client)).toMatchObject({ port, database: 'app' });
    await client.connect();
    expect((await client.query('SELECT current_database() AS name')).rows).toEqual([{ name: 'app' }]);
  });

  it('takes the defaults of the module', () => {
    const { defaults } = pg;
    const before = { ...defaults };
    Object.assign(defaults, { user: 'by default', host: 'default-host', port: 5998, database: 'default-db' });
    try {
      expect(visible(new pg.Client(extra))).toMatchObject({
        user: 'by default',
        host: 'default-host',
        port: 5998,
        database: 'default-db',
      });
    } finally {
      Object.assign(defaults, before);
    }
  });

  it('has numbers for int8 while defaults.parseInt8 is set', async () => {
    const client = await lab.connect(driver);
    const sql = `SELECT 9007199254740991::int8 AS big, '{1,2}'::int8[] AS several`;
    expect((await client.query(sql)).rows).toEqual([{ big: '9007199254740991', several: ['1', '2'] }]);
    try {
      pg.defaults.parseInt8 = true;
      expect((await client.query(sql)).rows).toEqual([{ big: 9007199254740991, several: [1, 2] }]);
    } finally {
      pg.defaults.parseInt8 = false;
    }
    expect((await client.query(sql)).rows).toEqual([{ big: '9007199254740991', several: ['1', '2'] }]);
  });

  it('uses the type parsers of the module, and overrides of them', async () => {
    const { INT2 } = pg.types.builtins;
    const original = pg.types.getTypeParser(INT2);
    const client = await lab.connect(driver);
    try {
      pg.types.setTypeParser(INT2, (value) => `global ${value}`);
      expect((await client.query('SELECT 1::int2 AS a')).rows).toEqual([{ a: 'global 1' }]);
      const types: any = new pg.TypeOverrides();
      types.setTypeParser(INT2, (value: string) => `override ${value}`);
      expect((await client.query({ text: 'SELECT 1::int2 AS a, 2::int4 AS b', types })).rows).toEqual([
        { a: 'override 1', b: 2 },
      ]);
    } finally {
      pg.types.setTypeParser(INT2, original as (value: string) => unknown);
    }
  });

  it('takes a stream of the application; with failover one that is made already is refused with the reason (T12)', async () => {
    let made = 0;
    const stream = (): Socket => {
      made++;
      return new Socket();
    };
    if (driver.hasFailover) {
      const ready = { stream: new Socket() };
      expect(() => new pg.Client(lab.config(driver, ready))).toThrow(/'stream'.*failover: false/);
      expect(() => new pg.Pool(lab.config(driver, ready))).toThrow(/'stream'/);
      expect(() => new pg.Client(lab.config(driver, { connection: new Socket() }))).toThrow(/'connection'/);
    }
    const client = await lab.connect(driver, { stream });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(made).toBe(1);
    if (driver.hasFailover) return;
    const connection = new (pg as any).Connection({ stream: new Socket() });
    const own = await lab.connect(driver, { connection });
    expect((own as any).connection).toBe(connection);
    expect((await own.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('has the password as a property that is not enumerable', () => {
    const client = new pg.Client(lab.config(driver));
    expect(client.password).toBe('app');
    expect(Object.keys(client)).not.toContain('password');
    expect(Object.getOwnPropertyDescriptor(client, 'password')).toMatchObject({
      enumerable: false,
      writable: true,
    });
  });

  it('has the same enumerable properties as stock pg', () => {
    const ours = Object.keys(new pg.Client(lab.config(driver))).sort();
    expect(ours).toEqual(Object.keys(new stock.Client(lab.config(driver))).sort());
  });

  it('keeps a pool password that a class or a getter holds', async () => {
    class Settings {
      host = lab.node.host;
      port = lab.node.port;
      user = 'app';
      database = 'app';
      failover = (extra as any).failover;
      get password(): string {
        return 'app';
      }
    }
    const client = lab.keep(new pg.Client(new Settings()));
    await client.connect();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('sends application_name, options and the timeouts to the server', async () => {
    const client = await lab.connect(driver, {
      application_name: 'conformance',
      options: '-c work_mem=5MB',
      statement_timeout: 12_345,
      lock_timeout: 2_345,
      idle_in_transaction_session_timeout: 3_456,
    });
    const { rows } = await client.query(
      `SELECT name, setting FROM pg_settings WHERE name IN ('application_name', 'work_mem', 'statement_timeout',
       'lock_timeout', 'idle_in_transaction_session_timeout') ORDER BY name`,
    );
    expect(rows).toEqual([
      { name: 'application_name', setting: 'conformance' },
      { name: 'idle_in_transaction_session_timeout', setting: '3456' },
      { name: 'lock_timeout', setting: '2345' },
      { name: 'statement_timeout', setting: '12345' },
      { name: 'work_mem', setting: '5120' },
    ]);
  });

  it('has the statics of the module', () => {
    expect(Object.keys(pg).sort()).toEqual(Object.keys(stock).sort());
    for (const name of Object.keys(stock) as (keyof typeof stock)[]) {
      if (name !== 'Client' && name !== 'Pool') expect(pg[name], name).toBe(stock[name]);
    }
    expect(Object.hasOwn(pg, 'native')).toBe(true);
    expect((pg.Client as any).Query).toBe((stock.Client as any).Query);
    expect(pg.escapeIdentifier('a"b')).toBe('"a""b"');
    expect(new pg.Client(lab.config(driver)).escapeLiteral("a'b\\")).toBe(" E'a''b\\\\'");
  });

  it('passes the server-side type parsers of a client on', async () => {
    const types = { getTypeParser: () => (value: string) => `parsed ${value}` } as any;
    const client = await lab.connect(driver, { types });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 'parsed 1' }]);
    const other = await lab.connect(driver);
    other.setTypeParser(stock.types.builtins.INT4, (value: string) => `own ${value}`);
    expect((await other.query('SELECT 1 AS one')).rows).toEqual([{ one: 'own 1' }]);
  });
});
