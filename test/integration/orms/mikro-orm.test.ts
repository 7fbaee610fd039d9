import { randomUUID } from 'node:crypto';
import { PostgreSqlKnexDialect } from '@mikro-orm/knex';
import type { SqlEntityManager } from '@mikro-orm/postgresql';
import { DeadlockException, EntitySchema, MikroORM } from '@mikro-orm/postgresql';
import type stock from 'pg';
import { describe, expect, it } from 'vitest';
import type { ClientConfig } from '../../../src/pg.ts';
import holdfast from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf } from '../../support/settle.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';
import type { Application, ConnectionSettings, NestingWork } from './application.ts';
import { hostsOf, LabHosts, settingsOf, TABLES } from './application.ts';
import { survivesFailovers } from './survives-failovers.ts';

interface Entry {
  id: string;
  text: string;
}
const Entry = new EntitySchema<Entry>({
  name: 'Entry',
  properties: { id: { type: 'uuid', primary: true }, text: { type: 'text' } },
});
interface Ticket {
  id: number;
  text: string;
}
const Ticket = new EntitySchema<Ticket>({
  name: 'Ticket',
  properties: { id: { type: 'number', primary: true, autoincrement: true }, text: { type: 'text' } },
});

function dialectOn(pg: object): typeof PostgreSqlKnexDialect {
  return class extends PostgreSqlKnexDialect {
    _driver(): object {
      return pg;
    }
  };
}

async function connect(pg: typeof stock, settings: ConnectionSettings): Promise<MikroORM> {
  const { host, port, user, password, database } = settings;
  return await MikroORM.init({
    entities: [Entry, Ticket],
    host,
    user,
    password,
    dbName: database,
    driverOptions: { client: dialectOn(pg), connection: { port } },
  });
}

function workOn(em: SqlEntityManager): NestingWork {
  return {
    write: async (text) => {
      await em.insert(Entry, { id: randomUUID(), text });
    },
    read: async () => (await em.find(Entry, {}, { orderBy: { text: 'ASC' } })).map(({ text }) => text),
    issue: async (text) => {
      const ticket = em.create(Ticket, { text });
      await em.persist(ticket).flush();
      return ticket.id;
    },
    nested: async (work) => {
      await em.transactional(async (inner) => {
        await work(workOn(inner));
      });
    },
  };
}

async function open(pg: typeof stock, settings: ConnectionSettings): Promise<Application> {
  const orm = await connect(pg, settings);
  const em = (): SqlEntityManager => orm.em.fork();
  return {
    write: async (text) => {
      await workOn(em()).write(text);
    },
    read: async () => await workOn(em()).read(),
    transaction: async (work) => await em().transactional(async (inner) => await work(workOn(inner))),
    nestingTransaction: async (work) => {
      await em().transactional(async (inner) => {
        await work(workOn(inner));
      });
    },
    close: async () => {
      await orm.close();
    },
  };
}

describe('MikroORM 6', () => {
  const lab = FailoverLab.forThisSuite({ setUp: TABLES });
  survivesFailovers(lab, open, {
    commit: 'COMMIT',
    // It copies the fields of a statement's error into one of its own; a COMMIT's it throws as it is.
    driverError: (error) => error,
    wraps: (driverError) => driverError,
  });

  it('reads, changes and deletes rows, in units of work', async () => {
    const orm = await connect(holdfast, settingsOf(lab));
    const em = orm.em.fork();
    const [a, b] = ['a', 'b'].map((text) => em.create(Ticket, { text }));
    await em.flush();
    a!.text = 'c';
    em.remove(b!);
    await em.flush();
    expect(await orm.em.fork().find(Ticket, {})).toEqual([{ id: a!.id, text: 'c' }]);
    await orm.close();
  });

  it('a unit of work survives without a transaction of the application, since flush() makes one', async () => {
    const orm = await connect(holdfast, settingsOf(lab));
    const em = orm.em.fork();
    em.create(Entry, { id: randomUUID(), text: 'a' });
    em.create(Entry, { id: randomUUID(), text: 'b' });
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const flushed = em.flush();
    await lost;
    await lab.replacePrimary();
    await flushed;
    const rows = await orm.em.fork().find(Entry, {}, { orderBy: { text: 'ASC' } });
    expect(rows.map(({ text }) => text)).toEqual(['a', 'b']);
    await orm.close();
  });

  it('a divergence at a statement is a DeadlockException, with the fields of the error', async () => {
    await lab.primary.query(unpinnableKey('ticket'));
    const orm = await connect(holdfast, settingsOf(lab));
    const work = orm.em.fork().transactional(async (em) => {
      await em.persist(em.create(Ticket, { text: 'a' })).flush();
      await lab.replacePrimary();
      await em.find(Entry, {});
    });
    const error = await rejectionOf(work);
    expect(error).toBeInstanceOf(DeadlockException);
    expect(error).toMatchObject({ code: '40001', severity: 'ERROR', kind: 'replay-diverged' });
    await orm.close();
  });

  it("streams through Knex's query builder on the other side of a kill", async () => {
    await lab.primary.query(
      `INSERT INTO entry SELECT gen_random_uuid(), lpad(i::text, 5, '0') FROM generate_series(1, 1000) i`,
    );
    const orm = await connect(holdfast, settingsOf(lab));
    const texts: string[] = [];
    await orm.em.fork().transactional(async (em) => {
      const query = em.createQueryBuilder(Entry).select('text').orderBy({ text: 'ASC' }).getKnexQuery();
      for await (const row of query.stream()) {
        texts.push((row as { text: string }).text);
        if (texts.length === 200) await lab.replacePrimary();
      }
    });
    expect(texts).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index + 1).padStart(5, '0')));
    await orm.close();
  });

  /** MikroORM copies its configuration deeply, so what has a state of its own must not stand in there. */
  it.each([
    { what: 'plain values', where: 'the connection', isCopied: true },
    { what: 'a provider', where: 'a class of its own', isCopied: false },
  ])('takes the option failover with $what in $where', async ({ isCopied }) => {
    class Client extends holdfast.Client {
      constructor(config: ClientConfig) {
        // Knex hides the password from copies.
        super({ ...config, password: config.password, failover: { provider: new LabHosts(lab) } });
      }
    }
    const { host, port } = lab.proxy;
    const { user, password, database } = settingsOf(lab);
    const orm = await MikroORM.init({
      entities: [Entry],
      clientUrl: `postgres://${user}:${password}@${host}:${port}/${database}`,
      driverOptions: isCopied
        ? { client: dialectOn(holdfast), connection: { failover: { hosts: hostsOf(lab) } } }
        : { client: dialectOn({ ...holdfast, Client }) },
    });
    expect(await orm.em.fork().count(Entry)).toBe(0);
    await lab.replacePrimary();
    expect(await orm.em.fork().count(Entry)).toBe(0);
    await orm.close();
  });

  it('takes a URL that lists hosts of one port', async () => {
    const { user, password, database } = settingsOf(lab);
    const orm = await MikroORM.init({
      entities: [Entry],
      clientUrl: `postgres://${user}:${password}@localhost,127.0.0.1:${lab.proxy.port}/${database}`,
      driverOptions: { client: dialectOn(holdfast) },
    });
    expect(await orm.em.fork().count(Entry)).toBe(0);
    await orm.close();
  });
});
