import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import connectPgSimple from 'connect-pg-simple';
import session from 'express-session';
import { afterEach, describe, expect, it } from 'vitest';
import { Pool } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryBehind } from '../../support/lose-primary.ts';
import { waitFor } from '../../support/wait-for.ts';

type Middleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;
type Visits = Partial<Pick<session.SessionData, 'visits'>>;

declare module 'express-session' {
  interface SessionData {
    visits: number;
  }
}

const DAY_MILLIS = 86_400_000;

describe('connect-pg-simple', () => {
  const lab = FailoverLab.forThisSuite();
  const closing: (() => Promise<unknown>)[] = [];
  /** What the store and its pool have complained of. */
  const errors: unknown[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await lab.primary.query('DROP TABLE IF EXISTS session');
    errors.length = 0;
  });

  function openStore(): connectPgSimple.PGStore {
    const connectionString = lab.connectionString();
    const pool = new Pool({ connectionString });
    pool.on('error', (error) => errors.push(error));
    const PgStore = connectPgSimple(session);
    const store = new PgStore({ pool, createTableIfMissing: true, errorLog: (...what) => errors.push(what) });
    closing.push(async () => {
      store.close();
      await pool.end();
    });
    return store;
  }

  /** A site that counts the visits of each visitor. Gives a visitor: what is said to each of its visits. */
  async function openSite(store: session.Store): Promise<() => Promise<string>> {
    const middleware = session({
      store,
      secret: 'for the tests',
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: DAY_MILLIS },
    }) as unknown as Middleware;
    const server = createServer((request, response) => {
      middleware(request, response, (error) => {
        const visitor = (request as unknown as { session?: Visits }).session;
        if (error !== undefined || visitor === undefined) {
          response.writeHead(500).end('no session');
          return;
        }
        visitor.visits = (visitor.visits ?? 0) + 1;
        response.end(`visit ${visitor.visits}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    let cookie = '';
    return async () => {
      const response = await fetch(url, { headers: { cookie } });
      cookie = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
      return await response.text();
    };
  }

  async function setSession(store: session.Store, id: string, data: Visits): Promise<unknown> {
    return await new Promise((resolve) => {
      const cookie = Object.assign(new session.Cookie(), { maxAge: DAY_MILLIS });
      store.set(id, { cookie, ...data } as session.SessionData, resolve);
    });
  }

  async function getSession(store: session.Store, id: string): Promise<Visits | null | undefined> {
    return await new Promise((resolve, reject) => {
      store.get(id, (error: Error | null, data) => {
        if (error !== null) reject(error);
        else resolve(data);
      });
    });
  }

  it('keeps the sessions of its visitors', async () => {
    const store = openStore();
    const visit = await openSite(store);
    const visitAsAnother = await openSite(store);
    expect([await visit(), await visit(), await visitAsAnother()]).toEqual(['visit 1', 'visit 2', 'visit 1']);
    await lab.replacePrimary();
    expect([await visit(), await visitAsAnother()]).toEqual(['visit 3', 'visit 2']);
    expect(errors).toEqual([]);
  });

  it('lets a visitor wait who comes while no server is there', async () => {
    const visit = await openSite(openStore());
    expect(await visit()).toBe('visit 1');
    await lab.killPrimary();
    const waiting = visit();
    await lab.cluster.failover();
    expect(await waiting).toBe('visit 2');
    expect(await visit()).toBe('visit 3');
    expect(errors).toEqual([]);
  });

  it('creates, reads, changes, prunes and destroys sessions behind a failover', async () => {
    const store = openStore();
    expect(await setSession(store, 'a', { visits: 1 })).toBeNull();
    await lab.replacePrimary();
    expect(await getSession(store, 'a')).toMatchObject({ visits: 1 });
    expect(await setSession(store, 'a', { visits: 2 })).toBeNull();
    expect(await setSession(store, 'b', { visits: 1 })).toBeNull();
    await lab.primary.query(`UPDATE session SET expire = now() - interval '1 day' WHERE sid = 'b'`);
    await new Promise<void>((resolve) => {
      store.pruneSessions(() => {
        resolve();
      });
    });
    expect((await lab.primary.query('SELECT sid FROM session')).rows).toEqual([{ sid: 'a' }]);
    expect(await getSession(store, 'a')).toMatchObject({ visits: 2 });
    await new Promise((resolve) => {
      store.destroy('a', resolve);
    });
    expect(await getSession(store, 'a')).toBeFalsy();
    expect(errors).toEqual([]);
  });

  it('reads a session again whose answer was lost', async () => {
    const store = openStore();
    await setSession(store, 'a', { visits: 1 });
    await waitFor(async () => (await getSession(store, 'a')) !== null);
    const replaced = losePrimaryBehind(lab, 'SELECT');
    expect(await getSession(store, 'a')).toMatchObject({ visits: 1 });
    await replaced;
    expect(errors).toEqual([]);
  });

  it('says of a session whose saving was in flight that it is not known, and does not save it twice', async () => {
    const store = openStore();
    await setSession(store, 'a', { visits: 1 });
    const replaced = losePrimaryBehind(lab, 'INSERT');
    expect(await setSession(store, 'a', { visits: 2 })).toMatchObject({ code: '08007', outcome: 'unknown' });
    await replaced;
    expect(await getSession(store, 'a')).toMatchObject({ visits: 2 });
    expect(await setSession(store, 'a', { visits: 3 })).toBeNull();
    expect(await getSession(store, 'a')).toMatchObject({ visits: 3 });
  });
});
