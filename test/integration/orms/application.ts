import type stock from 'pg';
import type { TopologyProvider, TopologyView } from '../../../src/index.ts';
import type { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION } from '../../support/postgres-template.ts';

/** Where the application's database is, in the spellings that ORMs ask for. */
export interface ConnectionSettings {
  readonly connectionString: string;
  /** As libpq lists them: `a,b` and `1,2`. */
  readonly host: string;
  readonly port: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** What an application does inside a transaction. */
export interface Work {
  /** Inserts an entry under a key that the application makes. */
  write(text: string): Promise<void>;
  /** The texts of all entries, sorted. */
  read(): Promise<string[]>;
  /** Inserts a ticket and gives the id that its sequence made. */
  issue(text: string): Promise<number>;
}

/** The same, where transactions can stand in it. */
export interface NestingWork extends Work {
  /** A transaction in the transaction, which is a savepoint. What `work` throws rolls it back and is thrown. */
  nested(work: (inner: Work) => Promise<void>): Promise<void>;
}

/**
 * An application that speaks to its ORM in the ORM's own words. Nothing in it knows of failovers, and it does the same
 * with stock pg below.
 */
export interface Application {
  /** What `work` throws rolls the transaction back and is thrown. */
  transaction<T>(work: (transaction: Work) => Promise<T>): Promise<T>;
  /** The same as far as the application can see; some ORMs want another kind of call. */
  nestingTransaction(work: (transaction: NestingWork) => Promise<void>): Promise<void>;
  /** As `write` and `read` of a transaction, but outside of one. */
  write(text: string): Promise<void>;
  read(): Promise<string[]>;
  close(): Promise<void>;
}

/** Makes an application on one of the two modules, which have the same types. */
export type OpenApplication = (
  pg: typeof stock,
  settings: ConnectionSettings,
) => Application | Promise<Application>;

/**
 * `entry` has no key in the database, whatever the ORM believes: what was written twice is there twice. The id of a
 * `ticket` is the database's.
 */
export const TABLES = `
  CREATE TABLE entry (id uuid NOT NULL, text text NOT NULL);
  CREATE TABLE ticket (id serial PRIMARY KEY, text text NOT NULL)`;

/** All hosts of the lab, through their proxies. */
export function settingsOf(lab: FailoverLab): ConnectionSettings {
  return { ...hostLists(lab.proxies), ...APPLICATION, connectionString: lab.connectionString() };
}

export function hostsOf(lab: FailoverLab): { host: string; port: number }[] {
  return lab.proxies.map(({ host, port }) => ({ host, port }));
}

/** The primary alone, which is all that stock pg can be given. */
export function settingsOfPrimary(lab: FailoverLab): ConnectionSettings {
  return {
    ...hostLists([lab.proxy]),
    ...APPLICATION,
    connectionString: lab.cluster.connectionString({ hosts: [lab.proxy], parameters: {} }),
  };
}

function hostLists(addresses: readonly { host: string; port: number }[]): { host: string; port: string } {
  return {
    host: addresses.map(({ host }) => host).join(','),
    port: addresses.map(({ port }) => port).join(','),
  };
}

/** Has private fields: a copy of it, such as ORMs may make of their configuration, would not do. */
export class LabHosts implements TopologyProvider {
  readonly #lab: FailoverLab;

  constructor(lab: FailoverLab) {
    this.#lab = lab;
  }

  async discover(): Promise<TopologyView> {
    return await Promise.resolve({ hosts: hostsOf(this.#lab) });
  }
}
