import { describe, expect, test } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';

const SET_UP = `
  CREATE TYPE mood AS ENUM ('calm', 'wild');
  CREATE TABLE item (
    id bigserial PRIMARY KEY, name text, at timestamptz NOT NULL DEFAULT now(), token uuid NOT NULL DEFAULT gen_random_uuid(),
    price float8 DEFAULT random());
`;

const lab = FailoverLab.forThisSuite({ setUp: SET_UP });

async function query(client: WatchedClient, text: string, values: unknown[] = []): Promise<unknown[]> {
  return (await client.query({ text, values, rowMode: 'array' })).rows as unknown[];
}

describe('INSERT … RETURNING in an open transaction', () => {
  test('gives the same values again on the promoted standby', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const rows = await query(client, 'INSERT INTO item (name) VALUES ($1), ($2) RETURNING *', ['a', 'b']);
    await lab.replacePrimary();
    expect(await query(client, 'SELECT * FROM item ORDER BY id')).toEqual(rows);
    await client.query('COMMIT');
    expect(await query(client, 'SELECT * FROM item ORDER BY id')).toEqual(rows);
    const [[next]] = (await query(client, 'INSERT INTO item (name) VALUES ($1) RETURNING id', ['c'])) as [
      [string],
    ];
    expect(Number(next)).toBeGreaterThan(2);
  });
});
