// Creates the release's Secret once: the key that passwords of runs are derived from, and the password of the embedded Redis.
// The values are drawn here, so that nothing the chart renders ever changes; whoever comes second leaves what is there.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

const { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, TOKEN_FILE, NAMESPACE, SECRET } = process.env;
const host = KUBERNETES_SERVICE_HOST.includes(":") ? `[${KUBERNETES_SERVICE_HOST}]` : KUBERNETES_SERVICE_HOST;
const answer = await fetch(`https://${host}:${KUBERNETES_SERVICE_PORT}/api/v1/namespaces/${NAMESPACE}/secrets`, {
  method: "POST",
  headers: { authorization: `Bearer ${readFileSync(TOKEN_FILE, "utf8").trim()}`, "content-type": "application/json" },
  body: JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: SECRET, labels: { "app.kubernetes.io/part-of": "oao" } },
    immutable: true,
    stringData: {
      "store-user-key": randomBytes(32).toString("hex"),
      "redis-password": randomBytes(24).toString("hex"),
    },
  }),
  signal: AbortSignal.timeout(30_000),
});
const said = { 201: "created", 409: "is there already" }[answer.status];
if (said === undefined) console.error(`Secret ${NAMESPACE}/${SECRET}: ${answer.status} ${(await answer.text()).slice(0, 500)}`);
else console.log(`Secret ${NAMESPACE}/${SECRET} ${said}`);
process.exitCode = said === undefined ? 1 : 0;
