/**
 * An object of the catalogue and what is done with it. `modify` is UPDATE, DELETE, MERGE and INSERT … ON CONFLICT: what
 * `insert` does and the actions of foreign keys. `call` is by name, `support` as part of an operator, cast or type.
 */
export type NodeClass = 'read' | 'insert' | 'modify' | 'call' | 'support' | 'operator' | 'type';
/** Class and object identifier. */
export type NodeKey = `${NodeClass}:${string}`;

/** Object identifiers from here on were given to what somebody made (FirstNormalObjectId). */
const FIRST_MADE = 16_384;

export function classOf(key: NodeKey): NodeClass {
  return key.slice(0, key.indexOf(':')) as NodeClass;
}

export function oidOf(key: NodeKey): string {
  return key.slice(key.indexOf(':') + 1);
}

/** True if somebody made it, false if initdb did. */
export function isMade(oid: string): boolean {
  return Number(oid) >= FIRST_MADE;
}
