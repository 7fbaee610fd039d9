import type { ServerConnection } from './server-connection.ts';

/** What the application has set on its socket, which each new connection under it must have as well. */
export class SocketOptions {
  #isReferenced = true;
  #keepAlive: { readonly enable: boolean; readonly initialDelayMillis: number } | null = null;

  setKeepAlive(connection: ServerConnection | null, enable: boolean, initialDelayMillis: number): void {
    this.#keepAlive = { enable, initialDelayMillis };
    connection?.setKeepAlive(enable, initialDelayMillis);
  }

  setReferenced(connection: ServerConnection | null, isReferenced: boolean): void {
    this.#isReferenced = isReferenced;
    if (isReferenced) connection?.ref();
    else connection?.unref();
  }

  applyTo(connection: ServerConnection): void {
    if (this.#keepAlive !== null)
      connection.setKeepAlive(this.#keepAlive.enable, this.#keepAlive.initialDelayMillis);
    if (!this.#isReferenced) connection.unref();
  }
}
