import { SqlError, type SqlRunner } from '../sql-runner.ts';

/** Further than this a sequence is not moved: a transaction rarely drew so many values, and each costs a microsecond. */
const MAX_DRAWN = 1_000_000n;

const SEQUENCE = `
  select pg_catalog.format('%I.%I', n.nspname, c.relname), s.seqincrement::pg_catalog.text
  from pg_catalog.pg_sequence s
    join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) s.seqrelid
    join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
  where s.seqrelid operator(pg_catalog.=) $1::pg_catalog.oid`;

const DRAW = `
  select pg_catalog.count(pg_catalog.nextval($1::pg_catalog.oid::pg_catalog.regclass))
  from pg_catalog.generate_series(1, $2::pg_catalog.int8)`;

/**
 * Moves a sequence past values that were drawn from it before, by drawing until it is there: setval would race with others
 * who draw. On a connection of its own, so that currval stays undefined in the session that replays (A9).
 *
 * Returns why that can't be done, or null.
 */
export async function moveSequence(
  oid: number,
  values: readonly bigint[],
  runner: SqlRunner,
): Promise<string | null> {
  try {
    const [found] = await runner.run(SEQUENCE, [String(oid)]);
    if (found === undefined) return 'its sequence was made in the same transaction';
    const [name, increment] = found;
    const [row] = await runner.run(
      `select last_value::pg_catalog.text, is_called::pg_catalog.text from ${name!}`,
    );
    const step = BigInt(increment!);
    const last = BigInt(row![0]!) - (row![1] === 'true' ? 0n : step);
    const furthest = values.reduce((one, other) => (step > 0n === other > one ? other : one));
    const distance = furthest - last;
    if (distance === 0n || distance > 0n !== step > 0n) return null;
    // Values between two steps are passed as well.
    const draws = (distance + step - (step > 0n ? 1n : -1n)) / step;
    if (draws > MAX_DRAWN) return 'its sequence is too far behind';
    await runner.run(DRAW, [String(oid), String(draws)]);
    return null;
  } catch (error) {
    if (error instanceof SqlError) return `its sequence can’t be moved (SQLSTATE ${error.code})`;
    throw error;
  }
}
