import { inspect } from 'node:util';

import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { ConfigurationError } from '../../../src/errors.ts';
import { resolveConnection } from '../../../src/pg/connection-hosts.ts';
import { hostKey } from '../../../src/topology/host-address.ts';
import { staticHosts } from '../../../src/topology/static-hosts.ts';

type Config = string | Record<string, unknown> | undefined;

const PASSWORD = 'sEcReT';

function hostsOf(config: Config, environment: Record<string, string> = {}): string[] {
  return resolveConnection(config, environment).hosts.map(hostKey);
}

function refusal(config: Config, environment: Record<string, string> = {}): string {
  try {
    resolveConnection(config, environment);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as Error).message;
  }
  throw new Error('it was accepted');
}

class ConfigClass {
  host = 'a';
  get password(): string {
    return PASSWORD;
  }
}

describe('a configuration with one host resolves as in stock pg', () => {
  const key = { rejectUnauthorized: false, key: 'private' };
  const password = (): string => PASSWORD;
  const cases: [name: string, config: Config][] = [
    ['nothing', undefined],
    ['an empty object', {}],
    ['an empty string', ''],
    ['all keys', { host: 'a', port: 5433, user: 'u', database: 'd', password: PASSWORD }],
    ['a port as text', { host: 'a', port: '5433' }],
    ['a port with rubbish behind it', { host: 'a', port: '5433x' }],
    ['a port of 0', { host: 'a', port: 0 }],
    ['an empty host', { host: '', user: 'u' }],
    ['null values', { host: null, port: null, user: null, password: null }],
    ['a user without a database', { user: 'u' }],
    ['a password function', { user: 'u', password }],
    ['a unix socket', { host: '/tmp', port: 5433 }],
    ['an IPv6 address', { host: '::1' }],
    ['ssl: true', { host: 'a', ssl: true }],
    ['ssl with a key', { host: 'a', ssl: key }],
    ['ssl: no-verify', { host: 'a', ssl: 'no-verify' }],
    [
      'the settings of a session',
      { statement_timeout: 5, lock_timeout: 6, query_timeout: 7, application_name: 'x' },
    ],
    ['keys on a prototype', new ConfigClass() as unknown as Record<string, unknown>],
    ['a URL', `postgres://u:${PASSWORD}@a:5433/d`],
    ['a URL without a port', `postgres://u:${PASSWORD}@a/d`],
    ['a URL without a host', 'postgresql:///d'],
    ['a URL with a host as a parameter', 'postgresql:///d?host=/tmp&port=5433'],
    ['a URL with two hosts, one as a parameter', 'postgres://a:1/d?host=b'],
    ['a URL with an IPv6 address', 'postgres://u@[::1]:5433/d'],
    ['a URL with a socket directory', 'postgres://u@%2Ftmp%2Fx:5433/d'],
    ['a URL with a socket directory and a host', 'postgres://u:p@%2Ftmp/d?host=/x'],
    ['a URL with a comma in the password', 'postgres://u:pa,ss@a:5433/d'],
    ['a URL with @ in the password', 'postgres://u:pa@ss@a:5433/d'],
    ['a URL with an encoded password', 'postgres://u:p%2C%40%2F@a/d'],
    ['a URL with a blank', 'postgres://u:p@a/my db?application_name=my app'],
    ['a URL with ssl', 'postgres://a/d?ssl=true'],
    ['a URL with sslmode=no-verify', 'postgres://a/d?sslmode=no-verify'],
    ['a URL with sslmode=disable', 'postgres://a/d?sslmode=disable'],
    ['a URL with direct ssl', 'postgres://a/d?sslnegotiation=direct'],
    [
      'a URL with settings',
      'postgres://a/d?statement_timeout=5&query_timeout=6&options=-c%20a%3Db&client_encoding=x',
    ],
    ['a URL with what only pg keys can switch on', 'postgres://a/d?keepAlive=true&binary=true&pipeline=true'],
    ['a URL of another scheme', 'pg://u@a:5433/d'],
    ['a socket and a database', '/tmp d'],
    ['a socket URL', 'socket:/tmp?db=d&encoding=utf8'],
    ['a bare name', 'd'],
    ['a URL with a fragment', 'postgres://a:5433/d#x,y'],
    [
      'a URL beside keys',
      { connectionString: `postgres://u:${PASSWORD}@a/d`, host: 'b', port: 6, user: 'v', max: 3 },
    ],
    ['a URL without password beside a password', { connectionString: 'postgres://u@a/d', password }],
    ['a URL without host beside a host', { connectionString: 'postgres:///d', host: 'b' }],
    ['a URL beside ssl', { connectionString: 'postgres://u@a/d', ssl: key, keepAlive: true }],
    ['an empty URL beside keys', { connectionString: '', host: 'b' }],
  ];
  const environments: [name: string, environment: Record<string, string>][] = [
    ['', {}],
    [
      ' with PG* set',
      { PGHOST: 'h', PGPORT: '7', PGUSER: 'w', PGDATABASE: 'e', PGPASSWORD: 'q', PGSSLMODE: 'no-verify' },
    ],
  ];
  const NAMES = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGPASSWORD', 'PGSSLMODE'];

  afterEach(() => {
    vi.unstubAllEnvs();
  });

  for (const [environmentName, environment] of environments) {
    it.each(cases)(`%s${environmentName}`, (_name, config) => {
      for (const name of NAMES) vi.stubEnv(name, environment[name]);
      const stock = new pg.Client(config) as unknown as Record<string, unknown>;
      const { hosts, clientConfig, targetSessionAttrs } = resolveConnection(config);
      const ours = new pg.Client(clientConfig) as unknown as Record<string, unknown>;
      const [parameters, stockParameters] = [ours, stock].map((client) => ({
        ...(client['connectionParameters'] as object),
        // A stock client has this one from the keys and never from here.
        binary: undefined,
      }));

      expect(parameters).toEqual(stockParameters);
      for (const name of [
        'host',
        'port',
        'user',
        'database',
        'password',
        'ssl',
        'binary',
        'pipeline',
        'replication',
      ]) {
        expect([name, ours[name]]).toEqual([name, stock[name]]);
      }
      expect(hosts).toEqual([{ host: stock['host'], port: stock['port'] }]);
      expect(targetSessionAttrs).toBe('any');
      expect(Object.keys(clientConfig)).not.toContain('connectionString');
    });
  }

  it('lets pg say what is wrong with a URL that it cannot read', () => {
    for (const url of [`postgres://u:${PASSWORD}@a:port/d`, `postgres://u:${PASSWORD}@::1/d`]) {
      expect(() => new pg.Client(url)).toThrow('Invalid URL');
      expect(() => resolveConnection(url)).toThrow('Invalid URL');
    }
  });
});

