import type { TopologyProvider } from '../topology/topology-provider.ts';
import { Coordinator, type CoordinatorOptions } from './coordinator.ts';

/**
 * One coordinator a process and cluster, also if both the ESM and the CommonJS copy of this package are loaded: the
 * registry hangs on a global symbol whose name carries the version of what it holds (design.md section 1).
 */
const REGISTRY = Symbol.for('holdfast.coordinators.1');

interface Registry {
  readonly byHosts: Map<string, WeakRef<Coordinator>>;
  readonly byProvider: WeakMap<TopologyProvider, Coordinator>;
}

function registry(): Registry {
  const holder = globalThis as { [REGISTRY]?: Registry };
  const known = holder[REGISTRY];
  if (known !== undefined) return known;
  const made: Registry = { byHosts: new Map(), byProvider: new WeakMap() };
  holder[REGISTRY] = made;
  return made;
}

/** The coordinator of a fixed list of hosts; `key` names the list. The first one's options hold for all. */
export function coordinatorForHosts(
  key: string,
  makeProvider: () => TopologyProvider,
  options: CoordinatorOptions,
): Coordinator {
  const { byHosts } = registry();
  const known = byHosts.get(key)?.deref();
  if (known !== undefined) return known;
  const coordinator = new Coordinator(makeProvider(), options);
  byHosts.set(key, new WeakRef(coordinator));
  return coordinator;
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
