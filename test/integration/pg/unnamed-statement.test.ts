import type { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { writeRawUnits, type Wire } from '../../support/raw-units.ts';

/** Writes one unit by hand, and tells what rows and errors come back. */
async function written(client: Client, write: (wire: Wire) => void): Promise<unknown[]> {
  const messages = await writeRawUnits(client, 1, (wire) => {
    write(wire);
    wire.sync();
  });
  return messages.flatMap(({ name, code, fields }) => {
    if (name === 'dataRow') return fields ?? [];
    return name === 'error' ? [code] : [];
  });
}

const parse = (wire: Wire): void => {
  wire.parse({ text: 'SELECT count(*), $1 || NULL FROM note' });
};
const bind =
  (...values: string[]) =>
  (wire: Wire): void => {
    wire.bind({ values });
    wire.execute({});
  };

describe('the unnamed statement is the application’s', () => {
  const lab = FailoverLab.forThisSuite();

  it('where it was parsed on a connection that is gone there is none: the driver has left none of its own', async () => {
    const client = await lab.connect();
    expect(await written(client, parse)).toEqual([]);
    await lab.replacePrimary();
    await client.query({ name: 'through', text: 'SELECT' });
    // Each number of values that a question of the driver's may have.
    for (let count = 0; count < 4; count++) {
      expect(await written(client, bind(...Array.from({ length: count }, () => '1')))).toEqual(['26000']);
    }
  });

  it('where it was parsed in the open transaction it is there again behind the replay', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query({ name: 'insert', text: 'INSERT INTO note VALUES ($1)', values: ['a'] });
    expect(await written(client, (wire) => { wire.parse({ text: 'SELECT text || $1 FROM note' }); })).toEqual([]); // prettier-ignore
    await lab.replacePrimary();
    await client.query({ name: 'through', text: 'SELECT' });
    expect(await written(client, bind('b'))).toEqual(['ab']);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });
});
