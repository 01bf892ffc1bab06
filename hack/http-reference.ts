/** The HTTP API as a page says it: made of the OpenAPI document, so that the two cannot differ. */
import { openApiDocument } from "../src/operator/api/openapi.ts";
import { problemKinds, statusOf, titleOf } from "../src/operator/api/problems.ts";
import { page, prose, table } from "./markdown.ts";

/** What of the document is read here. */
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationDoc>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface OperationDoc {
  readonly summary: string;
  readonly description: string;
  readonly security: readonly object[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Answer {
  readonly description: string;
  readonly content?: Content;
}

type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly description?: string;
}

/** Every operation, every object that goes in and out, and every problem. */
export function httpReference(): string {
  const document = openApiDocument() as Document;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => operationBlocks(method.toUpperCase(), path, operation)),
  );
  const problems = problemKinds.map((kind) => [`\`urn:oao:problem:${kind}\``, String(statusOf(kind)), titleOf(kind)]);
  return page(
    ...operations,
    "### Objects",
    ...Object.entries(document.components.schemas).flatMap(([name, schema]) => objectBlocks(name, schema)),
    "### Problems",
    table(["`type`", "Status", "`title`"], problems),
  ).trimEnd();
}

function operationBlocks(method: string, path: string, operation: OperationDoc): string[] {
  const { summary, description, security, parameters = [], requestBody, responses } = operation;
  const body = requestBody?.content["application/json"]?.schema;
  const rows = [
    ...parameters.map((each) => [
      `\`${each.name}\`${each.required === true ? " (required)" : ""}`,
      each.in,
      typeOf(each.schema),
      prose(each.description ?? ""),
    ]),
    ...(body === undefined ? [] : [["", "body", typeOf(body), "May be left out."]]),
  ];
  const isGood = ([status]: readonly [string, unknown]) => status.startsWith("2");
  const answers = Object.entries(responses).filter(isGood).map(answerRow);
  const problems = Object.entries(responses).filter((answer) => !isGood(answer));
  return [
    `### ${method} ${path}`,
    prose(`${summary}. ${security.length === 0 ? "" : "Needs credentials. "}${description}`),
    rows.length === 0 ? "" : table(["Parameter", "In", "Type", "Meaning"], rows),
    table(["Answer", "Content", "When"], answers),
    `[Problems](#problems): ${problems.map(([status]) => status).join(", ")}.`,
  ];
}

function answerRow([status, { description, content = {} }]: readonly [string, Answer]): string[] {
  const forms = Object.entries(content).map(([type, { schema }]) =>
    schema === undefined ? `\`${type}\`` : `\`${type}\`: ${typeOf(schema)}`,
  );
  return [status, forms.join(", "), prose(description)];
}

function objectBlocks(name: string, { properties = {}, required = [], description = "" }: Schema): string[] {
  const rows = Object.entries(properties).map(([field, schema]) => [
    `\`${field}\`${required.includes(field) ? "" : " (may be absent)"}`,
    typeOf(schema),
    prose(schema.description ?? ""),
  ]);
  return [`#### ${name}`, prose(description), table(["Field", "Type", "Meaning"], rows)];
}

function typeOf({ $ref, type, enum: values, items, anyOf, properties }: Schema): string {
  if ($ref !== undefined) return `[${nameOf($ref)}](#${nameOf($ref).toLowerCase()})`;
  if (values !== undefined) return values.map((value) => `\`${value}\``).join(", ");
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (anyOf !== undefined) return anyOf.map(typeOf).join(" or ");
  if (properties !== undefined) return `{ ${Object.keys(properties).join(", ")} }`;
  return type ?? "any JSON";
}

function nameOf(ref: string): string {
  return ref.split("/").at(-1) ?? ref;
}
