/** Policies of a laptop, in the file of its runs. */
import type { GovernancePolicy } from "../../api/policy.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { LocalDatabase } from "./local-database.ts";

export const policySchema = `
  CREATE TABLE IF NOT EXISTS policies (
    namespace TEXT NOT NULL, name TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY (namespace, name)) WITHOUT ROWID;
`;

export class LocalPolicies {
  readonly #database: LocalDatabase;

  constructor(database: LocalDatabase) {
    this.#database = database;
  }

  list(namespace: string): GovernancePolicy[] {
    const rows = this.#database.all(
      "SELECT object FROM policies WHERE namespace = ? ORDER BY name",
      namespace,
    ) as unknown as {
      object: string;
    }[];
    return rows.map((row) => JSON.parse(row.object) as GovernancePolicy);
  }

  /** Creates or replaces; generation counts its changes, as an API server does. Runs that have started keep their snapshot (G2). */
  put(namespace: string, policy: GovernancePolicy & { metadata: { name: string } }): void {
    const old = this.list(namespace).find(({ metadata }) => metadata.name === policy.metadata.name);
    const before = typeof old?.metadata["generation"] === "number" ? old.metadata["generation"] : 0;
    const isSame = old !== undefined && canonicalJson(old.spec) === canonicalJson(policy.spec);
    const generation = isSame ? Math.max(1, before) : before + 1;
    const object = JSON.stringify({ ...policy, metadata: { ...policy.metadata, namespace, generation } });
    this.#database.run(
      "INSERT INTO policies (namespace, name, object) VALUES (?, ?, ?) ON CONFLICT (namespace, name) DO UPDATE SET object = excluded.object",
      namespace,
      policy.metadata.name,
      object,
    );
  }

  /** Runs that have started keep what it said (G2). Repeat: no-op. */
  delete(namespace: string, name: string): void {
    this.#database.run("DELETE FROM policies WHERE namespace = ? AND name = ?", namespace, name);
  }
}
