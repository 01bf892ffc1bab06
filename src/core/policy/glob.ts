/**
 * Globs of policies: `*` stands for any run of characters, `?` for one, everything else for itself;
 * case matters. No regular expressions, so the worst pattern costs length × length.
 */
export function globMatches(pattern: string, text: string): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    const char = pattern[next];
    if (char === "*") {
      star = next++;
      resume = at;
    } else if (char === "?" || (char !== undefined && char === text[at])) {
      at++;
      next++;
    } else if (star !== -1) {
      // Let the last star take one more character: earlier stars never need another try.
      next = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[next] === "*") next++;
  return next === pattern.length;
}

/** `allow` absent = all; deny wins. */
export function listAllows(
  allow: readonly string[] | undefined,
  deny: readonly string[] | undefined,
  text: string,
): "Allowed" | "Denied" | "NotListed" {
  if (deny?.some((pattern) => globMatches(pattern, text)) === true) return "Denied";
  return allow === undefined || allow.some((pattern) => globMatches(pattern, text)) ? "Allowed" : "NotListed";
}
