/** Functions that do what a hostile or merely unlucky tool author does. */
const seen = new Map();

export function echo({ n }) {
  return { n };
}

/** Fails on its first `failures` calls for `run`; answers with the recorded values of every call. */
export async function flaky({ run, failures }, ctx) {
  const ids = seen.get(run) ?? [];
  ids.push(await ctx.uuid());
  seen.set(run, ids);
  if (ids.length <= failures) throw new Error("not yet");
  return { ids };
}

/** Asks for recorded values until somebody stops it. */
export async function greedy(_args, ctx) {
  for (let count = 0; count < 1_000; count += 1) await ctx.now();
  return "never";
}

/** As deep as a value may be, with a text at the bottom that is stored apart. */
export function deep({ levels }) {
  let value = "x".repeat(1_000);
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

/** What an author sees who walks over the arguments. */
export function order(args) {
  return JSON.stringify(args);
}

/** Ignores that it is cut, and asks for values behind its own end. `globalThis.stubborn` settles when it has truly ended. */
export function stubborn(_args, ctx) {
  const work = new Promise((resolve) => ctx.signal.addEventListener("abort", resolve)).then(() => ctx.now());
  globalThis.stubborn = Promise.allSettled([work]);
  return work;
}
