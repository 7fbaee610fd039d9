import { parameterStatus } from './backend-messages.ts';

/** What the application's client was told last of its server's parameters: another server's differing values are news (T10). */
export class AnnouncedParameters {
  readonly #values = new Map<string, string>();

  get all(): ReadonlyMap<string, string> {
    return this.#values;
  }

  told(name: string, value: string): void {
    this.#values.set(name, value);
  }

  /** The messages that tell what is different now, from the values that the server has reported; null if nothing is. */
  news(reported: ReadonlyMap<string, string>): Buffer | null {
    const messages: Buffer[] = [];
    for (const [name, value] of reported) {
      if (this.#values.get(name) === value) continue;
      this.#values.set(name, value);
      messages.push(parameterStatus(name, value));
    }
    return messages.length === 0 ? null : Buffer.concat(messages);
  }
}
