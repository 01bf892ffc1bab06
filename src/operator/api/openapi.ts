/** The API as an OpenAPI 3.1 document, made of the table that the server itself goes by. */
import type { z } from "zod";
import { createDocument, type ZodOpenApiOperationObject } from "zod-openapi";
import { productVersion } from "../../api/version.ts";
import { type ProblemKind, statusOf, titleOf } from "./problems.ts";
import { type Operation, operations } from "./routes.ts";
import { problem } from "./schemas.ts";

/** Of every operation, whatever it does. */
const always: readonly ProblemKind[] = [
  "bad-request",
  "not-acceptable",
  "uri-too-long",
  "invalid",
  "too-many-requests",
];
const withCredentials: readonly ProblemKind[] = ["unauthenticated", "unavailable", "internal"];

export function openApiDocument(): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const [id, operation] of Object.entries<Operation>(operations)) {
    const { method, path } = operation;
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationObject(id, operation) };
  }
  return createDocument({
    openapi: "3.1.1",
    info: {
      title: "OAO",
      version: productVersion,
      description: "Replays and records of Executions. Who may do what is the cluster's decision: docs/http-api.md.",
    },
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "A token that the cluster's API server accepts." },
        certificate: { type: "mutualTLS", description: "A client certificate of the cluster's client authority." },
      },
    },
  });
}

function operationObject(operationId: string, operation: Operation): ZodOpenApiOperationObject {
  const { summary, description, params, query, headers, body, success, empty } = operation;
  const part = (schema: z.ZodObject | undefined) =>
    schema === undefined || Object.keys(schema.shape).length === 0 ? undefined : schema;
  const parameters = { path: part(params), query: part(query), header: part(headers) };
  const content = Object.entries(success.content).map(([type, schema]) => [
    type,
    schema === undefined ? {} : { schema },
  ]);
  return {
    operationId,
    summary,
    description,
    security: operation.authenticated ? [{ token: [] }, { certificate: [] }] : [],
    requestParams: Object.fromEntries(Object.entries(parameters).filter(([, schema]) => schema !== undefined)),
    ...(body === undefined ? {} : { requestBody: { content: { "application/json": { schema: body } } } }),
    responses: {
      [success.status]: { description: success.description, content: Object.fromEntries(content) },
      ...(empty === undefined ? {} : { [empty.status]: { description: empty.description } }),
      ...problemAnswers(operation),
    },
  };
}

/** By status, which several kinds may share. */
function problemAnswers(operation: Operation): ZodOpenApiOperationObject["responses"] {
  const titles = Map.groupBy(problemsOf(operation), statusOf);
  const content = { "application/problem+json": { schema: problem } };
  const statuses = [...titles].sort(([a], [b]) => a - b);
  return Object.fromEntries(
    statuses.map(([status, kinds]) => [status, { description: kinds.map(titleOf).join("; or: "), content }]),
  );
}

/** Every kind that the operation may answer with, once. */
export function problemsOf({ problems, authenticated }: Operation): ProblemKind[] {
  return [...new Set([...problems, ...always, ...(authenticated ? withCredentials : [])])];
}
