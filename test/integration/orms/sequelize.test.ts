import { randomUUID } from 'node:crypto';
import stock from 'pg';
import type {
  CreationOptional,
  InferAttributes,
  InferCreationAttributes,
  Model,
  Options,
  Transaction,
} from 'sequelize';
import { DatabaseError, DataTypes, QueryTypes, Sequelize } from 'sequelize';
import { describe, expect, it } from 'vitest';
import type { ClientConfig } from '../../../src/pg.ts';
import holdfast from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';
import type { Application, ConnectionSettings, NestingWork } from './application.ts';
import { LabHosts, settingsOf, settingsOfPrimary, TABLES } from './application.ts';
import { survivesFailovers } from './survives-failovers.ts';

interface EntryModel extends Model<InferAttributes<EntryModel>, InferCreationAttributes<EntryModel>> {
  id: string;
  text: string;
}
interface TicketModel extends Model<InferAttributes<TicketModel>, InferCreationAttributes<TicketModel>> {
  id: CreationOptional<number>;
  text: string;
}

function connect(pg: typeof stock, settings: ConnectionSettings, options: Options = {}) {
  const { host, port, user, password, database } = settings;
  const sequelize = new Sequelize({
    dialect: 'postgres',
    dialectModule: pg,
    host,
    // A list of ports, where the types know of one number only.
    port: port as unknown as number,
    username: user,
    password,
    database,
    logging: false,
    define: { timestamps: false, freezeTableName: true },
    ...options,
  });
  const entry = sequelize.define<EntryModel>('entry', {
    id: { type: DataTypes.UUID, primaryKey: true },
    text: DataTypes.TEXT,
  });
  const ticket = sequelize.define<TicketModel>('ticket', {
    id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
    text: DataTypes.TEXT,
  });
  return { sequelize, entry, ticket };
}

type Connected = ReturnType<typeof connect>;

function workOn(connected: Connected, transaction: Transaction | null): NestingWork {
  const { sequelize, entry, ticket } = connected;
  return {
    write: async (text) => {
      await entry.create({ id: randomUUID(), text }, { transaction });
    },
    read: async () => (await entry.findAll({ order: ['text'], transaction })).map(({ text }) => text),
    issue: async (text) => (await ticket.create({ text }, { transaction })).id,
    nested: async (work) => {
      await sequelize.transaction({ transaction }, async (inner) => {
        await work(workOn(connected, inner));
      });
    },
  };
}

function open(pg: typeof stock, settings: ConnectionSettings): Application {
  const connected = connect(pg, settings);
  const { sequelize } = connected;
  return {
    ...workOn(connected, null),
    transaction: async (work) =>
      await sequelize.transaction(async (transaction) => await work(workOn(connected, transaction))),
    nestingTransaction: async (work) => {
      await sequelize.transaction(async (transaction) => {
        await work(workOn(connected, transaction));
      });
    },
    close: async () => {
      await sequelize.close();
    },
  };
}

describe('Sequelize 6', () => {
  const lab = FailoverLab.forThisSuite({ setUp: TABLES });
  survivesFailovers(lab, open, {
    commit: 'COMMIT',
    driverError: (error) => (error instanceof DatabaseError ? error.parent : error),
    wraps: (parent) => ({ name: 'SequelizeDatabaseError', parent, original: parent }),
  });

  it('reads, changes and deletes rows', async () => {
    const { sequelize, ticket } = connect(holdfast, settingsOf(lab));
    const [a, b] = await ticket.bulkCreate([{ text: 'a' }, { text: 'b' }]);
    await a!.update({ text: 'c' });
    expect(await ticket.update({ text: 'd' }, { where: { id: b!.id } })).toEqual([1]);
    expect(await ticket.destroy({ where: { text: 'd' } })).toBe(1);
    expect(await ticket.findAll({ raw: true })).toEqual([{ id: a!.id, text: 'c' }]);
    await sequelize.close();
  });

  it('a session has on the new server what Sequelize sets for it once', async () => {
    const { sequelize } = connect(holdfast, settingsOf(lab));
    const settings = async (): Promise<object[]> =>
      await sequelize.query(
        `SELECT pg_backend_pid() AS pid, current_setting('TimeZone') AS zone,
          current_setting('client_min_messages') AS messages`,
        { type: QueryTypes.SELECT },
      );
    const [before] = await settings();
    expect(before).toMatchObject({ zone: '<+00>-00', messages: 'warning' });
    await lab.replacePrimary();
    const [after] = await settings();
    expect(after).toEqual({ ...before, pid: expect.any(Number) });
    expect(after).not.toEqual(before);
    await sequelize.close();
  });

  it('takes the option failover through a class of its own', async () => {
    const { user, password, database } = settingsOf(lab);
    class Client extends holdfast.Client {
      constructor(config: ClientConfig) {
        super({ ...config, failover: { provider: new LabHosts(lab) } });
      }
    }
    const sequelize = new Sequelize(database, user, password, {
      dialect: 'postgres',
      dialectModule: { ...holdfast, Client },
      host: lab.proxy.host,
      port: lab.proxy.port,
      logging: false,
    });
    await sequelize.authenticate();
    await lab.replacePrimary();
    await sequelize.authenticate();
    await sequelize.close();
  });

  it.each(['localhost,127.0.0.1:PORT/app', 'localhost:PORT/app?host=localhost,127.0.0.1'])(
    'takes the hosts of a URL like %s',
    async (place) => {
      const { user, password } = settingsOf(lab);
      const url = `postgres://${user}:${password}@${place.replace('PORT', String(lab.proxy.port))}`;
      const sequelize = new Sequelize(url, { dialectModule: holdfast, logging: false });
      await sequelize.authenticate();
      await sequelize.close();
    },
  );

  /** The guide warns of it: `retry` without `match` repeats whatever has failed, and the driver takes it for new work. */
  it.each([
    { name: 'pg', pg: stock },
    { name: 'holdfast/pg', pg: holdfast },
  ])('writes twice on $name if it is told to repeat everything', async ({ pg }) => {
    const { sequelize, entry } = connect(pg, settingsOfPrimary(lab), { retry: { max: 2 } });
    await sequelize.authenticate();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const created = entry.create({ id: randomUUID(), text: 'twice' });
    await lost;
    lab.proxy.cut();
    await created;
    expect(await entry.count()).toBe(2);
    await sequelize.close();
  });

  it('never calls committed what was refused, however often it repeats the COMMIT', async () => {
    await lab.primary.query(unpinnableKey('ticket'));
    const { sequelize, ticket } = connect(holdfast, settingsOf(lab), {
      retry: { max: 3, match: [DatabaseError] },
    });
    const before = await ticket.count();
    const work = sequelize.transaction(async (transaction) => {
      await ticket.create({ text: 'lost' }, { transaction });
      await lab.replacePrimary();
    });
    await expect(work).rejects.toMatchObject({ parent: { code: '40001' } });
    expect(await ticket.count()).toBe(before);
    await sequelize.close();
  });
});
