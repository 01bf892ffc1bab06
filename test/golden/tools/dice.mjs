/** A tool whose answer depends on chance and time: both recorded, so a resume gives the same. */
export async function dice({ sides }, ctx) {
  const at = await ctx.now();
  const roll = 1 + Math.floor((await ctx.random()) * sides);
  return { roll, at, id: await ctx.uuid() };
}
