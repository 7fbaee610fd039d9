import { ConfigurationError } from './errors.ts';
import { nearestWord } from './nearest-word.ts';
import {
  ACKNOWLEDGE,
  COMMIT_OUTCOMES,
  DEFAULT_TOKEN_SCHEMA,
  LOST_COMMITS,
  MIN_TOKEN_RETENTION_MILLIS,
  ON_ACKNOWLEDGE_TIMEOUT,
  ON_OUTSIDE_EFFECTS,
  ON_REAPPLY_FAILED,
  ON_TERMINATED,
  POOLERS,
  type LostCommits,
  type OnReconnect,
  type ResolvedFailoverOptions,
} from './options.ts';
import { quoteValue } from './quote-value.ts';
import { checkSchemaName } from './schema-name.ts';
import { DEFAULT_PORT, type HostAddressInput } from './topology/host-address.ts';
import { parseHostList } from './topology/host-list.ts';
import type { TopologyProvider } from './topology/topology-provider.ts';

interface NumberRule {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  /** The option that this one must not be larger than. */
  readonly atMost?: NumberKey;
}

type NumberKey = {
  [K in keyof ResolvedFailoverOptions]: ResolvedFailoverOptions[K] extends number ? K : never;
}[keyof ResolvedFailoverOptions];

/** Node's timers fire at once when given more than this. */
const MAX_TIMER_MILLIS = 2_147_483_647;
const MEBIBYTE = 1024 * 1024;

const millis = (value: number, atMost?: NumberKey): NumberRule => rule(value, 1, MAX_TIMER_MILLIS, atMost);
const count = (value: number, min: number, atMost?: NumberKey): NumberRule =>
  rule(value, min, Number.MAX_SAFE_INTEGER, atMost);

/** In an order in which each key's `atMost` comes before it, so that defaults shrink to what is already known. */
const NUMBER_RULES: Readonly<Record<NumberKey, NumberRule>> = {
  timeoutMillis: millis(30_000),
  dialTimeoutMillis: millis(5_000, 'timeoutMillis'),
  barrierTimeoutMillis: millis(2_000, 'timeoutMillis'),
  terminationProbeMillis: millis(250, 'timeoutMillis'),
  retryMaxMillis: millis(250, 'timeoutMillis'),
  retryMinMillis: millis(20, 'retryMaxMillis'),
  maxProcessJournalBytes: count(256 * MEBIBYTE, 0),
  maxJournalBytes: count(16 * MEBIBYTE, 0, 'maxProcessJournalBytes'),
  maxJournalStatements: count(100_000, 0),
  maxKeptRowHashes: count(1_000_000, 0),
  stateCheckMillis: rule(0, 0, MAX_TIMER_MILLIS),
  maxCommittedLogBytes: count(64 * MEBIBYTE, 0),
  maxCommittedLogTransactions: count(100_000, 0),
  maxCommittedLogAgeMillis: rule(600_000, 1, MAX_TIMER_MILLIS),
  positionIntervalMillis: millis(500),
  acknowledgeTimeoutMillis: millis(5_000),
  maxWaitingSessions: count(10_000, 1),
  drainConcurrency: count(32, 1),
  tokenRetentionMillis: rule(3_600_000, MIN_TOKEN_RETENTION_MILLIS, MAX_TIMER_MILLIS),
};

const OTHER_KEYS = [
  'hosts',
  'provider',
  'onTerminated',
  'onOutsideEffects',
  'pooler',
  'commitOutcome',
  'lostCommits',
  'onReapplyFailed',
  'acknowledge',
  'onAcknowledgeTimeout',
  'sessionVariables',
  'onReconnect',
  'tokenSchema',
  'recordGeneratedValues',
];
const KNOWN_KEYS = [...Object.keys(NUMBER_RULES), ...OTHER_KEYS];

