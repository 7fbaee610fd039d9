import type { ProxyConnection } from '../tcp-proxy.ts';

/** Chooses half of the connections that it is asked about, and always the same. Their ids won't do: probes use some up. */
export function everyOther(): (connection: ProxyConnection) => boolean {
  const choices = new WeakMap<ProxyConnection, boolean>();
  let isNextChosen = true;
  return (connection) => {
    const known = choices.get(connection);
    if (known !== undefined) return known;
    const isChosen = isNextChosen;
    choices.set(connection, isChosen);
    isNextChosen = !isNextChosen;
    return isChosen;
  };
}
