import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

/** A9: what a replay could get wrong without anybody's noticing. */
describe('what holds for a whole transaction', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `
      CREATE TABLE parent (id serial PRIMARY KEY, name text);
      CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent, name text);
      CREATE TABLE event (id serial PRIMARY KEY, name text, at timestamptz DEFAULT now(), day date DEFAULT current_date);
      CREATE TABLE logged (name text, at timestamptz);
      CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := now(); RETURN NEW; END';
      CREATE TRIGGER stamp BEFORE INSERT ON logged FOR EACH ROW EXECUTE FUNCTION stamp();
      CREATE FUNCTION moment() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()';
      CREATE FUNCTION adopt(text) RETURNS void LANGUAGE sql AS
        'INSERT INTO child (parent, name) VALUES (currval(''parent_id_seq''), $1)';
      CREATE VIEW recent AS SELECT * FROM event WHERE at >= now();
    `,
  });

  it('binds children to their own parents by currval', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const parents = [];
    for (const name of ['A', 'B']) {
      parents.push(...(await client.query('INSERT INTO parent (name) VALUES ($1) RETURNING *', [name])).rows);
      await client.query(`INSERT INTO child (parent, name) VALUES (currval('parent_id_seq'), $1)`, [
        `of ${name}`,
      ]);
    }
    await lab.replacePrimary();
    await client.query('COMMIT');
    const { rows } = await client.query(
      'SELECT p.name, c.name AS child FROM child c JOIN parent p ON p.id = c.parent ORDER BY 1',
    );
    expect(rows).toEqual([
      { name: 'A', child: 'of A' },
      { name: 'B', child: 'of B' },
    ]);
    expect((await client.query('SELECT * FROM parent ORDER BY id')).rows).toEqual(parents);
  });

  it('leaves currval of a value that was given undefined, where nobody can put it in', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO parent (name) VALUES ('unseen')`);
    await client.query(`INSERT INTO parent (name) VALUES ('seen') RETURNING id`);
    await client.query(`SELECT adopt('c')`);
    await lab.replacePrimary();
    const error = await rejectionOf(client.query('COMMIT'));
    expect(error).toMatchObject({ kind: 'replay-diverged' });
    expect(String(error)).toMatch(/now failed with SQLSTATE 55000/);
  });

  it('leaves currval undefined for what comes behind as well', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO parent (name) VALUES ('seen') RETURNING id`);
    await lab.replacePrimary();
    const error = await rejectionOf(
      client.query(`INSERT INTO child (parent) VALUES (currval('parent_id_seq'))`),
    );
    expect(error).toMatchObject({ code: '55000' });
    await client.query('ROLLBACK');
  });

  it('keeps the time of the transaction for what comes behind', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO event (name) VALUES ('unseen')`);
    const [seen] = (await client.query('SELECT now()::text, current_date::text AS day')).rows as {
      now: string;
      day: string;
    }[];
    await client.query(`INSERT INTO event (name) VALUES ('behind')`);
    await lab.replacePrimary();
    expect(
      (await client.query('UPDATE event SET name = upper(name) WHERE at = $1', [seen!.now])).rowCount,
    ).toBe(2);
    await client.query(`INSERT INTO event (name, at) VALUES ('later', current_timestamp), ('last', DEFAULT)`);
    await client.query({ name: 'named', text: 'INSERT INTO event (name) VALUES ($1)', values: ['named'] });
    await client.query({ name: 'named', text: 'INSERT INTO event (name) VALUES ($1)', values: ['again'] });
    // As ORMs spell it: the default of another column has nothing to do with the time.
    await client.query(`INSERT INTO event (id, name, at) VALUES (DEFAULT, 'spelled out', DEFAULT)`);
    await client.query(`INSERT INTO event VALUES (DEFAULT, 'by place', now())`);
    const after = await client.query(
      'SELECT now()::text AS now, count(*)::int FROM event WHERE at = now() GROUP BY 1',
    );
    expect(after.rows).toEqual([{ now: seen!.now, count: 8 }]);
    await client.query('COMMIT');
    await client.query({
      name: 'named',
      text: 'INSERT INTO event (name) VALUES ($1)',
      values: ['of its own time'],
    });
    const { rows } = await client.query('SELECT at::text, count(*)::int FROM event GROUP BY 1 ORDER BY 1');
    expect(rows[0]).toEqual({ at: seen!.now, count: 8 });
    expect(rows).toHaveLength(2);
  });

  it('survives a second failover with it', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const first = await client.query(`INSERT INTO event (name) VALUES ('one') RETURNING *`);
    lab.proxy.cut();
    const second = await client.query(`INSERT INTO event (name) VALUES ('two') RETURNING *`);
    lab.proxy.cut();
    expect((await client.query('SELECT * FROM event WHERE at = now() ORDER BY id')).rows).toEqual([
      ...first.rows,
      ...second.rows,
    ]);
    await client.query('COMMIT');
  });

  it.each([
    ['a trigger', `INSERT INTO logged (name) VALUES ('x')`, /trigger stamp uses it/],
    ['a function', 'SELECT moment()', /function moment uses it/],
    ['a view', 'SELECT * FROM recent', /view recent uses it/],
    ['a word', `SELECT 'today'::date`, /an expression uses it/],
  ])('refuses the transaction if %s used the time that was seen', async (_name, statement, reason) => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SELECT now()');
    await client.query(statement);
    lab.proxy.cut();
    const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('x')`));
    expect(error).toMatchObject({ code: '40001', kind: 'transaction-not-replayable' });
    expect(String(error)).toMatch(reason);
    await client.query('ROLLBACK');
    expect(await lab.notes()).toEqual([]);
  });

  it.each([
    ['a trigger', `INSERT INTO logged (name) VALUES ('x')`, /trigger stamp uses it/],
    ['a function', 'SELECT moment()', /function moment uses it/],
    ['a default', `COPY event (name) FROM STDIN`, /a default uses it/],
  ])('refuses it if %s uses it behind the replay', async (_name, statement, reason) => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SELECT now()');
    await client.query(`INSERT INTO note VALUES ('before')`);
    lab.proxy.cut();
    await client.query('SELECT 1');
    const error = await rejectionOf(client.query(statement));
    expect(error).toMatchObject({ code: '40001', kind: 'transaction-not-replayable' });
    expect(String(error)).toMatch(reason);
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('leaves the time alone that nobody has seen', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO logged (name) VALUES ('x')`);
    lab.proxy.cut();
    await client.query('COMMIT');
    expect((await client.query('SELECT name FROM logged')).rows).toContainEqual({ name: 'x' });
  });

  it('does not put a time into a definition', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SELECT now()');
    await client.query('CREATE TABLE dated (at timestamptz DEFAULT now())');
    lab.proxy.cut();
    await client.query('COMMIT');
    const { rows } = await client.query(
      `SELECT pg_get_expr(adbin, adrelid) AS expression FROM pg_attrdef WHERE adrelid = 'dated'::regclass`,
    );
    expect(rows).toEqual([{ expression: 'now()' }]);
  });
});
