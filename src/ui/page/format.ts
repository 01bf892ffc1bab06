/** Numbers and times as people read them. */

export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

/** 12ms, 0.4s, 12s, 3m05s, 2h07m, 4d */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 0.1) return `${Math.round(seconds * 1_000)}ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m${pad(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h${pad(Math.floor((whole % 3_600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d`;
}

/** Between two times; until now where the second is not there yet. Empty without a first. */
export function between(from: string | undefined, to: string | undefined, nowMs: number): string {
  return from === undefined ? "" : elapsed((to === undefined ? nowMs : Date.parse(to)) - Date.parse(from));
}

/** As kubectl writes ages: 45s, 5m, 3h, 2d */
export function age(from: string, nowMs: number): string {
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(from)) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export function plural(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** One line, control and direction-changing characters shown as what they are: names and errors come from models. */
export function visible(text: string): string {
  return text
    .replaceAll(/\s+/g, " ")
    .replaceAll(
      /[\p{Cc}\p{Cf}]/gu,
      (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
    );
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
