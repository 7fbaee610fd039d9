type Release = (this: unknown, ...args: unknown[]) => unknown;

/**
 * A13: the next borrower must not find himself inside a transaction that is gone. Every pool for pg gives its clients a
 * method `release`, and looks at their `_queryable` when it is called; a client that is doomed then is made unfit first.
 * So it is with pools that know nothing of this driver, but were given its Client.
 */
export function dropIfDoomed(client: object, isDoomed: () => boolean): void {
  let release: unknown;
  Object.defineProperty(client, 'release', {
    configurable: true,
    enumerable: false,
    get: () => release,
    set: (given: unknown) => {
      release =
        typeof given === 'function'
          ? function (this: unknown, ...args: unknown[]): unknown {
              if (isDoomed()) Object.assign(client, { _queryable: false });
              return (given as Release).apply(this, args);
            }
          : given;
    },
  });
}
