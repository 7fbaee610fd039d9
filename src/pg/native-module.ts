import { ConfigurationError } from '../errors.ts';
import { pg as stock } from './stock-pg.ts';

type Constructor = abstract new (...values: never[]) => object;
type NativeModule = NonNullable<typeof stock.native>;

let made: NativeModule | null | undefined;

/**
 * What `pg.native` is: null where pg-native is not installed, else pg's own module of it, whose clients and pools must
 * be told to do without failover. libpq has the socket there, and nobody can put another one under it.
 */
export function nativeModule(): NativeModule | null {
  made ??= makeNativeModule();
  return made;
}

function makeNativeModule(): NativeModule | null {
  const { native } = stock;
  if (native === null) return null;
  const descriptors = Object.getOwnPropertyDescriptors(native);
  return Object.create(Object.getPrototypeOf(native) as object, {
    ...descriptors,
    Client: { ...descriptors.Client, value: withoutFailover(native.Client) },
    Pool: { ...descriptors.Pool, value: withoutFailover(native.Pool) },
  }) as NativeModule;
}

/** The same class, but it must be asked for. */
function withoutFailover<C extends Constructor>(original: C): C {
  return new Proxy(original, {
    construct(target, values: unknown[], newTarget) {
      if ((values[0] as { failover?: unknown } | undefined | null)?.failover !== false) throw nativeRefused();
      return Reflect.construct(target, values, newTarget) as object;
    },
  });
}

/** What pg read when it was loaded: then its own Client is the native one. */
const IS_FORCED = Boolean(process.env['NODE_PG_FORCE_NATIVE']);

/** @throws ConfigurationError if pg's own Client is the native one */
export function refuseForcedNative(): void {
  if (IS_FORCED) throw nativeRefused();
}

function nativeRefused(): ConfigurationError {
  return new ConfigurationError(
    "pg-native has no failover, as libpq has its own socket: use Client and Pool of 'holdfast/pg', without NODE_PG_FORCE_NATIVE in the environment, or set failover: false",
  );
}
