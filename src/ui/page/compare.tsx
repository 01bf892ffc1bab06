/** Choosing the run to compare with. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useRef } from "preact/hooks";
import type { RunDetail, RunList } from "../wire.ts";
import { get } from "./client.ts";
import { visible } from "./format.ts";
import { diffPath, navigate } from "./route.ts";

const namesOffered = 200;

export function CompareButton({ run }: { run: RunDetail }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const names = useSignal<readonly string[]>([]);
  const text = useSignal("");
  const open = async () => {
    text.value = run.replayOf === undefined ? "" : `${run.namespace}/${run.replayOf}`;
    dialog.current?.showModal();
    const { runs } = await get<RunList>(`runs?limit=${namesOffered}`).catch(() => ({ runs: [] }));
    names.value = runs.filter(({ uid }) => uid !== run.uid).map(({ namespace, name }) => `${namespace}/${name}`);
  };
  const go = () => {
    const [namespace, name] = text.value.includes("/") ? text.value.split("/", 2) : [run.namespace, text.value];
    if (namespace === undefined || name === undefined || name === "") return;
    dialog.current?.close();
    navigate(diffPath({ namespace, name }, run));
  };
  return (
    <>
      <button type="button" onClick={() => void open()}>
        Compare…
      </button>
      <dialog ref={dialog} aria-label="Compare with another run">
        <form
          method="dialog"
          onSubmit={(event) => {
            event.preventDefault();
            go();
          }}
        >
          <label for="compare-with">
            Compare <b>{visible(run.name)}</b> with
          </label>
          <input
            id="compare-with"
            list="compare-names"
            placeholder="namespace/name"
            autocomplete="off"
            value={text.value}
            onInput={(event) => (text.value = event.currentTarget.value)}
          />
          <datalist id="compare-names">
            {names.value.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
          <div class="buttons">
            <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
              Cancel
            </button>
            <button type="submit" class="primary" disabled={text.value === ""}>
              Compare
            </button>
          </div>
        </form>
      </dialog>
    </>
  );
}
