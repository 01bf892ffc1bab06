/** oao ui: a page on this machine to look at runs, until Ctrl-C. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { withRun } from "../cluster/locate.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { askedPlace } from "../cluster/place.ts";
import { CliError } from "../errors.ts";
import { openIndex } from "../home.ts";
import type { Terminal } from "../terminal.ts";
import type { RunKey } from "../../ui/wire.ts";
import { LocalSource } from "../ui/local-source.ts";
import type { RunSource } from "../ui/run-source.ts";
import { serveUi } from "../ui/server.ts";

export interface UiFlags extends PlaceFlags {
  readonly port?: number | undefined;
  readonly open?: boolean | undefined;
  readonly allNamespaces?: boolean | undefined;
}

export async function ui(name: string | undefined, flags: UiFlags, terminal: Terminal): Promise<CliExitCode> {
  const onCluster = async (key: RunKey | undefined) => {
    const { connect } = await import("../cluster/connect.ts");
    const { ClusterSource } = await import("../ui/cluster-source.ts");
    const cluster = connect(flags, terminal);
    try {
      // Whether it can be asked is better known before a page opens.
      const source = new ClusterSource(cluster, flags, terminal);
      await source.list(1);
      return await serve(source, key, flags, terminal);
    } finally {
      cluster.executions.close();
    }
  };
  const here = async (key: RunKey | undefined) => {
    const index = await openIndex(terminal);
    try {
      return await serve(new LocalSource(index, terminal), key, flags, terminal);
    } finally {
      index.close();
    }
  };
  if (name === undefined) return askedPlace(flags) === "cluster" ? onCluster(undefined) : here(undefined);
  const found = await withRun(name, flags, terminal, {
    local: async (_index, { key }) => ({ serve: here, key }),
    cluster: async (_cluster, { key }) => ({ serve: onCluster, key }),
  });
  return found.serve(found.key);
}

async function serve(
  source: RunSource,
  key: RunKey | undefined,
  flags: UiFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const server = await serveUi({ source, assets: assetsFolder(), port: flags.port ?? 0 });
  const path = key === undefined ? "" : `runs/${encodeURIComponent(key.namespace)}/${encodeURIComponent(key.name)}`;
  terminal.out(`${server.origin}${path}#${server.token}\n`);
  terminal.err("only this machine can open it, and only with the part after #; Ctrl-C ends it\n");
  if (flags.open !== false && terminal.interactive) openBrowser(`${server.origin}${path}#open:${server.code}`);
  await interrupted();
  await server.close();
  await source.close();
  return cliExitCodes.succeeded;
}

/** dist/ui, beside the bundle that this is part of. */
function assetsFolder(): string {
  const folder = fileURLToPath(new URL("./ui", import.meta.url));
  if (!existsSync(`${folder}/index.html`)) throw new CliError("the page is not built", ["npm run build"]);
  return folder;
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
}

/** The address is printed anyway. */
function openBrowser(address: string): void {
  const opener = { darwin: "open", win32: "explorer.exe" }[process.platform as string] ?? "xdg-open";
  const child = spawn(opener, [address], { stdio: "ignore", detached: true });
  child.once("error", () => undefined);
  child.unref();
}
