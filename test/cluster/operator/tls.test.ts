/** A Redis that is reached over TLS alone: operator and workers trust the given authority, and no other. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { sample, serveModel } from "../../cli/harness.ts";
import { type Field, openField } from "./harness.ts";

let field: Field;
beforeAll(async () => {
  field = await openField({ tls: true });
});
afterAll(() => field.end());

test("runs go through it to the end; without its authority nothing is trusted, and readyz says so", async () => {
  const blind = await field.startOperator("blind", { OAO_STORE_CA: "" });
  await blind.said("self-signed certificate");
  const ready = await fetch(`${blind.url}/readyz`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toContain("waiting for the journal store");
  blind.child.kill("SIGTERM");
  await blind.ended;
  await field.startOperator();
  const model = await serveModel(field.place, sample("market-brief.model.yaml"));
  await field.apply("market-brief.yaml", "brief", model);
  const run = await field.until("brief", ({ status }) => status?.completedAt !== undefined);
  expect(run.status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
});
