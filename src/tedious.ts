/**
 * `holdfast/tedious`: everything that `tedious` exports, with `Connection` replaced by a subclass that keeps its session
 * alive when the server under it dies.
 */
export * from 'tedious';
export { Connection } from './tedious/connection.ts';
export type { FailoverConfiguration } from './tedious/connection-settings.ts';
