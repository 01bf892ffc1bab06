/** The worker program: one process, one node, one attempt. Exit codes: src/api/exit-codes.ts. */
import { readFileSync } from "node:fs";
import pino from "pino";
import { systemClock } from "../adapters/clock/system-clock.ts";
import { openStore } from "../adapters/store/open-store.ts";
import { workerExitCodes } from "../api/exit-codes.ts";
import { productVersion } from "../api/version.ts";
import { modelAddressRules } from "../core/policy/addresses.ts";
import { sha256Hex } from "../core/digest/digest.ts";
import { itemName } from "../core/protocol/names.ts";
import { readConfig } from "./config.ts";
import { runNode } from "./run-node.ts";
import { maskOutput } from "./masked-output.ts";
import { apiKey, createTools, secretMask } from "./tools.ts";

const orphanGraceMs = 3_000;

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const { order } = config;
  process.title = `oao worker ${order.key.namespace}/${order.key.name} ${itemName(order)}#${order.attempt}`;
  const mask = secretMask(process.env);
  maskOutput(mask);
  const logger = pino({
    level: config.logLevel,
    base: {
      execution: `${order.key.namespace}/${order.key.name}`,
      uid: order.uid,
      node: itemName(order),
      attempt: order.attempt,
      try: order.try,
    },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: { streamWrite: mask },
  });
  const terminate = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const)
    process.on(signal, () => terminate.abort(`received ${signal}`));
  // The parent holds the other end: when it is killed, nobody would count this worker's calls against a host's decisions.
  process.on("disconnect", () => {
    terminate.abort("the parent process is gone");
    // A tool that ignores its signal must not keep an orphan alive.
    setTimeout(() => process.exit(workerExitCodes.infrastructure), orphanGraceMs).unref();
  });
  const store = await openStore(config.storeUrl, systemClock, config.storeAccess);
  const exit = await runNode(order, {
    ...config,
    store,
    clock: systemClock,
    terminate: terminate.signal,
    version: productVersion,
    build: `sha256:${sha256Hex(readFileSync(import.meta.filename))}`,
    createTools: async (specs, snapshot) => {
      if (specs.some(({ module }) => module !== undefined)) (await import("./orphan-watch.ts")).watchParent();
      return createTools(specs, snapshot, config, process.env);
    },
    apiKey: (model) => apiKey(model, process.env),
    // A laptop's models are its user's own; a tenant's reach what tenants' tools may, and no more.
    ...(config.allowLoopback && config.denyCidrs.length === 0
      ? {}
      : {
          modelFetch: async (policy) =>
            (await import("../adapters/tool/model-fetch.ts")).guardedModelFetch(modelAddressRules(policy, config)),
        }),
    mask,
    // A host on the same machine lets the next one load.
    ready: () => process.send?.("ready", undefined, undefined, () => undefined),
    log: (level, message, fields) => logger[level](fields ?? {}, message),
  });
  logger.info({ exit }, "worker ends");
  await store.close();
  process.exit(workerExitCodes[exit]);
}

try {
  await main();
} catch (error) {
  process.stderr.write(
    `${JSON.stringify({ level: "error", msg: "worker could not start", error: secretMask(process.env)(error instanceof Error ? error.message : String(error)) })}\n`,
  );
  process.exit(workerExitCodes.infrastructure);
}
