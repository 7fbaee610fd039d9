import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const LOWEST = 10_000;
const FALLBACK_HIGHEST = 32_767;

/**
 * Ports are taken from below the range that the kernel uses for outgoing connections. A port within it can be taken
 * by any client while its server is down, and a client that keeps dialling such a port on the loopback interface
 * will sooner or later be given the same port as its own and be connected to itself.
 */
function highestPort(): number {
  try {
    const lowestEphemeral = Number(
      readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0],
    );
    if (lowestEphemeral > LOWEST + 1_000) return lowestEphemeral - 1;
  } catch {
    // Not Linux: there the range begins at 49152.
  }
  return FALLBACK_HIGHEST;
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

const given = new Set<number>();

/** A TCP port of 127.0.0.1 on which nobody listens, never the same twice in a process. */
export async function freePort(): Promise<number> {
  const range = highestPort() - LOWEST + 1;
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const port = LOWEST + Math.floor(Math.random() * range);
    if (given.has(port)) continue;
    if (await isFree(port)) {
      given.add(port);
      return port;
    }
  }
  throw new Error(`no free port found between ${LOWEST} and ${LOWEST + range - 1}`);
}
