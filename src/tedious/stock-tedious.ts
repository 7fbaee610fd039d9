/** The module that is installed as `tedious`, and its parts by name. */
import * as module from 'tedious';

export {
  BulkLoad,
  Connection,
  ConnectionError,
  ISOLATION_LEVEL,
  library,
  Request,
  RequestError,
  TDS_VERSION,
  TYPES,
} from 'tedious';
export type { ConnectionAuthentication, ConnectionConfiguration, ConnectionOptions } from 'tedious';
export const tedious: typeof module = module;
export type Tedious = typeof module;
