import { randomUUID } from 'node:crypto';
import type stock from 'pg';
import type { EntityManager } from 'typeorm';
import { DataSource, EntitySchema, QueryFailedError } from 'typeorm';
import { describe, expect, it } from 'vitest';
import holdfast from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import type { Application, ConnectionSettings, NestingWork } from './application.ts';
import { LabHosts, settingsOf, TABLES } from './application.ts';
import { survivesFailovers } from './survives-failovers.ts';

const Entry = new EntitySchema<{ id: string; text: string }>({
  name: 'entry',
  columns: { id: { type: 'uuid', primary: true }, text: { type: 'text' } },
});
const Ticket = new EntitySchema<{ id: number; text: string }>({
  name: 'ticket',
  columns: { id: { type: 'int', primary: true, generated: 'increment' }, text: { type: 'text' } },
});

async function connect(pg: typeof stock, { connectionString }: ConnectionSettings): Promise<DataSource> {
  return await new DataSource({
    type: 'postgres',
    driver: pg,
    url: connectionString,
    entities: [Entry, Ticket],
    poolErrorHandler: () => undefined,
  }).initialize();
}

function workOn(manager: EntityManager): NestingWork {
  return {
    write: async (text) => {
      await manager.insert(Entry, { id: randomUUID(), text });
    },
    read: async () => (await manager.find(Entry, { order: { text: 'ASC' } })).map(({ text }) => text),
    issue: async (text) => (await manager.save(Ticket, { text })).id,
    nested: async (work) => {
      await manager.transaction(async (inner) => {
        await work(workOn(inner));
      });
    },
  };
}

async function open(pg: typeof stock, settings: ConnectionSettings): Promise<Application> {
  const dataSource = await connect(pg, settings);
  return {
    ...workOn(dataSource.manager),
    transaction: async (work) => await dataSource.transaction(async (manager) => await work(workOn(manager))),
    nestingTransaction: async (work) => {
      await dataSource.transaction(async (manager) => {
        await work(workOn(manager));
      });
    },
    close: async () => {
      await dataSource.destroy();
    },
  };
}

describe('TypeORM', () => {
  const lab = FailoverLab.forThisSuite({ setUp: TABLES });
  survivesFailovers(lab, open, {
    commit: 'COMMIT',
    driverError: (error) => (error instanceof QueryFailedError ? error.driverError : error),
    wraps: (driverError) => ({ name: 'QueryFailedError', ...driverError, driverError }),
  });

  it('reads, changes and deletes rows', async () => {
    const dataSource = await connect(holdfast, settingsOf(lab));
    const tickets = dataSource.getRepository(Ticket);
    const [a, b] = await tickets.save([{ text: 'a' }, { text: 'b' }]);
    await tickets.save({ ...a, text: 'c' });
    expect((await tickets.update({ id: b!.id }, { text: 'd' })).affected).toBe(1);
    expect((await tickets.delete({ text: 'd' })).affected).toBe(1);
    expect(await tickets.find()).toEqual([{ id: a!.id, text: 'c' }]);
    await dataSource.destroy();
  });

  it('streams rows on the other side of a kill, none twice and none left out', async () => {
    await lab.primary.query(
      `INSERT INTO entry SELECT gen_random_uuid(), lpad(i::text, 5, '0') FROM generate_series(1, 1000) i`,
    );
    const dataSource = await connect(holdfast, settingsOf(lab));
    const texts: string[] = [];
    await dataSource.transaction(async (manager) => {
      const stream = await manager
        .createQueryBuilder(Entry, 'entry')
        .select('entry.text', 'text')
        .orderBy('entry.text')
        .stream();
      for await (const row of stream) {
        texts.push((row as unknown as { text: string }).text);
        if (texts.length === 200) await lab.replacePrimary();
      }
      await workOn(manager).write('streamed');
    });
    expect(texts).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index + 1).padStart(5, '0')));
    expect((await workOn(dataSource.manager).read()).filter((text) => text === 'streamed')).toHaveLength(1);
    await dataSource.destroy();
  });

  it('save() survives without a transaction of the application, since TypeORM makes one', async () => {
    const dataSource = await connect(holdfast, settingsOf(lab));
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const saved = dataSource.getRepository(Entry).save([
      { id: randomUUID(), text: 'a' },
      { id: randomUUID(), text: 'b' },
    ]);
    await lost;
    await lab.replacePrimary();
    await saved;
    expect(await workOn(dataSource.manager).read()).toEqual(['a', 'b']);
    await dataSource.destroy();
  });

  it.each([
    { way: 'the module', options: { driver: holdfast } },
    { way: 'the class of its clients', options: { extra: { Client: holdfast.Client } } },
  ])('takes the option failover beside $way', async ({ options }) => {
    const { host, port } = lab.proxy;
    const { user, password, database } = settingsOf(lab);
    const dataSource = await new DataSource({
      type: 'postgres',
      host,
      port,
      username: user,
      password,
      database,
      entities: [Entry],
      ...options,
      extra: { ...options.extra, failover: { provider: new LabHosts(lab) } },
    }).initialize();
    await dataSource.transaction(async (manager) => {
      await workOn(manager).write('a');
      await lab.replacePrimary();
    });
    expect(await workOn(dataSource.manager).read()).toEqual(['a']);
    await dataSource.destroy();
  });
});
