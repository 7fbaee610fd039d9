/**
 * Lets the key of a table come from a function that somebody has made: it may do more than make a value, so a replay calls
 * it again, and gets another key. `column` of type int or bigint has a sequence by `serial`.
 */
export function unpinnableKey(table: string, column = 'id'): string {
  const sequence = `pg_get_serial_sequence('${table}', '${column}')`;
  return `
    CREATE OR REPLACE FUNCTION next_key() RETURNS int LANGUAGE sql AS 'SELECT nextval(${sequence.replaceAll("'", "''")})::int';
    ALTER TABLE ${table} ALTER ${column} SET DEFAULT next_key();`;
}

/** Back to what `serial` means. */
export function pinnableKey(table: string, sequence: string, column = 'id'): string {
  return `ALTER TABLE ${table} ALTER ${column} SET DEFAULT nextval('${sequence}')`;
}
