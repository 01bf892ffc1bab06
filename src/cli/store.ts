/** Journal stores of local runs: the file store beside the index, or a Redis whose password is never written down. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { systemClock } from "../adapters/clock/system-clock.ts";
import type { JournalStore } from "../ports/store.ts";
import { cliExitCodes } from "../api/exit-codes.ts";
import { CliError } from "./errors.ts";

export function fileStoreUrl(home: string): string {
  return `file:${join(home, "journals")}`;
}

/** As the index keeps it. Throws CliError for what is no redis URL. */
export function withoutPassword(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new CliError(`--redis ${JSON.stringify(url.split("@").at(-1))} is no URL`, [
      "as in --redis redis://127.0.0.1:6379",
    ]);
  }
  if (!/^(rediss?|redis\+unix):$/.test(parsed.protocol))
    throw new CliError(`--redis wants redis:// or rediss://, not ${parsed.protocol}//`);
  parsed.password = "";
  return parsed.href;
}

/** The URL to connect with: the one given now, when it is the same server, else the stored one. */
export function storeUrlOf(run: LocalRun, given: string | undefined): string {
  const { store } = run.place;
  if (given === undefined) return store;
  if (store.startsWith("file:"))
    throw new CliError(
      `--redis has no meaning here: the journal of ${run.key.namespace}/${run.key.name} is in a file`,
      ["leave it out"],
    );
  if (withoutPassword(given) === store) return given;
  throw new CliError(
    `the journal of ${run.key.namespace}/${run.key.name} is in ${store}, not in ${withoutPassword(given)}`,
  );
}

/** --redis, else OAO_REDIS_URL where the run is in a Redis. */
export function givenRedis(
  run: LocalRun,
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (flag !== undefined) return flag;
  const set = env["OAO_REDIS_URL"];
  if (set === undefined || set === "" || run.place.store.startsWith("file:")) return undefined;
  return withoutPassword(set) === run.place.store ? set : undefined;
}

export async function openRunStore(run: LocalRun, given: string | undefined): Promise<JournalStore> {
  return open(storeUrlOf(run, given));
}

/** Before a run is made that would wait for it. Throws CliError. */
export async function checkRedis(url: string): Promise<void> {
  const store = await open(url);
  try {
    await store.runId();
  } catch (error) {
    throw unreachable(url, error);
  } finally {
    await store.close();
  }
}

async function open(url: string): Promise<JournalStore> {
  const { openStore } = await import("../adapters/store/open-store.ts");
  return openStore(url, systemClock).catch((error: unknown) => {
    throw url.startsWith("file:") ? error : unreachable(url, error);
  });
}

function unreachable(url: string, error: unknown): CliError {
  const whole =
    "give its whole URL, as in redis://:PASSWORD@HOST:PORT: --redis URL, or OAO_REDIS_URL (passwords are never stored)";
  switch (refusalOf(error)) {
    case "NOAUTH":
      return new CliError(
        `the Redis at ${withoutPassword(url)} wants a password`,
        [whole],
        cliExitCodes.infrastructure,
      );
    case "WRONGPASS":
      return new CliError(
        `the Redis at ${withoutPassword(url)} refused the user or password that it was given`,
        [whole],
        cliExitCodes.infrastructure,
      );
    case undefined:
    default:
      return new CliError(error instanceof Error ? error.message : String(error), [], cliExitCodes.infrastructure);
  }
}

/** The server's own code for why it refused, wherever in the chain of causes it is. */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = error.name === "ReplyError" ? error.message.split(" ", 1)[0] : undefined;
  return code ?? refusalOf(error.cause);
}

/**
 * For figures that are worth showing and not worth failing for. Undefined = the journal is gone (its retention is over) or its server
 * does not answer.
 */
export async function openJournalToLook(run: LocalRun, given: string | undefined): Promise<JournalStore | undefined> {
  return mayHaveJournal(run) ? openRunStore(run, given).catch(() => undefined) : undefined;
}

/** False = it would be a file, and is not there: the run was not started, or its retention is over. Only a Redis itself knows. */
export function mayHaveJournal({ uid, place: { store } }: LocalRun): boolean {
  return !store.startsWith("file:") || existsSync(join(store.slice("file:".length), `${uid}.db`));
}
