/** How a promise ended. */
export interface Settled<T> {
  readonly value?: T;
  readonly error?: Error & { readonly code?: string; readonly outcome?: string; readonly kind?: string };
}

/** Takes a promise that may reject before anybody awaits it, and never rejects. */
export async function settle<T>(promise: Promise<T>): Promise<Settled<T>> {
  return await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: error as Error }),
  );
}

/** The error a promise rejects with. Throws if it resolves. */
export async function rejectionOf(
  promise: Promise<unknown>,
): Promise<NonNullable<Settled<unknown>['error']>> {
  const { error, value } = await settle(promise);
  if (error === undefined) throw new Error(`should have been rejected, but gave ${JSON.stringify(value)}`);
  return error;
}
