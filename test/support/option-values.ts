/** Of an option of a command; throws with a message that quotes what is wrong. */
export function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new Error(`--${name} must be a whole number from ${min} to ${max}, not '${text}'`);
  }
  return value;
}

/** The same of one of these words; undefined if the option was not given. */
export function oneOf<Word extends string>(
  name: string,
  words: readonly Word[],
  text: string | undefined,
): Word | undefined {
  if (text === undefined) return undefined;
  const word = words.find((one) => one === text);
  if (word === undefined) throw new Error(`--${name} must be one of ${words.join(', ')}, not '${text}'`);
  return word;
}