/** PostgreSQL's valid_custom_variable_name: identifiers joined by at least one dot. */
const CUSTOM_SETTING =
  /^[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*(\.[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)+$/;
const MAX_SESSION_VARIABLES = 256;

/**
 * Checks the `failover` key and fills in the defaults. The one place where they are defined.
 *
 * @param raw - what the application gave
 * @returns `false` for the plain driver
 * @throws ConfigurationError that quotes the values, also of the other option in a contradiction
 */
export function resolveFailoverOptions(raw: unknown): ResolvedFailoverOptions | false {
  if (raw === false) return false;
  const given = raw === undefined || raw === true ? {} : raw;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new ConfigurationError(
      `failover must be false, true or an object of options, but is ${quoteValue(raw)}`,
    );
  }
  const options = given as Readonly<Record<string, unknown>>;
  refuseUnknownKeys(options);
  const { hosts, provider } = resolveHosts(options);
  return Object.freeze({
    ...resolveNumbers(options),
    hosts,
    provider,
    onTerminated: resolveWord('onTerminated', ON_TERMINATED, options['onTerminated']),
    onOutsideEffects: resolveWord('onOutsideEffects', ON_OUTSIDE_EFFECTS, options['onOutsideEffects']),
    lostCommits: resolveLostCommits(options),
    onReapplyFailed: resolveWord('onReapplyFailed', ON_REAPPLY_FAILED, options['onReapplyFailed']),
    acknowledge: resolveWord('acknowledge', ACKNOWLEDGE, options['acknowledge']),
    onAcknowledgeTimeout: resolveWord(
      'onAcknowledgeTimeout',
      ON_ACKNOWLEDGE_TIMEOUT,
      options['onAcknowledgeTimeout'],
    ),
    pooler: resolveWord('pooler', POOLERS, options['pooler']),
    commitOutcome: resolveWord('commitOutcome', COMMIT_OUTCOMES, options['commitOutcome']),
    sessionVariables: resolveSessionVariables(options['sessionVariables']),
    onReconnect: resolveHook(options['onReconnect']),
    tokenSchema: checkSchemaName(options['tokenSchema'] ?? DEFAULT_TOKEN_SCHEMA, 'failover.tokenSchema'),
    recordGeneratedValues: resolveSwitch('recordGeneratedValues', options['recordGeneratedValues']),
  });
}

function refuseUnknownKeys(options: Readonly<Record<string, unknown>>): void {
  for (const key of Object.keys(options)) {
    if (KNOWN_KEYS.includes(key)) continue;
    throw new ConfigurationError(
      `failover has no option ${quoteValue(key)}; did you mean ${quoteValue(nearestWord(key, KNOWN_KEYS))}?`,
    );
  }
}

function resolveNumbers(options: Readonly<Record<string, unknown>>): Record<NumberKey, number> {
  const resolved: Partial<Record<NumberKey, number>> = {};
  for (const key of Object.keys(NUMBER_RULES) as NumberKey[]) {
    const { default: fallback, min, max, atMost } = NUMBER_RULES[key];
    const limit = atMost === undefined ? undefined : resolved[atMost]!;
    const value = options[key];
    if (value === undefined) {
      resolved[key] = limit === undefined ? fallback : Math.min(fallback, limit);
      continue;
    }
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw new ConfigurationError(
        `failover.${key} must be a whole number from ${min} to ${max}, but is ${quoteValue(value)}`,
      );
    }
    if (atMost !== undefined && limit !== undefined && value > limit) {
      const source = options[atMost] === undefined ? ' (its default)' : '';
      throw new ConfigurationError(
        `failover.${key} is ${value}, more than failover.${atMost}, which is ${limit}${source}`,
      );
    }
    resolved[key] = value;
  }
  return resolved as Record<NumberKey, number>;
}

function resolveHosts(
  options: Readonly<Record<string, unknown>>,
): Pick<ResolvedFailoverOptions, 'hosts' | 'provider'> {
  const { hosts, provider } = options;
  if (hosts !== undefined && provider !== undefined) {
    throw new ConfigurationError(
      `failover.hosts is ${quoteValue(hosts)}, but failover.provider is given too: only one of them can say where the servers are`,
    );
  }
  if (hosts !== undefined) parseHostList(hosts, DEFAULT_PORT, 'failover.hosts');
  if (provider !== undefined && !isProvider(provider)) {
    throw new ConfigurationError(
      `failover.provider must be an object with a method discover (and perhaps watch), but is ${quoteValue(provider)}`,
    );
  }
  const copy = hosts === undefined ? undefined : Object.freeze([...(hosts as readonly HostAddressInput[])]);
  return { hosts: copy, provider };
}

function isProvider(value: unknown): value is TopologyProvider {
  if (typeof value !== 'object' || value === null) return false;
  const { discover, watch } = value as { discover?: unknown; watch?: unknown };
  return typeof discover === 'function' && (watch === undefined || typeof watch === 'function');
}

/** One of two words; the first is the default. */
function resolveWord<Word extends string>(
  key: string,
  words: readonly [Word, Word, ...Word[]],
  value: unknown,
): Word {
  if (value === undefined) return words[0];
  const known = words.find((word) => word === value);
  if (known !== undefined) return known;
  const all = words.map((word) => `'${word}'`);
  throw new ConfigurationError(
    `failover.${key} must be ${all.slice(0, -1).join(', ')} or ${all.at(-1)}, but is ${quoteValue(value)}`,
  );
}

function resolveLostCommits(options: Readonly<Record<string, unknown>>): LostCommits {
  const lostCommits = resolveWord('lostCommits', LOST_COMMITS, options['lostCommits']);
  const commitOutcome = resolveWord('commitOutcome', COMMIT_OUTCOMES, options['commitOutcome']);
  if (lostCommits === 'reapply' && (commitOutcome === 'logPosition' || commitOutcome === 'none')) {
    throw new ConfigurationError(
      `failover.lostCommits is 'reapply', but failover.commitOutcome is '${commitOutcome}': without commit tokens a transaction might be applied twice`,
    );
  }
  return lostCommits;
}

/** Off unless it is switched on. */
function resolveSwitch(key: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value === 'boolean') return value;
  throw new ConfigurationError(`failover.${key} must be true or false, but is ${quoteValue(value)}`);
}

function resolveHook(value: unknown): OnReconnect | undefined {
  if (value === undefined || typeof value === 'function') return value as OnReconnect | undefined;
  throw new ConfigurationError(`failover.onReconnect must be a function, but is ${quoteValue(value)}`);
}

function resolveSessionVariables(value: unknown): readonly string[] {
  if (value === undefined) return Object.freeze([]);
  if (!Array.isArray(value) || value.length > MAX_SESSION_VARIABLES) {
    throw new ConfigurationError(
      `failover.sessionVariables must be an array of at most ${MAX_SESSION_VARIABLES} names, but is ${quoteValue(value)}`,
    );
  }
  const names = value.map((name: unknown) => {
    if (typeof name === 'string' && CUSTOM_SETTING.test(name)) return name;
    throw new ConfigurationError(
      `failover.sessionVariables holds ${quoteValue(name)}, which is not the name of a custom setting such as 'app.tenant'`,
    );
  });
  return Object.freeze([...new Set(names)]);
}

function rule(value: number, min: number, max: number, atMost?: NumberKey): NumberRule {
  return { default: value, min, max, ...(atMost === undefined ? {} : { atMost }) };
}
