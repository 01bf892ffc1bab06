import { OaoError } from "../../core/errors/errors.ts";

/** A tool that cannot run as it is defined. Found before any call; never retried. */
export class InvalidTool extends OaoError {
  override readonly name = "InvalidTool";
  readonly tool: string;
  /** Field below the spec.tools entry, as in `http.inputSchema`. */
  readonly field: string;
  /** What is wrong, without the names of tool and field. */
  readonly problem: string;
  constructor(tool: string, field: string, problem: string, cause?: unknown) {
    super("OAO_INVALID_SPEC", `Tool ${tool}: ${field}: ${problem}`, cause === undefined ? undefined : { cause });
    this.tool = tool;
    this.field = field;
    this.problem = problem;
  }
}
