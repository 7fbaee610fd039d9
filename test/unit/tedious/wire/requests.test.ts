import type { Socket } from 'node:net';
import { Connection, ISOLATION_LEVEL, Request, TYPES } from 'tedious';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TdsEndpoint } from '../../../../src/tedious/endpoint/tds-endpoint.ts';
import { descriptorAt, NO_TRANSACTION } from '../../../../src/tedious/wire/all-headers.ts';
import { MESSAGE } from '../../../../src/tedious/wire/message-type.ts';
import type { RequestMessage } from '../../../../src/tedious/wire/request-message.ts';
import { integerOf, readRpcRequest, textOf } from '../../../../src/tedious/wire/rpc-request.ts';
import { readTransactionRequest } from '../../../../src/tedious/wire/transaction-request.ts';
import { doneToken } from '../../../../src/tedious/wire/write-token.ts';

/** What a genuine connection writes. */
describe('requests as tedious writes them', () => {
  let connection: Connection;
  let requests: RequestMessage[] = [];

  beforeEach(async () => {
    requests = [];
    const endpoint = new TdsEndpoint({
      login: () => {
        endpoint.loginSucceeded({
          remarks: [],
          collation: Buffer.from([9, 4, 208, 0, 52]),
          tdsVersion: 0x74000004,
          packetBytes: 4096,
        });
      },
      request: (message) => {
        requests.push(message);
        endpoint.answer(doneToken(0), true);
      },
      holdBulkLoad: () => true,
      releaseBulkLoad: () => undefined,
      refusedBulkLoad: () => undefined,
      attention: () => undefined,
      drained: () => undefined,
      ended: () => undefined,
    });
    connection = new Connection({
      server: '127.0.0.1',
      authentication: { type: 'default', options: { userName: 'app', password: 'secret' } },
      options: {
        port: 1433,
        encrypt: false,
        connector: async () => await Promise.resolve(endpoint.stream as unknown as Socket),
      },
    });
    await new Promise<void>((resolve) => {
      connection.connect(() => {
        resolve();
      });
    });
    requests = [];
  });

  afterEach(() => {
    connection.close();
  });

  async function written(work: (done: () => void) => void): Promise<RequestMessage> {
    await new Promise<void>((resolve) => {
      work(resolve);
    });
    return requests.at(-1)!;
  }

  it('of transactions', async () => {
    const begin = await written((done) => {
      connection.beginTransaction(
        () => {
          done();
        },
        'first',
        ISOLATION_LEVEL.SERIALIZABLE,
      );
    });
    expect(begin.type).toBe(MESSAGE.transaction);
    expect(readTransactionRequest(begin.payload)).toEqual({
      kind: 'begin',
      isolation: ISOLATION_LEVEL.SERIALIZABLE,
      name: 'first',
    });
    const save = await written((done) => {
      connection.saveTransaction(() => {
        done();
      }, 'here');
    });
    expect(readTransactionRequest(save.payload)).toEqual({ kind: 'save', name: 'here' });
    const rollback = await written((done) => {
      connection.rollbackTransaction(() => {
        done();
      }, 'here');
    });
    expect(readTransactionRequest(rollback.payload)).toEqual({
      kind: 'rollback',
      name: 'here',
      begins: false,
    });
    const commit = await written((done) => {
      connection.commitTransaction(() => {
        done();
      });
    });
    expect(readTransactionRequest(commit.payload)).toEqual({ kind: 'commit', name: '', begins: false });
    const at = descriptorAt(commit.payload);
    expect(commit.payload.subarray(at, at + 8)).toEqual(NO_TRANSACTION);
  });

  it('of sp_executesql, with values of many types and lengths', async () => {
    const sql = `select @a, @b ${' '.repeat(10_000)}`;
    const { type, payload } = await written((done) => {
      const request = new Request(sql, () => {
        done();
      });
      request.addParameter('a', TYPES.NVarChar, 'x'.repeat(9_000));
      request.addParameter('b', TYPES.Int, 7);
      request.addParameter('c', TYPES.Decimal, 1.5, { precision: 10, scale: 2 });
      request.addParameter('d', TYPES.VarBinary, Buffer.from('d'));
      request.addParameter('e', TYPES.DateTime2, new Date(0));
      request.addParameter('f', TYPES.UniqueIdentifier, null);
      request.addParameter('g', TYPES.Text, 'old');
      request.addParameter('h', TYPES.NVarChar, null);
      request.addOutputParameter('i', TYPES.BigInt);
      connection.execSql(request);
    });
    expect(type).toBe(MESSAGE.rpc);
    const rpc = readRpcRequest(payload);
    expect(rpc).toMatchObject({ procedure: 'sp_executesql', isComplete: true });
    expect(rpc.parameters.map(({ name }) => name).slice(2)).toEqual(
      Array.from('abcdefghi', (name) => `@${name}`),
    );
    const [statement, declarations, a, b, , , , , , h, i] = rpc.parameters;
    expect(textOf(payload, statement!)).toBe(sql);
    expect(textOf(payload, declarations!)).toContain('@c decimal');
    expect(textOf(payload, a!)).toBe('x'.repeat(9_000));
    expect(integerOf(payload, b!)).toBe(7);
    expect(textOf(payload, h!)).toBeNull();
    expect(i!.isOutput).toBe(true);
    expect(rpc.parameters.at(-1)!.end).toBe(payload.length);
  });

  it('of procedures by name, and by number', async () => {
    const named = await written((done) => {
      connection.callProcedure(
        new Request('dbo.Pay', () => {
          done();
        }),
      );
    });
    expect(readRpcRequest(named.payload)).toEqual({ procedure: 'dbo.pay', parameters: [], isComplete: true });
    const prepared = await written((done) => {
      const request = new Request('select 1', () => undefined);
      request.on('prepared', done);
      connection.prepare(request);
    });
    const rpc = readRpcRequest(prepared.payload);
    expect(rpc.procedure).toBe('sp_prepare');
    expect(rpc.parameters[0]).toMatchObject({ name: '@handle', isOutput: true });
    expect(integerOf(prepared.payload, rpc.parameters[0]!)).toBeNull();
  });

  it('whose parameters can not all be read say so', async () => {
    const { payload } = await written((done) => {
      const request = new Request('p', () => {
        done();
      });
      request.addParameter('a', TYPES.Int, 1);
      request.addParameter('t', TYPES.TVP, {
        name: 'rows',
        columns: [{ name: 'n', type: TYPES.Int }],
        rows: [[1]],
      });
      connection.callProcedure(request);
    });
    const rpc = readRpcRequest(payload);
    expect(rpc).toMatchObject({ procedure: 'p', isComplete: false });
    expect(rpc.parameters.map(({ name }) => name)).toEqual(['@a']);
  });
});