describe('several hosts', () => {
  const url = `postgres://u:${PASSWORD}@`;
  const cases: [name: string, config: Config, environment: Record<string, string>, hosts: string[]][] = [
    ['in a URL', `${url}a:5432,b:5433/d`, {}, ['a:5432', 'b:5433']],
    ['in a URL without a path', `${url}a,b?target_session_attrs=primary`, {}, ['a:5432', 'b:5432']],
    ['a port left out in a URL is 5432', `${url}a:1,b/d`, { PGPORT: '7' }, ['a:1', 'b:5432']],
    [
      'PGPORT is not for the hosts of a URL, as in libpq',
      `${url}a,b/d`,
      { PGPORT: '7' },
      ['a:5432', 'b:5432'],
    ],
    ['one port parameter for all', `${url}a,b/d?port=7`, {}, ['a:7', 'b:7']],
    ['a port parameter that says the same', `${url}a:1,b:2/d?port=1,2`, {}, ['a:1', 'b:2']],
    ['IPv6 addresses in a URL', `${url}[::1]:1,[fe80::2]/d`, {}, ['[::1]:1', '[fe80::2]:5432']],
    ['socket directories in a URL', `${url}%2Frun%2Fa:1,%2Frun%2Fb:2/d`, {}, ['/run/a:1', '/run/b:2']],
    ['an encoded comma, as in libpq', `${url}a%2Cb:2/d`, {}, ['a:2', 'b:2']],
    ['as parameters', `postgres:///d?host=a,b&port=1,2`, {}, ['a:1', 'b:2']],
    ['as parameters, encoded', `postgres:///d?host=a%2Cb&port=1%2C2`, {}, ['a:1', 'b:2']],
    ['as parameters, with PGPORT', `postgres:///d?host=a,b`, { PGPORT: '7,8' }, ['a:7', 'b:8']],
    [
      'as parameters, with the first one in the authority too',
      `${url}a:1/d?host=a,b&port=1,2`,
      {},
      ['a:1', 'b:2'],
    ],
    ['a comma in the password is no list', `postgres://u:a,b@c,d/e`, {}, ['c:5432', 'd:5432']],
    ['keys', { host: 'a,b', port: '1,2' }, {}, ['a:1', 'b:2']],
    ['keys with blanks', { host: 'a, b', port: '1, 2' }, {}, ['a:1', 'b:2']],
    ['one port for all', { host: 'a,b', port: 7 }, {}, ['a:7', 'b:7']],
    ['an empty port is 5432', { host: 'a,b', port: '1,' }, {}, ['a:1', 'b:5432']],
    ['keys with PGPORT', { host: 'a,b' }, { PGPORT: '7,8' }, ['a:7', 'b:8']],
    ['keys without any port', { host: 'a,b' }, {}, ['a:5432', 'b:5432']],
    ['three, one of them twice', { host: 'a,B,b', port: 1 }, {}, ['a:1', 'b:1']],
    ['PGHOST', undefined, { PGHOST: 'a,b', PGPORT: '1,2' }, ['a:1', 'b:2']],
    ['PGHOST with a port key', { port: 7 }, { PGHOST: 'a,b', PGPORT: '1,2' }, ['a:7', 'b:7']],
    ['PGHOST for a URL without host', 'postgres:///d', { PGHOST: 'a,b' }, ['a:5432', 'b:5432']],
    ['a key goes before PGHOST', { host: 'c' }, { PGHOST: 'a,b' }, ['c:5432']],
    [
      'a URL and a key that says the first one again',
      { connectionString: `${url}a:1,b:2/d`, host: 'a', port: 1 },
      {},
      ['a:1', 'b:2'],
    ],
    [
      'a list key beside a URL without host',
      { connectionString: 'postgres:///d', host: 'a,b' },
      {},
      ['a:5432', 'b:5432'],
    ],
    [
      'a list key beside a URL with its first host',
      { connectionString: 'postgres://a/d', host: 'a,b', port: 1 },
      {},
      ['a:1', 'b:1'],
    ],
    [
      'failover.hosts',
      { failover: { hosts: ['a', 'b:2', { host: 'c' }, { host: 'd', port: 4 }, '[::1]:5'] } },
      {},
      ['a:5432', 'b:2', 'c:5432', 'd:4', '[::1]:5'],
    ],
    [
      'failover.hosts take the port of the connection',
      { port: 7, failover: { hosts: ['a', 'b'] } },
      {},
      ['a:7', 'b:7'],
    ],
    ['failover.hosts take PGPORT', { failover: { hosts: ['a', 'b'] } }, { PGPORT: '7' }, ['a:7', 'b:7']],
    [
      'failover.hosts go before PGHOST',
      { failover: { hosts: ['a', 'b'] } },
      { PGHOST: 'c' },
      ['a:5432', 'b:5432'],
    ],
    [
      'failover.hosts with the host of a URL',
      { connectionString: 'postgres://b/d', failover: { hosts: ['a:1', 'b:2'] } },
      {},
      ['a:1', 'b:2'],
    ],
    [
      'failover.hosts that say what the URL lists',
      { connectionString: 'postgres://a:1,b:2/d', failover: { hosts: ['b:2', 'a:1', 'c:3'] } },
      {},
      ['b:2', 'a:1', 'c:3'],
    ],
    [
      'failover.hosts with a key that a URL overrules',
      { connectionString: 'postgres://a/d', host: 'z', failover: { hosts: ['a', 'b'] } },
      {},
      ['a:5432', 'b:5432'],
    ],
  ];

  it.each(cases)('%s', (_name, config, environment, hosts) => {
    expect(hostsOf(config, environment)).toEqual(hosts);
  });

  it('gives pg the first host, the user, the password and the other keys, and none of ours', () => {
    const config = {
      connectionString: `postgres://u:${PASSWORD}@[::1]:1,b:2/d?target_session_attrs=any&sslmode=disable`,
      targetSessionAttrs: 'any',
      load_balance_hosts: 'random',
      failover: { timeoutMillis: 5 },
      max: 3,
    };
    const { clientConfig } = resolveConnection(config, {});
    const client = new pg.Client(clientConfig);
    expect([client.host, client.port, client.user, client.database, client.password, client.ssl]).toEqual([
      '::1',
      1,
      'u',
      'd',
      PASSWORD,
      false,
    ]);
    expect(clientConfig['max']).toBe(3);
    const names = Object.keys(clientConfig);
    for (const ours of ['connectionString', 'failover', 'targetSessionAttrs', 'load_balance_hosts']) {
      expect(names).not.toContain(ours);
    }
  });
});

