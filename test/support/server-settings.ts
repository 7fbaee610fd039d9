export type ServerSettings = Readonly<Record<string, string | number | boolean>>;

/** What every server of the tests has; a node's own settings come on top. */
export function defaultSettings(durable: boolean): ServerSettings {
  return {
    listen_addresses: '127.0.0.1',
    // The same on all nodes: a standby with less than its primary refuses to start.
    max_connections: 300,
    max_prepared_transactions: 20,
    wal_level: 'replica',
    hot_standby: true,
    wal_keep_size: '256MB',
    max_wal_size: '256MB',
    wal_retrieve_retry_interval: '100ms',
    // The default leaves files in /dev/shm when a server is killed.
    dynamic_shared_memory_type: 'mmap',
    fsync: durable,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] ',
    log_checkpoints: false,
  };
}

/** The text of a configuration file. */
export function formatSettings(settings: ServerSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${formatValue(value)}\n`)
    .join('');
}

function formatValue(value: string | number | boolean): string {
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return String(value);
}

/** Passwords over TCP as in production; the superuser of the tests may come in by the socket without. */
export const HOST_BASED_AUTHENTICATION = [
  'local all postgres trust',
  'local all all scram-sha-256',
  'local replication all trust',
  'host replication all 127.0.0.1/32 trust',
  'host all all 127.0.0.1/32 scram-sha-256',
  '',
].join('\n');
