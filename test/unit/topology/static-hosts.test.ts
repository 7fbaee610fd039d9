import { describe, expect, it } from 'vitest';

import { ConfigurationError } from '../../../src/errors.ts';
import { staticHosts } from '../../../src/topology/static-hosts.ts';

describe('a fixed list of hosts', () => {
  it('is given as it was written, each host once, with no opinion about the primary', async () => {
    const provider = staticHosts(['b:2', { host: 'a', port: 1 }, 'B:2', 'c']);
    const view = await provider.discover(AbortSignal.timeout(1000));
    expect(view).toEqual({
      hosts: [
        { host: 'b', port: 2 },
        { host: 'a', port: 1 },
        { host: 'c', port: 5432 },
      ],
    });
    expect(Object.isFrozen(view.hosts)).toBe(true);
  });

  it.each([
    ['no array', 'a,b', '"a,b"'],
    ['an empty array', [], 'empty'],
    ['a bad host', ['a', 'b:x'], 'staticHosts[1]'],
    ['too many hosts', Array.from({ length: 65 }, (_, index) => `h${index}`), '65'],
  ])('refuses %s', (_name, hosts, quoted) => {
    const make = (): unknown => staticHosts(hosts as string[]);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(quoted);
  });
});