describe('settings that can not be meant', () => {
  const url = `postgres://u:${PASSWORD}@`;
  const hosts = ['a', 'b'];
  const cases: [name: string, config: Config, environment: Record<string, string>, quoted: string[]][] = [
    ['more ports than hosts', { host: 'a,b', port: '1,2,3' }, {}, ['3 ports', '2 hosts', '"a,b"', '"1,2,3"']],
    ['more ports than the one host', { host: 'a', port: '1,2' }, {}, ['"a"', '"1,2"']],
    [
      'PGPORT lists more ports than there are hosts',
      { host: 'a' },
      { PGPORT: '1,2' },
      ['"a"', '"1,2"', 'PGPORT'],
    ],
    ['fewer ports than hosts', 'postgres:///d?host=a,b,c&port=1,2', {}, ['"a,b,c"', '"1,2"']],
    ['a port that is no number', `${url}a:1,b:x/d`, {}, ['"1,x"']],
    ['a port that is too large', `${url}a:1,b:65536/d`, {}, ['"1,65536"']],
    ['a single port that is too large', { host: 'a', port: 70000 }, {}, ['"70000"']],
    ['a single port that is no number', { host: 'a', port: 'x' }, {}, ['"x"']],
    ['a port of an odd type', { host: 'a', port: true }, {}, ['true']],
    ['a host of an odd type', { host: ['a', 'b'] }, {}, ['["a", "b"]']],
    ['an empty host in a list', { host: 'a,,b' }, {}, ['"a,,b"']],
    ['an empty host at the end', `${url}a:1,/d`, {}, ['"a,"']],
    ['only commas', { host: ',' }, {}, ['","']],
    ['an IPv6 address without brackets', `${url}::1,b/d`, {}, ['"::1"', '[IPv6']],
    ['a blank in a host', `postgres:///d?host=a,b%20c`, {}, ['"a,b c"']],
    ['broken %-encoding', `${url}a%zz,b/d`, {}, ['"a%zz"']],
    [
      'an unknown target_session_attrs',
      `${url}a,b/d?target_session_attrs=Primary`,
      {},
      ['"Primary"', 'read-write'],
    ],
    ['the same for a single host', `${url}a/d?target_session_attrs=slave`, {}, ['"slave"']],
    ['an unknown PGTARGETSESSIONATTRS', {}, { PGTARGETSESSIONATTRS: 'master' }, ['"master"']],
    ['an unknown load_balance_hosts', `${url}a,b/d?load_balance_hosts=yes`, {}, ['"yes"', 'random']],
    [
      'two target_session_attrs',
      { connectionString: `${url}a,b/d?target_session_attrs=any`, targetSessionAttrs: 'primary' },
      {},
      ['"any"', '"primary"'],
    ],
    [
      'a URL and keys list other hosts',
      { connectionString: `${url}a,b/d`, host: 'c' },
      {},
      ['"c"', '"a:5432,b:5432"'],
    ],
    [
      'a URL and keys list other ports',
      { connectionString: `${url}a:1,b:2/d`, host: 'a', port: 2 },
      {},
      ['"a:2"', '"a:1,b:2"'],
    ],
    ['the authority and the parameters list other hosts', `${url}a,b/d?host=c,d`, {}, ['"a', '"c']],
    ['the authority and the parameters give other ports', `${url}a:1,b:2/d?port=3`, {}, ['"1,2"', '"3"']],
    [
      'failover.hosts without the host of the URL',
      { connectionString: `${url}c:3/d`, failover: { hosts } },
      {},
      ['"c:3"', '"a:3,b:3"'],
    ],
    [
      'failover.hosts without a listed host',
      { host: 'a,c', failover: { hosts } },
      {},
      ['"c"', '"a:5432,b:5432"'],
    ],
    [
      'failover.hosts with another port',
      { host: 'a', port: 1, failover: { hosts: ['a:2'] } },
      {},
      ['"a:1"', '"a:2"'],
    ],
    [
      'a bad item in failover.hosts',
      { failover: { hosts: ['a', 'b:0'] } },
      {},
      ['failover.hosts[1]', '"b:0"'],
    ],
    [
      'failover.hosts beside a provider',
      { failover: { hosts, provider: staticHosts(hosts) } },
      {},
      ['["a", "b"]', 'provider'],
    ],
    ['an unknown failover option', { failover: { timeout: 5 } }, {}, ['"timeout"', '"timeoutMillis"']],
  ];

  it.each(cases)('%s', (_name, config, environment, quoted) => {
    const message = refusal(config, environment);
    for (const part of quoted) expect(message).toContain(part);
    expect(message).not.toContain(PASSWORD);
  });

  it.each([
    ['a slash', `postgres://u,x:${PASSWORD}/1@a:1,b:2/d`],
    ['a question mark', `postgres://u:p,${PASSWORD}?x@a:1,b:2/d`],
    ['a hash', `postgres://u:p,q:${PASSWORD}#x@a:1,b:2/d`],
    ['a parameter cut out of it', `postgres://a,b/d?target_session_attrs=${PASSWORD}@x`],
  ])('never quotes a password that is cut by %s', (_name, text) => {
    expect(refusal(text)).not.toContain(PASSWORD);
  });

  it('never quotes a password of a URL that stands where a host belongs', () => {
    const text = `postgres://u:${PASSWORD}@a:5432/d`;
    for (const config of [
      { failover: { hosts: [text] } },
      { host: `${text},b` },
      { failover: { hosts: [{ host: text }] } },
    ]) {
      expect(refusal(config)).not.toContain(PASSWORD);
    }
  });
});

