/** Names, sizes and small schemas shared by both kinds. Sizes are in characters unless the name says otherwise. */
import { z } from "zod";
import { failureClasses, sizes } from "./defaults.ts";

export const group = "oao.dev";
export const version = "v1alpha1";
export const apiVersion = `${group}/${version}`;

/** Of annotations that answer a question: approval.oao.dev/REQUEST = "Approve:USER" or "Reject:USER". */
export const approvalPrefix = "approval.oao.dev/";

/** DNS label: node, model, tool and agent names appear in pod names and labels. */
export const dnsLabel = z
  .string()
  .min(1)
  .max(sizes.name)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    "must be a DNS label: lower case letters, digits and '-', as in 'rank-facts'",
  );

/** Tool names are sent to models, whose providers accept letters, digits, '_' and '-' only. */
export const toolName = z
  .string()
  .min(1)
  .max(sizes.name)
  .regex(/^[a-zA-Z_][a-zA-Z0-9_-]*$/, "must start with a letter or '_' and hold only letters, digits, '_' and '-'");

export const glob = z.string().min(1).max(sizes.glob);
export const wholeSeconds = z.int().min(0).max(31_536_000);
export const positiveSeconds = z.int().min(1).max(31_536_000);
export const count = z.int().min(1).max(1_000_000_000);

/** Free-form JSON object (JSON Schema, provider parameters, input). */
export const freeObject = z.record(z.string(), z.unknown());

export const secretKeyRef = z
  .strictObject({
    name: dnsLabel.describe("Name of the Secret in the Execution's namespace."),
    key: z.string().min(1).max(253).describe("Key inside the Secret."),
  })
  .describe("A key of a Secret. On a laptop it is read from OAO_SECRET_<NAME>_<KEY>.");

/** Classes of failure a retry list may name. PolicyViolation is absent on purpose (G1). */
export const failureClass = z.enum(failureClasses);
export type FailureClass = z.infer<typeof failureClass>;

export const budgetUnits = ["TotalTokens", "InputTokens", "OutputTokens", "ModelCalls", "ToolCalls"] as const;
export const budgetUnit = z.enum(budgetUnits);

export const metadata = z
  .looseObject({
    name: dnsLabel.optional().describe("Name of the object, unique in its namespace."),
    generateName: z
      .string()
      .max(50)
      .optional()
      .describe("Prefix of a name that is completed when the object is created."),
    namespace: dnsLabel.optional().describe("Namespace of the object; default when absent."),
    labels: z.record(z.string(), z.string()).optional().describe("Labels, as on any Kubernetes object."),
    annotations: z.record(z.string(), z.string()).optional().describe("Annotations, as on any Kubernetes object."),
  })
  .describe("Standard object metadata.");
