/** Every exit code of every program, in one place: other programs and people's scripts rely on them. */

/** How a worker process ended. Any other code, and every signal, counts as `infrastructure`. */
export const workerExitCodes = {
  /** finish(Succeeded) is durable. */
  done: 0,
  /** finish(Failed) is durable. */
  failed: 10,
  waiting: 11,
  /** J2: a later attempt holds the node. */
  fenced: 12,
  /** Suspended, cancelled or asked to end; another attempt resumes. */
  stopped: 13,
  /** Nothing final is recorded; another attempt resumes. */
  infrastructure: 14,
  /** The store lost entries that had been acknowledged, and the worker could not restore them. */
  lost: 15,
} as const;

export type WorkerExitName = keyof typeof workerExitCodes;

/** What ended a worker, or keeps it from starting, other than its own program. */
export type WorkerFailure =
  | "OOMKilled"
  | "Evicted"
  | "ImagePullFailed"
  | "Unschedulable"
  /** It cannot be made as asked for: a missing secret or key, an image name that is none. */
  | "BadConfig"
  /** The cluster takes no pod for it as yet: a quota, an admission policy, or a field that is not allowed there. */
  | "PodRefused"
  /** It has a machine, and its host says nothing of why it does not start there. */
  | "StartDelayed"
  | "DeadlineExceeded"
  /** Its machine is gone, or its host did not hear of it for too long. */
  | "NodeLost"
  /** A signal, or an exit code that is none of ours. */
  | "Crashed";

/** What the process of a worker says about its node; undefined code = ended by a signal. */
export function workerExitOf(code: number | null | undefined): WorkerExitName {
  for (const [name, known] of Object.entries(workerExitCodes)) if (known === code) return name as WorkerExitName;
  return "infrastructure";
}

/** Whether a worker ended by its own word, whatever it was; false for signals and codes of others. */
export function isWorkerExitCode(code: number | null | undefined): boolean {
  return Object.values(workerExitCodes).some((known) => known === code);
}

/** Exit codes of the CLI. run and resume say how the Execution ended; reading a failed run is 0. */
export const cliExitCodes = {
  succeeded: 0,
  failed: 1,
  /** Usage, or an invalid manifest. */
  usage: 2,
  policyViolation: 3,
  cancelled: 4,
  divergence: 5,
  /** Suspended, or waiting for an approval. */
  waiting: 6,
  infrastructure: 7,
  tampered: 8,
} as const;

export type CliExitCode = (typeof cliExitCodes)[keyof typeof cliExitCodes];
