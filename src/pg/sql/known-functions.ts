/**
 * What the functions are worth that come with PostgreSQL (all of versions 14 to 18) or with an extension that is known.
 *
 * The label IMMUTABLE or STABLE is believed of functions made by initdb, with the exceptions below, and of no other: a
 * user's immutable function may call one that writes (commit-token facts, D).
 */

/**
 * `read`: running it twice does what running it once does. `session-safe`: it may write or not be the same twice, but
 * leaves no trace in the session that outlives the transaction. `tracked`: such a trace as `SessionEffect` reports, if
 * the statement itself calls it. `opaque`: runs SQL of its own, or nobody knows. `outside`: also acts beyond the database.
 */
export type FunctionWorth = 'read' | 'session-safe' | 'tracked' | 'opaque' | 'outside';

function words(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.join(' ').split(' '));
}

/** Volatile, and harmless all the same. */
const VOLATILE_READS = words(
  'clock_timestamp timeofday timezone random random_normal gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle',
  'pg_sleep pg_sleep_for pg_sleep_until current_query bernoulli system',
  'pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size pg_tablespace_size',
  'pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_is_in_backup',
  'pg_current_wal_lsn pg_current_wal_insert_lsn pg_current_wal_flush_lsn pg_is_wal_replay_paused',
  'pg_get_wal_replay_pause_state pg_lock_status pg_blocking_pids pg_safe_snapshot_blocking_pids pg_prepared_xact',
  'pg_xact_status txid_status pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_last_committed_xact',
  'pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_notification_queue_usage',
  'pg_partition_ancestors pg_partition_tree pg_sequence_last_value pg_get_sequence_data pg_jit_available',
  'pg_collation_actual_version pg_database_collation_actual_version pg_get_wait_events pg_get_multixact_members',
  'pg_get_backend_memory_contexts pg_get_shmem_allocations pg_show_replication_origin_status pg_stat_have_stats',
  'pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_available_wal_summaries',
);
const VOLATILE_STATISTICS = /^pg_stat_get_/;

/** Labelled immutable or stable, or called so by nobody else, and no reads all the same. */
const RUNS_MORE_THAN_IT_SHOWS = words(
  // Read the tables and views whose names they are given.
  'table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema',
  'schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema',
  // Run the SQL they are given.
  'query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema ts_stat',
  // Check a value against a type given by name or number, with all the functions of a domain's CHECK.
  'pg_input_is_valid pg_input_error_info domain_in domain_recv record_in record_recv array_in array_recv range_in',
  'range_recv multirange_in multirange_recv',
);
/** Assign a transaction id, which makes the transaction one that has to be committed. */
const ASSIGNS_TRANSACTION_ID = words('txid_current pg_current_xact_id');

/** Write, lock or depend on the session, but leave nothing in it (currval and lastval are undefined after a failover). */
const SESSION_SAFE = words(
  'nextval setval currval lastval pg_notify pg_logical_emit_message pg_export_snapshot',
  'pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared',
  'lo_close lo_creat lo_create lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64',
  'lo_truncate lo_truncate64 lo_unlink loread lowrite',
  'pg_read_file pg_read_binary_file pg_stat_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_ls_tmpdir',
  'pg_ls_archive_statusdir pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings',
  'ts_rewrite brin_summarize_new_values brin_summarize_range brin_desummarize_range gin_clean_pending_list',
  'pg_stat_clear_snapshot pg_stat_force_next_flush',
  // Triggers.
  'RI_FKey_check_ins RI_FKey_check_upd RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_restrict_del',
  'RI_FKey_restrict_upd RI_FKey_setnull_del RI_FKey_setnull_upd RI_FKey_setdefault_del RI_FKey_setdefault_upd',
  'RI_FKey_noaction_del RI_FKey_noaction_upd unique_key_recheck suppress_redundant_updates_trigger',
  'tsvector_update_trigger tsvector_update_trigger_column',
);
const TRACKED = words(
  'set_config setseed pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared',
  'pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all',
);

/** Of a function made by initdb. Any volatile one that is not on a list may act on the whole server, or beyond. */
export function builtInWorth(name: string, volatility: string): FunctionWorth {
  if (RUNS_MORE_THAN_IT_SHOWS.has(name)) return 'opaque';
  if (ASSIGNS_TRANSACTION_ID.has(name)) return 'session-safe';
  if (volatility === 'i' || volatility === 's') return 'read';
  if (VOLATILE_READS.has(name) || VOLATILE_STATISTICS.test(name)) return 'read';
  if (SESSION_SAFE.has(name)) return 'session-safe';
  return TRACKED.has(name) ? 'tracked' : 'outside';
}

/** What the catalogue says of a function that somebody has made. */
export interface MadeFunction {
  readonly volatility: string;
  readonly language: string;
  /** The extension it belongs to. */
  readonly extension: string | null;
  readonly ownerIsSuperuser: boolean;
}

/** Extensions whose functions compute and nothing else, unless they are volatile. */
const COMPUTING_EXTENSIONS = words(
  'btree_gin btree_gist citext cube fuzzystrmatch hstore intarray isn ltree pg_trgm postgis seg unaccent vector',
);
/** The same where volatile means random. */
const RANDOM_EXTENSIONS = words('pgcrypto uuid-ossp');
/** Extensions whose very purpose is elsewhere. */
const REACHING_EXTENSIONS = words('dblink postgres_fdw file_fdw http pg_net plproxy pg_background');

/**
 * True if a function that a statement, a view or a policy calls by its name is a read.
 *
 * C and internal functions can only be made by superusers. One in SQL counts if a superuser made it, as part of the
 * extension's script: anybody else might have added it to the extension later.
 */
export function isHarmlessCall({ volatility, language, extension, ownerIsSuperuser }: MadeFunction): boolean {
  if (extension === null) return false;
  const isTheirs = language === 'c' || language === 'internal' || (language === 'sql' && ownerIsSuperuser);
  if (!isTheirs) return false;
  return RANDOM_EXTENSIONS.has(extension) || (volatility !== 'v' && COMPUTING_EXTENSIONS.has(extension));
}

/**
 * True if a function is a read that comes up as the implementation of an operator, a cast or a type.
 *
 * More extensions are trusted here, with what is written in C and labelled immutable: `=` exists once for each type, so
 * that otherwise one unknown type in a database would make every statement there suspicious.
 */
export function isHarmlessSupport(made: MadeFunction): boolean {
  if (isHarmlessCall(made)) return true;
  const { volatility, language, extension } = made;
  if (extension === null || REACHING_EXTENSIONS.has(extension)) return false;
  return language === 'c' && volatility === 'i';
}
