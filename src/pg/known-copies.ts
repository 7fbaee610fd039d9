/**
 * Lets `instanceof` hold for the objects of every copy of a class: the ESM and the CommonJS build of this package are
 * two copies, and libraries take a pool that is not an instance of `pg.Pool` for something else (Prisma: for settings).
 * A subclass of the application is told apart as ever.
 */
export function knowCopies(own: { readonly prototype: object }, name: string): void {
  const brand = Symbol.for(`holdfast.${name}`);
  Object.defineProperty(own.prototype, brand, { value: true });
  Object.defineProperty(own, Symbol.hasInstance, {
    value: function hasInstance(this: unknown, value: unknown): boolean {
      if (this !== own) return Function.prototype[Symbol.hasInstance].call(this as () => unknown, value);
      return typeof value === 'object' && value !== null && brand in value;
    },
  });
}
