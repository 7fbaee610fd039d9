import { beforeAll, describe, expect, it } from 'vitest';
import { askTokenPresence, describeMissing } from '../../../src/pg/token/token-presence.ts';
import { createTokenObjectsSql, dropTokenObjectsSql } from '../../../src/pg/token/token-objects.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';
import { installTokens, ODD_SCHEMA, setWatermark } from '../../support/token-lab.ts';

describe.each(['14', '15', '18'])(
  'what of the tokens is there for a connection to PostgreSQL %s',
  (version) => {
    const lab = FailoverLab.forThisSuite({ version, standbys: 0 });
    const ask = async (schema = 'holdfast'): ReturnType<typeof askTokenPresence> =>
      await askTokenPresence(sqlRunnerOver(await lab.stock()), schema);

    beforeAll(async () => {
      await installTokens(lab.primary);
    });

    it("everything, with the server's time and the watermark", async () => {
      await setWatermark(lab.primary, 12_345);
      const before = Date.now();
      const presence = await ask();
      expect(presence).toEqual({
        kind: 'present',
        time: { serverMillis: expect.any(Number), watermarkMillis: 12_345 },
        canPurge: true,
      });
      const { serverMillis } = (presence as { time: { serverMillis: number } }).time;
      expect(serverMillis).toBeGreaterThanOrEqual(before - 1);
      expect(serverMillis).toBeLessThanOrEqual(Date.now() + 1);
    });

    it('new objects have a watermark: what was before them is not known', async () => {
      await lab.primary.query(dropTokenObjectsSql('holdfast'));
      await lab.primary.query(createTokenObjectsSql({ schema: 'holdfast' }));
      const presence = await ask();
      if (presence.kind !== 'present') throw new Error(presence.kind);
      const { serverMillis, watermarkMillis } = presence.time;
      expect(watermarkMillis).toBeGreaterThan(serverMillis);
      expect(watermarkMillis).toBeLessThanOrEqual(serverMillis + 60_000);
      // And made again they keep it.
      await setWatermark(lab.primary, 77);
      await lab.primary.query(createTokenObjectsSql({ schema: 'holdfast' }));
      expect(await ask()).toMatchObject({ time: { watermarkMillis: 77 } });
    });

    it('nothing at all, and a schema with an odd name', async () => {
      const missing = [{ part: 'schema', why: 'absent' }] as const;
      expect(await ask('nowhere')).toEqual({ kind: 'missing', missing });
      expect(describeMissing(missing, 'nowhere')).toBe('the schema "nowhere" does not exist');
      expect(await ask(ODD_SCHEMA)).toMatchObject({ kind: 'missing' });
      await installTokens(lab.primary, { schema: ODD_SCHEMA });
      expect(await ask(ODD_SCHEMA)).toMatchObject({ kind: 'present', canPurge: true });
    });

    it('what a role may not use', async () => {
      const statements = ['ON SCHEMA holdfast', 'ON FUNCTION holdfast.resolve_token(uuid)'];
      await lab.primary.query(
        `REVOKE USAGE ${statements[0]!} FROM PUBLIC; REVOKE ALL ${statements[1]!} FROM PUBLIC`,
      );
      expect(await ask()).toEqual({
        kind: 'missing',
        missing: [
          { part: 'schema', why: 'forbidden' },
          { part: 'resolve_token', why: 'forbidden' },
        ],
      });
      await lab.primary.query(createTokenObjectsSql({ schema: 'holdfast', roles: ['postgres'] }));
      expect(await ask()).toEqual({
        kind: 'missing',
        missing: [{ part: 'resolve_token', why: 'forbidden' }],
      });
      await lab.primary.query(createTokenObjectsSql({ schema: 'holdfast', roles: ['app'] }));
      expect(await ask()).toMatchObject({ kind: 'present', canPurge: true });
    });

    it('objects that a crash would empty, and functions that are gone', async () => {
      await lab.primary.query(
        'ALTER TABLE holdfast.token SET UNLOGGED; DROP FUNCTION holdfast.put_token(uuid)',
      );
      expect(await ask()).toEqual({
        kind: 'missing',
        missing: [
          { part: 'table', why: 'unlogged' },
          { part: 'put_token', why: 'absent' },
        ],
      });
    });

    it('a watermark that was never set: no token would be taken', async () => {
      await lab.primary.query('ALTER SEQUENCE holdfast.token_watermark RESTART');
      expect(await ask()).toMatchObject({
        missing: expect.arrayContaining([{ part: 'watermark', why: 'absent' }]),
      });
    });

    it('nothing is asked that could be shadowed', async () => {
      const client = await lab.stock();
      await client.query(`CREATE TEMP TABLE pg_proc (x int); CREATE TEMP TABLE pg_class (x int)`);
      await client.query('SET search_path = pg_temp');
      expect((await askTokenPresence(sqlRunnerOver(client), 'nowhere')).kind).toBe('missing');
    });
  },
);
