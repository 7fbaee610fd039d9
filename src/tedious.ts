/**
 * `holdfast/tedious`: everything that `tedious` exports, with `Connection` replaced by a subclass that keeps its session
 * alive when the server under it dies, and `connect` by one that makes it.
 */
export { connect, Connection, failoverOptions } from './tedious/connection.ts';
export type { FailoverConfiguration } from './tedious/connection-settings.ts';
export { availabilityGroup, type AvailabilityGroupOptions } from './tedious/topology/availability-group.ts';
export type { AvailabilityReplica } from './tedious/topology/group-view.ts';
export {
  BulkLoad,
  ConnectionError,
  ISOLATION_LEVEL,
  library,
  Request,
  RequestError,
  TDS_VERSION,
  TYPES,
} from './tedious/stock-tedious.ts';
export type {
  ConnectionAuthentication,
  ConnectionConfiguration,
  ConnectionOptions,
} from './tedious/stock-tedious.ts';
