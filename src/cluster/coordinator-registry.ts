import type { TopologyProvider } from '../topology/topology-provider.ts';
import { Coordinator, type CoordinatorOptions } from './coordinator.ts';

/**
 * One coordinator a process and cluster, also if both the ESM and the CommonJS copy of this package are loaded: the
 * registry hangs on a global symbol whose name carries the version of what it holds (design.md section 1).
 */
const REGISTRY = Symbol.for('holdfast.coordinators.2');

interface Registry {
  readonly byHosts: Map<string, WeakRef<Coordinator>>;
  /** Where the application makes the streams itself the same address may be another server. */
  readonly byStream: WeakMap<object, Map<string, WeakRef<Coordinator>>>;
  readonly byProvider: WeakMap<TopologyProvider, Coordinator>;
}

function registry(): Registry {
  const holder = globalThis as { [REGISTRY]?: Registry };
  const known = holder[REGISTRY];
  if (known !== undefined) return known;
  const made: Registry = { byHosts: new Map(), byStream: new WeakMap(), byProvider: new WeakMap() };
  holder[REGISTRY] = made;
  return made;
}

/**
 * The coordinator of a fixed list of hosts; `key` names the list, and `stream` is what leads there if that is the
 * application's business. The first one's options hold for all.
 */
export function coordinatorForHosts(
  key: string,
  stream: object | null,
  makeProvider: () => TopologyProvider,
  options: CoordinatorOptions,
): Coordinator {
  const coordinators = coordinatorsOf(stream);
  const known = coordinators.get(key)?.deref();
  if (known !== undefined) return known;
  const coordinator = new Coordinator(makeProvider(), options);
  coordinators.set(key, new WeakRef(coordinator));
  return coordinator;
}

function coordinatorsOf(stream: object | null): Map<string, WeakRef<Coordinator>> {
  const { byHosts, byStream } = registry();
  if (stream === null) return byHosts;
  let coordinators = byStream.get(stream);
  if (coordinators === undefined) {
    coordinators = new Map();
    byStream.set(stream, coordinators);
  }
  return coordinators;
}

/** The coordinator of an application's own provider: one for each provider object. */
export function coordinatorForProvider(
  provider: TopologyProvider,
  guard: (provider: TopologyProvider) => TopologyProvider,
  options: CoordinatorOptions,
): Coordinator {
  const { byProvider } = registry();
  const known = byProvider.get(provider);
  if (known !== undefined) return known;
  const coordinator = new Coordinator(guard(provider), options);
  byProvider.set(provider, coordinator);
  return coordinator;
}
