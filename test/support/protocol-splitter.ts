/** One message of the PostgreSQL protocol; `type` is '' for the untyped ones of the start. */
export interface ProtocolMessage {
  readonly type: string;
  /** Without type and length. */
  readonly body: Buffer;
  /** As it is on the wire. */
  readonly bytes: Buffer;
}

/** What the bytes that come next are. `raw` is what can't be split: TLS, or a cancel request. */
export type Framing = 'untyped' | 'one-byte' | 'typed' | 'raw';

/**
 * Cuts one direction of a connection into whole messages. It asks for the framing before each of them, as the
 * first ones decide what the later ones look like.
 */
export class ProtocolSplitter {
  readonly #framing: () => Framing;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(framing: () => Framing) {
    this.#framing = framing;
  }

  /** Gives up waiting for the rest: the beginning of a message that will never be complete. */
  takeIncomplete(): Buffer {
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#length = 0;
    return bytes;
  }

  /** The messages that are complete with this chunk. Each must be handled before the next is asked for. */
  *push(chunk: Buffer): Generator<ProtocolMessage> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    for (;;) {
      const wanted = this.#nextLength();
      if (wanted === undefined || wanted > this.#length) return;
      yield this.#take(wanted);
    }
  }

  #nextLength(): number | undefined {
    if (this.#length === 0) return undefined;
    switch (this.#framing()) {
      case 'raw':
        return this.#length;
      case 'one-byte':
        return 1;
      case 'untyped':
        // A TLS handshake that starts without a question has no length here.
        if (this.#joined(1)[0] === 0x16) return this.#length;
        return this.#length < 4 ? undefined : this.#joined(4).readUInt32BE(0);
      case 'typed':
        return this.#length < 5 ? undefined : 1 + this.#joined(5).readUInt32BE(1);
    }
  }

  /** The first chunk, made long enough; chunks of one long message are joined only once, when it is complete. */
  #joined(length: number): Buffer {
    if (this.#chunks[0]!.length < length) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #take(length: number): ProtocolMessage {
    const framing = this.#framing();
    const joined = this.#joined(length);
    const bytes = joined.subarray(0, length);
    const rest = joined.subarray(length);
    this.#chunks = rest.length > 0 ? [rest, ...this.#chunks.slice(1)] : this.#chunks.slice(1);
    this.#length -= length;
    const typed = framing === 'typed';
    return { type: typed ? String.fromCharCode(bytes[0]!) : '', body: bytes.subarray(typed ? 5 : 0), bytes };
  }
}
