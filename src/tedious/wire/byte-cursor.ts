/** The bytes end before the token does: there is more to come. */
export class NeedMoreBytes extends Error {}

const NEED_MORE = new NeedMoreBytes('need more bytes');

/** Goes through bytes of which not all may have come yet. Throws `NeedMoreBytes` at the end of what is there. */
export class ByteCursor {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  need(count: number): void {
    if (this.at + count > this.end) throw NEED_MORE;
  }

  skip(count: number): void {
    this.need(count);
    this.at += count;
  }

  uint8(): number {
    this.need(1);
    return this.bytes[this.at++]!;
  }

  uint16(): number {
    this.need(2);
    const value = this.bytes.readUInt16LE(this.at);
    this.at += 2;
    return value;
  }

  uint32(): number {
    this.need(4);
    const value = this.bytes.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  /** B_VARCHAR: a count of characters in one byte, then UTF-16. */
  shortText(): string {
    return this.#text(this.uint8());
  }

  /** US_VARCHAR: the count in two bytes. */
  longText(): string {
    return this.#text(this.uint16());
  }

  #text(characters: number): string {
    this.need(characters * 2);
    const from = this.at;
    this.at += characters * 2;
    return this.bytes.toString('utf16le', from, this.at);
  }
}
