import type { FailoverEventMap, FailoverEvents } from '../../src/events.ts';
import type { History } from './history.ts';
import { markersIn } from './transaction-run.ts';

/** `waiting` is left out: it comes once for each session and failover, and says nothing that the others do not. */
const RECORDED = [
  'failoverStarted',
  'failoverSucceeded',
  'failoverFailed',
  'hostChanged',
  'replayStarted',
  'replaySucceeded',
  'replayFailed',
  'replayDiverged',
  'commitResolved',
  'limitReached',
  'featureUnavailable',
  'providerFailed',
] as const satisfies readonly (keyof FailoverEventMap)[];

/** Not in the map of every build. */
const LOST_COMMIT = 'lostCommit';

/** Writes the driver's events into the history. */
export function recordDriverEvents(driver: FailoverEvents, history: History): void {
  for (const name of RECORDED) {
    driver.on(name, (event: unknown) => {
      history.driverEvent(name, event);
    });
  }
  driver.on('commitResolved', ({ outcome, reason }) => {
    if (outcome === 'unknown') history.unknownResolution(reason);
  });
  driver.on(LOST_COMMIT as keyof FailoverEventMap, (event: unknown) => {
    history.driverEvent(LOST_COMMIT, event);
    const { statements } = event as { readonly statements: unknown };
    for (const marker of new Set(markersIn(JSON.stringify(statements)))) history.reportedLost(marker);
  });
}
