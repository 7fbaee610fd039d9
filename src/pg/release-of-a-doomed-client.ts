/**
 * A13: the next borrower must not find himself inside a transaction that is gone. A pool of pg-pool, be it ours, pg's own
 * with our Client, or a library's, counts here when a client comes back and then looks at `_queryable`: one that is doomed
 * then is made unfit first, and the pool closes it.
 */
export function dropIfDoomed(client: object, isDoomed: () => boolean): void {
  let uses: unknown;
  Object.defineProperty(client, '_poolUseCount', {
    configurable: true,
    enumerable: false,
    get: () => uses,
    set: (count: unknown) => {
      uses = count;
      if (isDoomed()) Object.assign(client, { _queryable: false });
    },
  });
}
