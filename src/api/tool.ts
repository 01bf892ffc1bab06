/** spec.tools: requests to HTTP servers and functions of JavaScript modules, with what they do to the outside. */
import { z } from "zod";
import { dnsLabel, freeObject, positiveSeconds, secretKeyRef, toolName } from "./common.ts";
import { effects, sizes } from "./defaults.ts";

const httpHeader = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(256)
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "must be an HTTP header name")
    .describe("Name of the header."),
  value: z.string().max(8_192).optional().describe("Literal value; exactly one of value and secretKeyRef."),
  secretKeyRef: secretKeyRef.optional().describe("Value from a Secret; a policy must pair the Secret with the host."),
});

export const httpTool = z.strictObject({
  method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]).describe("HTTP method."),
  url: z
    .string()
    .min(1)
    .max(sizes.url)
    .describe("Absolute URL. {name} takes a path-escaped argument. Never interpolated with $( … )."),
  query: z
    .array(z.string().min(1).max(256))
    .max(sizes.listItems)
    .optional()
    .describe("Arguments sent in the query string; the others go in the JSON body."),
  headers: z.array(httpHeader).max(sizes.listItems).optional().describe("Request headers."),
  inputSchema: freeObject.optional().describe("JSON Schema of the arguments; absent = any object."),
});

const configMapKeyRef = z.strictObject({
  name: dnsLabel.describe("Name of the ConfigMap in the Execution's namespace."),
  key: z
    .string()
    .min(1)
    .max(253)
    .regex(/^[-._a-zA-Z0-9]+\.m?[jt]s$/, "must be a key that ends with .js, .mjs, .ts or .mts")
    .describe("Key whose value is the ESM file."),
});

export const moduleTool = z.strictObject({
  path: z
    .string()
    .min(1)
    .max(1_024)
    .optional()
    .describe(
      "ESM file, relative to the manifest's folder on a laptop and to /app in the image; exactly one of path and configMapRef.",
    ),
  configMapRef: configMapKeyRef
    .optional()
    .describe(
      "The ESM file as a key of a ConfigMap, on a cluster. What it held at the node's start is part of the record.",
    ),
  export: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe("Named export; absent = the file's only function export named like the tool."),
  inputSchema: freeObject.optional().describe("JSON Schema of the arguments; absent = any object."),
});

/** From the most to the least repeatable. */
export const effect = z.enum(effects);

export const toolSpec = z.strictObject({
  name: toolName.describe("Name that agents and nodes refer to and that models see."),
  description: z.string().max(4_096).optional().describe("What models are told about the tool."),
  effect: effect
    .optional()
    .describe(
      "What a repeated call does to the outside: ReadOnly, Idempotent or NonIdempotent (when absent). A policy may raise it, never trust it down.",
    ),
  timeoutSeconds: positiveSeconds.optional().describe("Limit of one call; 30 when absent."),
  http: httpTool.optional().describe("A request to an HTTP server; exactly one of http and module."),
  module: moduleTool.optional().describe("A function of a JavaScript module; exactly one of http and module."),
});

export type ToolSpec = z.infer<typeof toolSpec>;
export type HttpToolSpec = z.infer<typeof httpTool>;
export type ModuleToolSpec = z.infer<typeof moduleTool>;
export type ToolEffect = z.infer<typeof effect>;
