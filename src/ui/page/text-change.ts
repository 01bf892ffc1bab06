/** Two texts that differ: what they begin and end with alike, shortened, and what is each one's own. */

type Parts = readonly [before: string, own: string, after: string];

/** How much of what is shared is shown beside the difference. */
const sharedShown = 120;

/** Never cuts a character in half. */
export function changedText(left: string, right: string): { readonly left: Parts; readonly right: Parts } {
  const [a, b] = [Array.from(left), Array.from(right)];
  const shortest = Math.min(a.length, b.length);
  let start = 0;
  while (start < shortest && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < shortest - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const parts = (text: readonly string[]): Parts => {
    const from = Math.max(0, start - sharedShown);
    const to = Math.min(text.length, text.length - end + sharedShown);
    return [
      `${from === 0 ? "" : "…"}${text.slice(from, start).join("")}`,
      text.slice(start, text.length - end).join(""),
      `${text.slice(text.length - end, to).join("")}${to === text.length ? "" : "…"}`,
    ];
  };
  return { left: parts(a), right: parts(b) };
}
