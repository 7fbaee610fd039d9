import { Client } from './client.ts';
import { nativeModule } from './native-module.ts';
import { Pool } from './pool.ts';
import { keepGenuineClasses, pg as stock } from './stock-pg.ts';

/** All that pg exports as one object, with our `Client` and `Pool` in place of pg's. */
// Object.create yields `any`, which the lint rules refuse: the annotation says what has been put together here.
export const pgModule: Omit<typeof stock, 'Client' | 'Pool'> & { Client: typeof Client; Pool: typeof Pool } =
  Object.create(Object.getPrototypeOf(stock) as object, {
    ...Object.getOwnPropertyDescriptors(stock),
    Client: own(Client),
    Pool: own(Pool),
    // As pg's: not enumerable, and nothing is loaded before somebody asks.
    native: { get: nativeModule, enumerable: false, configurable: true },
  }) as never;
// For who installs this object as `pg`, or puts it in place of pg: we may be loaded again on top of it.
keepGenuineClasses(pgModule);

function own(value: unknown): PropertyDescriptor {
  return { value, enumerable: true, configurable: true, writable: true };
}
