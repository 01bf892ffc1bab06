/** Asks for the time, and then a server that may never answer. */
export async function hold({ url }, ctx) {
  const at = await ctx.now();
  const response = await fetch(url, { method: "POST", body: "{}" });
  return { at, said: await response.json() };
}
