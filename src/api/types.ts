/** The types other layers name most, in one place. */
export type { Execution, ExecutionSpec, ModelSpec, NodeSpec } from "./execution.ts";
export type { ToolEffect, ToolSpec } from "./tool.ts";
export type { GovernancePolicy, PolicySpec } from "./policy.ts";
