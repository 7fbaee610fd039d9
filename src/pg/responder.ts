/**
 * Takes the answer to one unit, message by message. It returns true to hand the message to the application, false to
 * swallow it, and bytes to hand these on in its place: several pieces if each is to be handed on by itself.
 */
export interface Responder {
  /** `start` is the type byte, `end` behind the last byte of the message. Never called for ReadyForQuery. */
  message(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer;
  /** ReadyForQuery: the answer is complete. */
  ready(status: number): boolean | Buffer | readonly Buffer[];
  /** The connection was lost before ReadyForQuery. */
  abandoned(error: Error): void;
}
