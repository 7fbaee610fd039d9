import type { FailoverLab } from './failover-lab.ts';
import { loseAnswers, onMessage } from './on-message.ts';

/**
 * The primary does the next work that it answers with this command tag, the answer never arrives, and it is replaced
 * by a standby that has that work. Resolves when it is replaced.
 */
export async function losePrimaryBehind(lab: FailoverLab, commandTag: string): Promise<void> {
  await onMessage(lab.proxy, { from: 'server', type: 'C', text: commandTag }, (from) =>
    loseAnswers(lab.proxy, from),
  );
  await lab.replacePrimary();
}

/**
 * The next statement with this text leaves the application and never arrives, for the primary is replaced in between.
 * `type` is the letter of the protocol: Q of a simple query, P of one with parameters.
 */
export async function losePrimaryBefore(lab: FailoverLab, type: 'Q' | 'P', text: string): Promise<void> {
  await onMessage(lab.proxy, { from: 'client', type, text }, 'hold');
  await cutAndReplace(lab);
}

/** The primary is replaced when so many of the next rows have been handed out. */
export async function losePrimaryAfterRows(lab: FailoverLab, rows: number): Promise<void> {
  await onMessage(lab.proxy, { from: 'server', type: 'D', after: rows }, 'hold');
  await cutAndReplace(lab);
}

/** What is held back would keep the connection from ending with its server. */
async function cutAndReplace(lab: FailoverLab): Promise<void> {
  const { proxy } = lab;
  await lab.shipAll();
  await lab.primary.kill();
  proxy.cut();
  await lab.cluster.failover();
}
