/** The types other layers name most, in one place. */
export type { Execution, ExecutionSpec, ModelSpec, NodeSpec, ToolEffect, ToolSpec } from "./execution.ts";
export type { GovernancePolicy, PolicySpec } from "./policy.ts";
