/**
 * Writes the operators of the driver's own SQL so that no search_path can put others in their place: `a = b` becomes
 * `a operator(pg_catalog.=) b`. Everything else in such SQL is qualified by hand. An operator must have a blank on both
 * sides, and no string may contain one like that; IN, BETWEEN, CASE x WHEN and JOIN … USING imply operators: not there.
 */
export function pinned(sql: string): string {
  return sql.replace(/ (=|<>|>=|<=|~~|~\*|\|\|) /g, ' operator(pg_catalog.$1) ').trim();
}