describe('which host a session wants', () => {
  const cases: [name: string, config: Config, environment: Record<string, string>, attrs: string][] = [
    ['a single host: any, as with pg', 'postgres://a/d', {}, 'any'],
    ['several hosts: the primary', 'postgres://a,b/d', {}, 'read-write'],
    ['a provider: the primary', { host: 'a', failover: { provider: staticHosts(['a']) } }, {}, 'read-write'],
    ['the URL says', 'postgres://a,b/d?target_session_attrs=prefer-standby', {}, 'prefer-standby'],
    ['a key in libpq spelling, as Knex gives it', { host: 'a,b', target_session_attrs: 'any' }, {}, 'any'],
    ['a key in camel case', { host: 'a,b', targetSessionAttrs: 'standby' }, {}, 'standby'],
    ['the environment says', 'postgres://a,b/d', { PGTARGETSESSIONATTRS: 'read-only' }, 'read-only'],
    [
      'the URL goes before the environment',
      'postgres://a/d?target_session_attrs=any',
      { PGTARGETSESSIONATTRS: 'x' },
      'any',
    ],
    ['an empty environment variable says nothing', 'postgres://a/d', { PGTARGETSESSIONATTRS: '' }, 'any'],
  ];
  it.each(cases)('%s', (_name, config, environment, attrs) => {
    expect(resolveConnection(config, environment).targetSessionAttrs).toBe(attrs);
  });

  it('reads load_balance_hosts from the URL, keys and environment', () => {
    const read = (config: Config, environment: Record<string, string> = {}): string =>
      resolveConnection(config, environment).loadBalanceHosts;
    expect(read('postgres://a,b/d')).toBe('disable');
    expect(read('postgres://a,b/d?load_balance_hosts=random')).toBe('random');
    expect(read({ host: 'a,b', loadBalanceHosts: 'random' })).toBe('random');
    expect(read('postgres://a,b/d', { PGLOADBALANCEHOSTS: 'random' })).toBe('random');
  });
});

