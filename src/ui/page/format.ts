/** Numbers and times as people read them. */
import { age as ageOf, elapsed as duration, grouped } from "../figures.ts";

export { grouped };

/** 12ms, 0.4s, 12s, 3m05s, 2h07m, 4d */
export function elapsed(ms: number): string {
  const shown = Math.max(0, ms);
  return shown < 100 ? `${Math.round(shown)}ms` : duration(shown);
}

/** Between two times; until now where the second is not there yet. Empty without a first. */
export function between(from: string | undefined, to: string | undefined, nowMs: number): string {
  return from === undefined ? "" : elapsed((to === undefined ? nowMs : Date.parse(to)) - Date.parse(from));
}

/** As kubectl writes ages: 45s, 5m, 3h, 2d */
export function age(from: string, nowMs: number): string {
  return ageOf(nowMs - Date.parse(from));
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
