interface Renewable {
  readonly password?: unknown;
  readonly expirationChecker?: () => boolean;
}

/**
 * A function given as `connection`, whose answer may hold a password for a time: Knex asks again when it has expired,
 * but only where it makes a connection itself. A failover connects too, so it asks in the same way.
 */
export class RenewableConnection {
  readonly #provider: () => unknown;
  #latest: Renewable = {};
  #pending: Promise<unknown> | null = null;

  constructor(provider: () => unknown) {
    this.#provider = provider;
  }

  /** What Knex calls in place of the application's function. */
  readonly ask = async (): Promise<unknown> => {
    const given = await this.#provider();
    if (typeof given !== 'object' || given === null) return given;
    // Knex takes the checker out of what it is given.
    const renewable: Renewable = { ...given };
    this.#latest = renewable;
    if (typeof renewable.expirationChecker !== 'function' || typeof renewable.password !== 'string')
      return given;
    return { ...renewable, password: () => this.#password() };
  };

  async #password(): Promise<unknown> {
    if (this.#latest.expirationChecker?.() === true) {
      this.#pending ??= this.ask().finally(() => {
        this.#pending = null;
      });
      await this.#pending;
    }
    const { password } = this.#latest;
    return typeof password === 'function' ? (password as () => unknown)() : password;
  }
}