describe('the password', () => {
  it('is kept though the input hides it from enumeration, also in a copy of the result', () => {
    const options = Object.defineProperty({ host: 'a,b' }, 'password', {
      value: PASSWORD,
      enumerable: false,
    });
    const { clientConfig } = resolveConnection(options, {});
    expect({ ...clientConfig }['password']).toBe(PASSWORD);
  });

  it('is not printed with the result', () => {
    const resolved = resolveConnection(`postgres://u:${PASSWORD}@a,b/d`, {});
    expect(inspect(resolved, { depth: null, showHidden: false })).not.toContain(PASSWORD);
    expect(JSON.stringify(resolved)).not.toContain(PASSWORD);
  });
});

describe('failover: false', () => {
  it('hands everything to plain pg as it is', () => {
    const config = {
      connectionString: 'postgres://u:p@a/d',
      host: 'b,c',
      target_session_attrs: 'nonsense',
      failover: false,
    };
    const { hosts, clientConfig, failover, targetSessionAttrs } = resolveConnection(config, {});
    expect({ ...clientConfig, failover: false }).toEqual(config);
    expect(clientConfig).not.toHaveProperty('failover');
    expect([hosts, failover, targetSessionAttrs]).toEqual([[{ host: 'a', port: 5432 }], false, 'any']);
  });
});

it('gives frozen results', () => {
  const resolved = resolveConnection('postgres://a,b/d', {});
  for (const part of [
    resolved,
    resolved.hosts,
    resolved.hosts[0],
    resolved.clientConfig,
    resolved.failover,
  ]) {
    expect(Object.isFrozen(part)).toBe(true);
  }
});
