// Module tools of the samples. A tool is a function of its arguments; what it returns is recorded as JSON.

/** Lists of facts into one, in order, each fact once. */
export function merge({ lists }) {
  return [...new Set(lists.flat())];
}

/** The more figures a fact has, the better it can be checked. */
export function score({ fact }) {
  const figures = fact.match(/\d+/g)?.length ?? 0;
  return { fact, score: Math.min(100, 40 + 20 * figures) };
}

/** Where a ticket goes. */
export function route({ ticket, urgent }) {
  return { ticket, team: urgent ? "on-call" : "support" };
}

/** Fails at first, as a flaky service would. `attempt` is how often this process was asked before. */
let calls = 0;
export function flaky({ failures }) {
  calls += 1;
  if (calls <= failures) throw new Error(`not yet (call ${calls})`);
  return { answered: "after all", calls };
}

/** A note for whoever looks later; `ctx.now()` is recorded, so a resume writes the same time. */
export async function note({ text }, ctx) {
  return { text, at: new Date(await ctx.now()).toISOString() };
}
