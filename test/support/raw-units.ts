import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Client } from 'pg';

/** The calls of pg's own Connection by which a unit is written. */
export interface Wire {
  parse(about: { name?: string; text: string }, more?: boolean): void;
  bind(about: { statement?: string; values: string[] }, more?: boolean): void;
  describe(about: { type: 'P' | 'S'; name: string }, more?: boolean): void;
  execute(about: { rows?: number }, more?: boolean): void;
  sync(): void;
  query(text: string): void;
  readonly stream: Duplex;
}

/** A message of the answer, as pg reads it. */
export interface WireMessage {
  readonly name: string;
  readonly status?: string;
  readonly text?: string;
  readonly code?: string;
  readonly fields?: readonly unknown[];
}

const ANSWERS = [
  'parseComplete', 'rowDescription', 'dataRow', 'portalSuspended', 'commandComplete', 'errorMessage', 'readyForQuery',
]; // prettier-ignore

/** Writes so many units by hand, in one write, and gives all that comes back. */
export function writeRawUnits(
  client: Client,
  units: number,
  write: (wire: Wire) => void,
): Promise<WireMessage[]> {
  const { connection } = client as unknown as { connection: EventEmitter };
  // pg's Client knows nothing of what it has not asked for.
  const kept = ANSWERS.map((name) => [name, connection.listeners(name)] as const);
  for (const name of ANSWERS) connection.removeAllListeners(name);
  return new Promise((resolve) => {
    const seen: WireMessage[] = [];
    let left = units;
    const onMessage = (message: WireMessage): void => {
      seen.push(message);
      if (message.name !== 'readyForQuery' || --left > 0) return;
      connection.off('message', onMessage);
      setImmediate(() => {
        for (const [name, listeners] of kept)
          for (const listener of listeners) connection.on(name, listener as () => void);
        resolve(seen);
      });
    };
    connection.on('message', onMessage);
    const wire = connection as unknown as Wire;
    wire.stream.cork();
    write(wire);
    wire.stream.uncork();
  });
}
