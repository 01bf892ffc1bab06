import { stringify } from "yaml";
import { sizes } from "./defaults.ts";
import { apiVersion, group, version } from "./common.ts";
import { isFreeForm, type JsonSchema, jsonSchemaOf, type Kind, kinds } from "./json-schema.ts";
import { rules, updateRules } from "./rules.ts";

/** A structural schema as Kubernetes wants it. Written by this file only, so members are added as it walks. */
interface StructuralSchema {
  type?: string;
  description?: string;
  properties?: Record<string, StructuralSchema>;
  required?: readonly string[];
  items?: StructuralSchema;
  additionalProperties?: StructuralSchema;
  enum?: readonly unknown[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  minimum?: number;
  maximum?: number;
  "x-kubernetes-preserve-unknown-fields"?: true;
  "x-kubernetes-list-type"?: "map" | "set";
  "x-kubernetes-list-map-keys"?: readonly string[];
  "x-kubernetes-validations"?: { rule: string; message: string; fieldPath?: string; reason?: string }[];
}

interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly description?: string;
  /** 1 = only with -o wide. */
  readonly priority?: 1;
}

interface KindOptions {
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
  readonly columns: readonly PrinterColumn[];
}

const age: PrinterColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

const options: Readonly<Record<Kind, KindOptions>> = {
  Execution: {
    plural: "executions",
    singular: "execution",
    shortName: "oaox",
    columns: [
      { name: "Phase", type: "string", jsonPath: ".status.phase" },
      { name: "Nodes", type: "string", jsonPath: ".status.progress", description: "Nodes that have ended, of all" },
      { name: "Steps", type: "integer", jsonPath: ".status.steps" },
      { name: "Tokens", type: "integer", jsonPath: ".status.usage.totalTokens" },
      age,
      { name: "Policy", type: "string", jsonPath: ".spec.policyRef.name", priority: 1 },
      { name: "Hash", type: "string", jsonPath: ".status.executionHash", priority: 1 },
      {
        name: "Operator",
        type: "string",
        jsonPath: ".status.operator",
        description: "namespace/release of the operator that holds the run",
        priority: 1,
      },
      { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Succeeded")].reason', priority: 1 },
    ],
  },
  GovernancePolicy: {
    plural: "governancepolicies",
    singular: "governancepolicy",
    shortName: "gpol",
    columns: [
      { name: "Enforcement", type: "string", jsonPath: ".spec.enforcement" },
      { name: "Max Tokens", type: "integer", jsonPath: ".spec.maxTokens" },
      { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
      age,
    ],
  },
};

/** The CustomResourceDefinitions: file name → YAML text, for `crds/`. */
export function renderCrds(): Record<string, string> {
  const files: Record<string, string> = {};
  for (const kind of kinds) {
    files[`${group}_${options[kind].plural}.yaml`] =
      `# Generated from src/api by \`npm run crds\`; do not edit.\n${stringify(crdOf(kind), { lineWidth: 120, aliasDuplicateObjects: false })}`;
  }
  return files;
}

/** One CRD as an object. */
export function crdOf(kind: Kind) {
  const { plural, singular, shortName, columns } = options[kind];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames: [shortName], categories: ["oao"] },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: structuralSchemaOf(kind) },
        },
      ],
    },
  };
}

export function structuralSchemaOf(kind: Kind): StructuralSchema {
  const source = jsonSchemaOf(kind);
  const properties = source.properties ?? {};
  const root = structural({ ...source, properties: { ...properties, metadata: {}, status: {} } });
  root.properties = {
    ...root.properties,
    apiVersion: { type: "string", description: `${properties.apiVersion?.description ?? ""} ${apiVersion}.`.trim() },
    kind: { type: "string", description: properties.kind?.description ?? kind },
    // Nothing else of metadata may be described here. Pod and key names are derived from the name.
    metadata: { type: "object", properties: { name: nameSchema(properties.metadata) } },
    // The status grows with the operator; P3 keeps everyone else from writing it.
    status: {
      type: "object",
      description: "Written by the operator only.",
      "x-kubernetes-preserve-unknown-fields": true,
    },
  };
  root.required = (source.required ?? []).filter((name) => name === "spec");
  addRules(kind, root);
  return root;
}

function nameSchema(metadata: JsonSchema | undefined): StructuralSchema {
  const name = metadata?.properties?.name;
  if (name?.pattern === undefined) throw new Error("src/api has no schema for metadata.name");
  return { type: "string", maxLength: sizes.name, pattern: name.pattern };
}

const copied = [
  "type",
  "description",
  "enum",
  "pattern",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minimum",
  "maximum",
] as const;

/** Keeps what structural schemas know. Unknown fields are pruned (or refused by kubectl), so additionalProperties: false goes. */
function structural(source: JsonSchema): StructuralSchema {
  const schema: StructuralSchema = Object.fromEntries(
    copied.flatMap((key) => (source[key] === undefined ? [] : [[key, source[key]]])),
  );
  if (isFreeForm(source)) {
    schema["x-kubernetes-preserve-unknown-fields"] = true;
  } else if (typeof source.additionalProperties === "object") {
    schema.additionalProperties = structural(source.additionalProperties);
    schema.maxProperties = sizes.listItems;
  }
  if (source.properties !== undefined) {
    schema.properties = Object.fromEntries(
      Object.entries(source.properties).map(([name, property]) => [name, asSet(name, structural(property))]),
    );
    if (source.required !== undefined) schema.required = source.required;
  }
  if (source.items !== undefined) {
    schema.items = structural(source.items);
    const key = listKey(source.items);
    if (key !== undefined) {
      schema["x-kubernetes-list-type"] = "map";
      schema["x-kubernetes-list-map-keys"] = [key];
    }
  }
  return schema;
}

/** Lists of names that may hold each once. Not dependsOn: a set's entries stand in managedFields each, and 50,000 of them burst etcd. */
const sets = new Set(["tools"]);

function asSet(name: string, schema: StructuralSchema): StructuralSchema {
  return sets.has(name) && schema.items?.type === "string" ? { ...schema, "x-kubernetes-list-type": "set" } : schema;
}

/** Server-side apply merges named lists entry by entry, and the API server refuses a second entry of one name. */
function listKey(items: JsonSchema): string | undefined {
  return ["name", "unit"].find((key) => items.required?.includes(key));
}

function addRules(kind: Kind, root: StructuralSchema): void {
  for (const rule of [...rules[kind], ...updateRules[kind]]) {
    if (rule.cel === undefined) continue;
    const place = placeOf(root, rule.at);
    const validations = (place["x-kubernetes-validations"] ??= []);
    validations.push({
      rule: rule.cel,
      message: rule.message,
      ...(rule.fieldPath === undefined ? {} : { fieldPath: rule.fieldPath }),
      ...("allows" in rule ? { reason: "FieldValueForbidden" } : {}),
    });
  }
}

function placeOf(root: StructuralSchema, at: readonly string[]): StructuralSchema {
  let place: StructuralSchema | undefined = root;
  for (const step of at) place = step === "*" ? place?.items : place?.properties?.[step];
  if (place === undefined) throw new Error(`A rule stands at ${at.join(".")}, which src/api does not know`);
  return place;
}
