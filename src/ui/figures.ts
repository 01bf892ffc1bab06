/** Numbers and durations as people read them, on a terminal and on the page. Durations are milliseconds. */

/** 1,234 */
export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

/** 0.4s, 12s, 3m05s, 2h07m, 4d */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m${pad(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h${pad(Math.floor((whole % 3_600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d`;
}

/** As kubectl writes ages: 45s, 5m, 3h, 2d */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
