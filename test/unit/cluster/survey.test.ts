import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../src/cluster/member.ts';
import type { HostObservation } from '../../../src/cluster/host-observation.ts';
import { Survey } from '../../../src/cluster/survey.ts';
import type { HostAddress } from '../../../src/topology/host-address.ts';
import { waitFor } from '../../support/wait-for.ts';

const address = (host: string): HostAddress => ({ host, port: 5432 });
const HOSTS = ['dead', 'primary', 'standby', 'other'].map(address);

function reachable(host: HostAddress): HostObservation {
  return {
    kind: 'reachable',
    address: host,
    systemIdentifier: '1',
    timeline: null,
    inRecovery: true,
    writable: false,
    incarnation: host.host,
  };
}

/** All that the survey asks of a session is to look. */
function lookingMember(look: (host: HostAddress) => Promise<HostObservation>): Member {
  return { isConnected: false, look } as Partial<Member> as Member;
}

function surveyWith(pickMember: () => Member | null, isNeeded: () => boolean = () => true): Survey {
  return new Survey(() => Promise.resolve({ hosts: HOSTS }), pickMember, 1_000, isNeeded);
}

describe('the look at all hosts when a timeline is first seen', () => {
  it('does not wait for a session that has reconnected, nor for a host that gives no answer', async () => {
    const looked: string[] = [];
    const member = lookingMember((host) => {
      looked.push(host.host);
      return host.host === 'dead' ? new Promise(() => undefined) : Promise.resolve(reachable(host));
    });
    surveyWith(() => member).begin(address('primary'), null);
    await waitFor(() => looked.length === 3);
    expect(looked).toEqual(['dead', 'standby', 'other']);
  });

  it('asks again only those that have not answered', async () => {
    const looked: string[] = [];
    const member = lookingMember((host) => {
      looked.push(host.host);
      const isDead = host.host === 'dead' && looked.length < 4;
      return Promise.resolve(isDead ? { kind: 'refused', address: host, code: '' } : reachable(host));
    });
    surveyWith(() => member).begin(address('primary'), null);
    await waitFor(() => looked.length === 4);
    await sleep(20);
    expect(looked).toEqual(['dead', 'standby', 'other', 'dead']);
  });

  it('waits while there is nobody whose credentials it could use', async () => {
    const looked: string[] = [];
    const member = lookingMember((host) => {
      looked.push(host.host);
      return Promise.resolve(reachable(host));
    });
    let available: Member | null = null;
    surveyWith(() => available).begin(address('primary'), null);
    await sleep(20);
    expect(looked).toEqual([]);
    available = member;
    await waitFor(() => looked.length === 3);
  });
});
