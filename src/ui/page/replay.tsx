/** Starting a replay from a step: the same as `oao replay NAME --from-step N`. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import type { Problem, RunKey } from "../wire.ts";
import { post, problemOf } from "./client.ts";
import { runApi } from "./route.ts";

interface Props {
  readonly runKey: RunKey;
  readonly fromStep: number;
  readonly onReplayed: (key: RunKey) => void;
}

export function ReplayButton({ runKey, fromStep, onReplayed }: Props): VNode {
  const isBusy = useSignal(false);
  const problem = useSignal<Problem | undefined>(undefined);
  const start = async () => {
    isBusy.value = true;
    problem.value = undefined;
    try {
      onReplayed(await post<RunKey>(`${runApi(runKey)}/replay`, { fromStep }));
    } catch (error) {
      problem.value = problemOf(error);
    }
    isBusy.value = false;
  };
  return (
    <>
      {problem.value === undefined ? null : (
        <span class="bad clip" role="alert" title={problem.value.detail}>
          {problem.value.detail}
        </span>
      )}
      <button type="button" class="primary" disabled={isBusy.value} onClick={() => void start()}>
        {isBusy.value ? "Starting…" : "Replay from here"}
      </button>
    </>
  );
}
