/** Collects what is to be handed on of an answer, copying only what would change under its feet. */
export class AnswerOutput {
  #parts: Buffer[] = [];
  #run: Buffer | null = null;
  #from = 0;
  #to = 0;

  add(bytes: Buffer, start: number, end: number, isStable: boolean): void {
    if (this.#run === bytes && this.#to === start) {
      this.#to = end;
      return;
    }
    this.#endRun();
    if (isStable) {
      this.#run = bytes;
      this.#from = start;
      this.#to = end;
    } else this.#parts.push(Buffer.from(bytes.subarray(start, end)));
  }

  /** All of it, which is then forgotten; null if there is nothing. */
  take(): Buffer | null {
    this.#endRun();
    const parts = this.#parts;
    if (parts.length === 0) return null;
    this.#parts = [];
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  clear(): void {
    this.#run = null;
    this.#parts = [];
  }

  #endRun(): void {
    if (this.#run === null) return;
    this.#parts.push(this.#run.subarray(this.#from, this.#to));
    this.#run = null;
  }
}
