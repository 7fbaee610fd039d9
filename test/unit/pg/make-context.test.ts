import { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../src/errors.ts';
import pg, { Client, Pool } from '../../../src/pg.ts';

/** Trap T12. */
describe("a transport of the application's own", () => {
  const GIVEN: readonly (readonly [name: string, config: object])[] = [
    ['stream', { stream: new Socket() }],
    ['connection', { connection: new pg.Connection() }],
  ];

  it.each(GIVEN)(
    'can not be under the driver if it is ready-made, which says so at once: %s',
    (name, config) => {
      expect(() => new Client(config)).toThrow(ConfigurationError);
      expect(() => new Client(config)).toThrow(new RegExp(`'${name}'.*function.*failover: false`));
      expect(() => new Pool(config)).toThrow(ConfigurationError);
    },
  );

  it.each(GIVEN)("is pg's own business with failover: false: %s", (_name, config) => {
    expect(() => new Client({ ...config, failover: false })).not.toThrow();
  });

  it('may be made by a function, or be none', () => {
    for (const config of [{ stream: () => new Socket() }, { stream: null, connection: null }]) {
      expect(() => new Client(config as object)).not.toThrow();
    }
  });
});
