import { readFileSync } from 'node:fs';
import stock from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConfigurationError } from '../../../src/errors.ts';
import {
  requireJavaScriptClient,
  requireSupportedVersion,
  SUPPORTED_PG,
} from '../../../src/pg/installed-pg.ts';
import { replaceClasses } from '../../../src/pg/replace-classes.ts';
import { GENUINE_CLASSES, isReplaced } from '../../../src/pg/stock-pg.ts';
import holdfast, { Client, Pool } from '../../../src/pg.ts';

const NOTHING_ODD = { wasLoadedBefore: false, otherPg: undefined };
const ours = { Client, Pool };

const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
afterEach(() => {
  warn.mockClear();
});

/** What pg's module is like, so that the real one stays as it is. */
function pgModule(): Record<PropertyKey, unknown> {
  return { Client: stock.Client, Pool: stock.Pool, types: stock.types };
}

describe('replaceClasses()', () => {
  it('puts our classes in place and leaves the genuine ones for other copies of the driver', () => {
    const module = pgModule();
    replaceClasses(module, ours, NOTHING_ODD);
    expect(module).toEqual({ Client, Pool, types: stock.types });
    expect(module[GENUINE_CLASSES]).toEqual({ Client: stock.Client, Pool: stock.Pool });
    expect(Object.keys(module)).toEqual(['Client', 'Pool', 'types']);
    expect(warn).not.toHaveBeenCalled();
  });

  it('does it once', () => {
    const module = pgModule();
    replaceClasses(module, ours, NOTHING_ODD);
    replaceClasses(
      module,
      { Client: stock.Client, Pool: stock.Pool },
      { wasLoadedBefore: true, otherPg: undefined },
    );
    expect(module['Client']).toBe(Client);
    expect(warn).not.toHaveBeenCalled();
  });

  it('warns of what it can not reach', () => {
    replaceClasses(pgModule(), ours, { wasLoadedBefore: true, otherPg: '/app/node_modules/pg/lib/index.js' });
    expect(warn.mock.calls).toEqual([
      [
        expect.stringContaining('had been loaded before'),
        { type: 'HoldfastWarning', code: 'HOLDFAST_PG_LOADED_BEFORE' },
      ],
      [
        expect.stringContaining('/app/node_modules/pg/lib/index.js'),
        { type: 'HoldfastWarning', code: 'HOLDFAST_OTHER_PG' },
      ],
    ]);
  });

  it('has nothing to do where our own object stands in for pg', () => {
    expect(isReplaced(holdfast)).toBe(true);
    expect((holdfast as unknown as Record<PropertyKey, unknown>)[GENUINE_CLASSES]).toEqual({
      Client: stock.Client,
      Pool: stock.Pool,
    });
  });
});

describe('the installed pg', () => {
  it('may be what package.json says', () => {
    const { peerDependencies } = JSON.parse(
      readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
    ) as { peerDependencies: { pg: string } };
    expect(SUPPORTED_PG).toBe(peerDependencies.pg);
    for (const version of ['8.21.0', '8.23.1', '8.23.100', '8.99.0']) {
      expect(() => {
        requireSupportedVersion(version);
      }, version).not.toThrow();
    }
    for (const version of ['7.18.2', '8.20.9', '9.0.0', '9.21.0']) {
      expect(() => {
        requireSupportedVersion(version);
      }, version).toThrow(ConfigurationError);
    }
  });

  it('may not be the native one', () => {
    expect(() => {
      requireJavaScriptClient({ NODE_PG_FORCE_NATIVE: '1' });
    }).toThrow(/pg-native/);
    expect(() => {
      requireJavaScriptClient({ NODE_PG_FORCE_NATIVE: '' });
    }).not.toThrow();
  });
});

describe('copies of the classes', () => {
  it('know the objects of each other', async () => {
    vi.resetModules();
    const other = (await import('../../../src/pg.ts')) as { Client: typeof Client; Pool: typeof Pool };
    expect(other.Pool).not.toBe(Pool);
    expect(new other.Pool()).toBeInstanceOf(Pool);
    expect(new other.Client()).toBeInstanceOf(Client);
    class Own extends Pool {}
    expect(new Own()).toBeInstanceOf(other.Pool);
    expect(new other.Pool()).not.toBeInstanceOf(Own);
    expect(new stock.Pool()).not.toBeInstanceOf(Pool);
    expect(new stock.Client()).not.toBeInstanceOf(Client);
    expect(Reflect.apply(Reflect.get(Pool, Symbol.hasInstance) as () => boolean, Pool, [null])).toBe(false);
  });

  it('have the names of those of pg', () => {
    expect(Client.name).toBe(stock.Client.name);
    expect(Pool.name).toBe(stock.Pool.name);
  });
});
