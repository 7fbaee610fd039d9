/**
 * `npm run demo`: an application that knows nothing of failovers keeps working while its primary is killed again and
 * again, and in the end the database is asked whether each of its transactions is there exactly once.
 */
import type { DemoOptions } from './options.ts';
import { HELP, parseOptions } from './options.ts';
import { complaints, toJson, toText } from './report.ts';
import { run } from './run.ts';
import { LiveView, PlainView } from './view.ts';

async function main(): Promise<number> {
  const options = readCommandLine();
  if (options === undefined) return 2;
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const live = process.stdout.isTTY && !options.json;
  const view = live ? new LiveView(process.stdout) : new PlainView((text) => process.stdout.write(text));
  const interruption = new AbortController();
  const interrupt = (): void => {
    // The second time nobody wants to wait any more; the servers are killed on exit.
    if (interruption.signal.aborted) {
      view.close();
      process.exit(130);
    }
    view.say('interrupted, cleaning up');
    interruption.abort();
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  try {
    const result = await run(options, view, interruption.signal);
    view.close();
    process.stdout.write(options.json ? `${toJson(result)}\n` : toText(result));
    return complaints(result).length === 0 ? 0 : 1;
  } catch (error) {
    if (interruption.signal.aborted) return 130;
    throw error;
  } finally {
    view.close();
  }
}

function readCommandLine(): DemoOptions | undefined {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`);
    return undefined;
  }
}

// Unless it is proved otherwise; a promise that never settles would end the process in silence.
process.exitCode = 1;
main().then(
  (exitCode) => {
    process.exitCode = exitCode;
    // Nothing is open any more, so the process ends by itself. If it does not, that is a defect worth a word.
    setTimeout(() => {
      process.stderr.write('something is still open; ending anyway\n');
      process.exit(exitCode === 0 ? 1 : exitCode);
    }, 5_000).unref();
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
