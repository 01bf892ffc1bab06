/** Where the pod of a node runs and with what: a closed list, never a patch of a pod. */
import { z } from "zod";
import { wholeSeconds } from "./common.ts";

const quantity = z
  .string()
  .min(1)
  .max(32)
  .regex(/^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/, "must be a quantity such as 500m, 2 or 1Gi");
const quantities = z.strictObject({
  cpu: quantity.optional().describe("Processors, as in 500m or 2."),
  memory: quantity.optional().describe("Bytes, as in 512Mi."),
  "ephemeral-storage": quantity.optional().describe("Bytes of local disk, as in 1Gi."),
});
const labelKey = z
  .string()
  .min(1)
  .max(317)
  .regex(
    /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/,
    "must be a label key such as team or example.com/pool",
  );
const labelValue = z
  .string()
  .max(63)
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/, "must be a label value");

export const placement = {
  resources: z
    .strictObject({
      requests: quantities
        .optional()
        .describe("What is set aside; what the installation sets (100m cpu, 256Mi memory) when absent."),
      limits: quantities
        .optional()
        .describe("What may be used at most; what the installation sets (1Gi memory) when absent."),
    })
    .optional()
    .describe("Resources of the node's pod. No effect on a laptop."),
  image: z
    .string()
    .min(1)
    .max(512)
    .regex(
      /^[a-z0-9]+([._:/-]+[a-zA-Z0-9_]+)*@sha256:[0-9a-f]{64}$/,
      "must name an image with its digest, as in registry.internal/worker@sha256:…",
    )
    .optional()
    .describe("Image of the node's pod, with digest; a policy's images.allow must list it. No effect on a laptop."),
  nodeSelector: z
    .record(labelKey, labelValue)
    .optional()
    .describe("Labels that the pod's Kubernetes node must have. No effect on a laptop."),
  tolerations: z
    .array(
      z.strictObject({
        key: labelKey.optional().describe("Taint; absent with Exists = every taint."),
        operator: z.enum(["Exists", "Equal"]).optional().describe("Equal when absent."),
        value: labelValue.optional().describe("Value of the taint, with Equal."),
        effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).optional().describe("Absent = every effect."),
        tolerationSeconds: wholeSeconds.optional().describe("How long a NoExecute taint is borne; absent = for ever."),
      }),
    )
    .max(20)
    .optional()
    .describe("Taints of Kubernetes nodes that the pod bears. No effect on a laptop."),
};
