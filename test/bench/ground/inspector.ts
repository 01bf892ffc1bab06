/** Memory of another Node program after a full collection, by its inspector: `--inspect=127.0.0.1:0`. */
import type { Started } from "../../cli/harness.ts";

export interface Memory {
  readonly heapUsed: number;
  readonly rss: number;
}

/** Bytes. */
export async function collectedMemory(program: Started): Promise<Memory> {
  await program.said("Debugger listening on");
  const url = /ws:\/\/\S+/.exec(program.text())?.[0] ?? "";
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", reject, { once: true });
  });
  const waiting = new Map<number, (result: unknown) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  let last = 0;
  const ask = (method: string, params: object = {}) => {
    const id = (last += 1);
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    socket.send(JSON.stringify({ id, method, params }));
    return answer;
  };
  for (let n = 0; n < 3; n += 1) await ask("HeapProfiler.collectGarbage");
  const found = await ask("Runtime.evaluate", { expression: "JSON.stringify(process.memoryUsage())" });
  socket.close();
  return JSON.parse((found as { result: { value: string } }).result.value) as Memory;
}
