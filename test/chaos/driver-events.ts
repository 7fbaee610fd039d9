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
  'commitTokenUnavailable',
  'tokenPurgeFailed',
  'lostCommit',
] as const satisfies readonly (keyof FailoverEventMap)[];

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
  driver.on('lostCommit', ({ statements, outcome }) => {
    for (const marker of new Set(statements.flatMap(markersIn))) history.reportedLost({ marker, outcome });
  });
}
