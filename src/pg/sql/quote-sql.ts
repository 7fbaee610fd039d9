/** A name as an identifier: nothing in it can end it. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as a string literal that means the same whether standard_conforming_strings is on or off. */
export function quoteLiteral(text: string): string {
  const doubled = text.replaceAll("'", "''");
  return doubled.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

/** A text between dollar quotes, whose tag does not occur in it. */
export function dollarQuote(text: string): string {
  let tag = '$holdfast$';
  for (let number = 1; text.includes(tag); number += 1) tag = `$holdfast${number}$`;
  return `${tag}${text}${tag}`;
}
