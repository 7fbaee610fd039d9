import { visitNodes } from '../sql/syntax-tree.ts';
import { writeStatement } from './deparser.ts';
import type { PinnedValues } from './sql-nodes.ts';
import { preparePinned, withPinnedBind, withText, type WireStatement } from './wire-statement.ts';

const MAX_PARAMETERS = 65_535;
/** text and bytea: they take the value of a parameter that nothing uses any more. */
const ANY_TEXT = 25;
const ANY_BYTES = 17;

/** How a unit is replayed. */
export type PinnedForm =
  /** `reason`: why what differs in it can't be pinned; null if nothing does. The digest decides. */
  | { readonly kind: 'as-it-is'; readonly reason: string | null }
  | {
      readonly kind: 'pinned';
      /** To be sent in front, as a unit of its own. */
      readonly prepare: Buffer | null;
      readonly bytes: Buffer;
      /** It gives what a sequence would have given: currval must not tell of an earlier value (A9). */
      readonly givesDrawn: boolean;
      readonly reason: string | null;
    }
  /** R7: run in any way it would not fit what the application has seen. */
  | { readonly kind: 'refused'; readonly reason: string };

/** One statement of a unit, pinned as far as it can be. */
export interface PinnedTree {
  readonly tree: unknown;
  readonly isPinned: boolean;
  readonly givesDrawn: boolean;
  readonly reason: string | null;
}

/**
 * The unit's statements in the form that was found for them, as messages.
 *
 * @param unit - its own bytes
 * @returns a string: why it can't be written
 */
export function writePinned(
  unit: Buffer,
  wire: WireStatement,
  run: readonly PinnedTree[],
  values: PinnedValues,
): PinnedForm | string {
  const reason = run.find((one) => one.reason !== null)?.reason ?? null;
  if (!run.some(({ isPinned }) => isPinned)) return { kind: 'as-it-is', reason };
  const texts = run.map(({ tree }) => writeStatement(tree));
  if (texts.includes(null)) return 'its pinned form can’t be written';
  const givesDrawn = run.some((one) => one.givesDrawn);
  if (wire.isSimple) {
    if (values.parameters.length > 0) return 'its result was binary';
    return { kind: 'pinned', prepare: null, bytes: withText(texts.join('; ')), givesDrawn, reason };
  }
  if (wire.parameters.length + values.parameters.length > MAX_PARAMETERS) {
    return 'it has more values than a statement can take';
  }
  return {
    kind: 'pinned',
    prepare: preparePinned(texts.join('; '), typesOf(wire, run[0]?.tree, values)),
    bytes: withPinnedBind(unit, values.parameters),
    givesDrawn,
    reason,
  };
}

/** Of a parameter that was only in what is pinned now, nobody could find out the type. */
function typesOf(wire: WireStatement, tree: unknown, values: PinnedValues): readonly number[] {
  const used = new Set<unknown>();
  visitNodes(tree, ({ tag, fields }) => {
    if (tag === 'ParamRef') used.add(fields['number']);
    return undefined;
  });
  const own = wire.parameters.map(({ format }, index) => {
    const declared = wire.types[index] ?? 0;
    if (declared !== 0 || used.has(index + 1)) return declared;
    return format === 0 ? ANY_TEXT : ANY_BYTES;
  });
  return [...own, ...values.types];
}
