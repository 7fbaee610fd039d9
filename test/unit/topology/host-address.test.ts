import { describe, expect, it } from 'vitest';

import { ConfigurationError } from '../../../src/errors.ts';
import { hostKey, parseHostAddress } from '../../../src/topology/host-address.ts';

describe('a host as people write it', () => {
  it.each([
    ['a name', 'db1', 'db1', 6000],
    ['a name and a port', 'db1:5433', 'db1', 5433],
    ['an IPv4 address', '10.0.0.1:5433', '10.0.0.1', 5433],
    ['an IPv6 address', '::1', '::1', 6000],
    ['an IPv6 address in brackets', '[::1]', '::1', 6000],
    ['an IPv6 address and a port', '[fe80::1%eth0]:5433', 'fe80::1%eth0', 5433],
    ['a socket directory', '/run/postgresql', '/run/postgresql', 6000],
    ['a socket directory and a port', '/run/postgresql:5433', '/run/postgresql', 5433],
    ['a socket directory with a colon', '/run/a:b', '/run/a:b', 6000],
    ['an object', { host: 'db1', port: 5433 }, 'db1', 5433],
    ['an object without a port', { host: 'db1' }, 'db1', 6000],
  ])('%s', (_name, input, host, port) => {
    expect(parseHostAddress(input, 6000, 'it')).toEqual({ host, port });
  });

  it.each([
    ['nothing', undefined, 'undefined'],
    ['an empty text', '', '""'],
    ['a number', 5432, '5432'],
    ['a port of 0', 'a:0', '"a:0"'],
    ['a port that is too large', 'a:65536', '"65536"'],
    ['a port that is no number', 'a:5x', '"5x"'],
    ['no port behind the colon', 'a:', '"a:"'],
    ['a list', 'a,b', '"a,b"'],
    ['a blank', 'a b', '"a b"'],
    ['a URL', 'postgres://a:5432', 'URL'],
    ['a URL with a password', 'postgres://u:secret@a', '***@a'],
    ['something in brackets that is no address', '[db1]:5433:1', '[db1]:5433:1'],
    ['an object without a host', { port: 5432 }, 'undefined'],
    ['a fraction as port', { host: 'a', port: 1.5 }, '1.5'],
    ['a port as text', { host: 'a', port: '5432' }, '"5432"'],
  ])('refuses %s and quotes it', (_name, input, quoted) => {
    const parse = (): unknown => parseHostAddress(input, 6000, 'hosts[3]');
    expect(parse).toThrow(ConfigurationError);
    expect(parse).toThrow(quoted);
    expect(parse).toThrow('hosts[3]');
    expect(parse).not.toThrow('secret');
  });
});

it('host keys are equal for the same listener only', () => {
  const key = (host: string, port = 1): string => hostKey({ host, port });
  expect(key('DB1')).toBe(key('db1'));
  expect(key('/Run')).not.toBe(key('/run'));
  expect(key('db1', 1)).not.toBe(key('db1', 2));
  expect(key('::1', 5)).toBe('[::1]:5');
});
