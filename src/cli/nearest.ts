import { distance } from "fastest-levenshtein";

/** Up to three names that were most likely meant, nearest first. */
export function nearestNames(name: string, known: readonly string[]): string[] {
  const wanted = name.toLowerCase();
  const allowed = Math.max(2, Math.floor(name.length / 3));
  return known
    .map((candidate) => ({
      candidate,
      away: candidate.toLowerCase().startsWith(wanted) ? 1 : distance(wanted, candidate.toLowerCase()),
    }))
    .filter(({ away }) => away <= allowed)
    .sort((a, b) => a.away - b.away)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}
