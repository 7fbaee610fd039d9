import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import type { MessageToken } from '../wire/read-token.ts';
import { doneToken, environmentToken, loginAckToken, messageToken } from '../wire/write-token.ts';

/** What the server said while the hidden connection logged in, in that order. */
export type LoginRemark =
  | { readonly kind: 'database' | 'language'; readonly value: string }
  | { readonly kind: 'info'; readonly message: MessageToken };

export interface LoginFacts {
  readonly remarks: readonly LoginRemark[];
  /** Five bytes; null if the server told none. */
  readonly collation: Buffer | null;
  readonly tdsVersion: number;
  readonly packetBytes: number;
}

const PROGRAM = 'Microsoft SQL Server';
const PROGRAM_VERSION = [16, 0, 0, 0];

/**
 * The answer to LOGIN7, in SQL Server's order: the application's connection makes events of these tokens, and they are to
 * come as ever.
 */
export function loginAnswer({ remarks, collation, tdsVersion, packetBytes }: LoginFacts): Buffer {
  const tokens: Buffer[] = [];
  let isCollationTold = collation === null;
  const tellCollation = (): void => {
    if (isCollationTold) return;
    isCollationTold = true;
    tokens.push(environmentToken(ENVIRONMENT.collation, collation!, Buffer.alloc(0)));
  };
  for (const remark of remarks) {
    if (remark.kind === 'info') {
      tokens.push(messageToken(TOKEN.info, remark.message));
      continue;
    }
    if (remark.kind === 'language') tellCollation();
    tokens.push(environmentToken(ENVIRONMENT[remark.kind], remark.value, ''));
  }
  tellCollation();
  const size = String(packetBytes);
  tokens.push(
    loginAckToken(tdsVersion, PROGRAM, PROGRAM_VERSION),
    environmentToken(ENVIRONMENT.packetSize, size, size),
    doneToken(0),
  );
  return Buffer.concat(tokens);
}

/** The answer to a LOGIN7 whose server has refused it: its own errors, so that they look as ever. */
export function loginRefusal(errors: readonly MessageToken[]): Buffer {
  return Buffer.concat([
    ...errors.map((error) => messageToken(TOKEN.error, error)),
    doneToken(DONE_STATUS.error),
  ]);
}
