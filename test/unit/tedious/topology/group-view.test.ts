import { describe, expect, it } from 'vitest';
import {
  addressOfReplica,
  groupView,
  type AvailabilityReplica,
  type GroupAnswer,
} from '../../../../src/tedious/topology/group-view.ts';

const replica = (
  name: string,
  readOnlyRoutingUrl: string | null = null,
  endpointUrl: string | null = null,
): AvailabilityReplica => ({ name, readOnlyRoutingUrl, endpointUrl });
const at = (host: string, port = 1433): { host: string; port: number } => ({ host, port });
const answer = (host: string, localName: string | null, isPrimary: boolean): GroupAnswer => ({
  address: at(host),
  replicas: [replica('A', 'TCP://a:1433'), replica('B', 'TCP://b:1433')],
  localName,
  isPrimary,
});
const routed = (one: AvailabilityReplica): { host: string; port: number } | null =>
  addressOfReplica(one, [], 1433);

describe('the hosts of an availability group', () => {
  it('are those that were asked, then those that were learned, each once', () => {
    const view = groupView([at('listener'), at('a')], [answer('listener', 'A', true)], routed);
    expect(view).toEqual({ hosts: [at('listener'), at('a'), at('b')], primary: at('listener') });
  });

  it('have no primary if nobody says that it is one', () => {
    expect(groupView([at('b')], [answer('b', 'B', false)], routed).primary).toBeUndefined();
  });

  it('have no primary if two servers say that they are one', () => {
    const answers = [answer('a', 'A', true), answer('b', 'B', true)];
    expect(groupView([at('a')], answers, routed).primary).toBeUndefined();
  });

  it('have a primary that was asked at two addresses', () => {
    const answers = [answer('listener', 'A', true), answer('a', 'A', true)];
    expect(groupView([at('listener')], answers, routed).primary).toEqual(at('listener'));
  });
});

describe('the address of a replica', () => {
  it.each([
    ['its routing URL', replica('A', 'TCP://a.example.com:1450', 'TCP://x:5022'), at('a.example.com', 1450)],
    ['of IPv6', replica('A', 'tcp://[::1]:1450/'), at('::1', 1450)],
    ['its endpoint at the default port', replica('A', null, 'TCP://x:5022'), at('x')],
    ['where it has answered', replica('B', null, 'TCP://x:5022'), at('b')],
    ['of a named instance is not known', replica('A\\I', null, 'TCP://x:5022'), null],
    ['without any URL is not known', replica('A'), null],
    ['of a URL that is none is not known', replica('A', 'http://a:1', 'a b'), null],
    ['with a port that is none is the endpoint', replica('A', 'TCP://a:99999', 'TCP://x:5022'), at('x')],
  ])('%s', (_name, one, expected) => {
    expect(addressOfReplica(one, [answer('b', 'B', false)], 1433)).toEqual(expected);
  });
});
