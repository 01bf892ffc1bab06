/** Times as status writes them. Own arithmetic, because core has no clock and so no Date. */
const dayMs = 86_400_000;

/** Milliseconds since the epoch as RFC 3339 in UTC with milliseconds. Days to civil date after H. Hinnant, "chrono-compatible low-level date algorithms". */
export function isoTime(ms: number): string {
  const days = Math.floor(ms / dayMs);
  const inDay = ms - days * dayMs;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const seconds = Math.floor(inDay / 1_000);
  const clock = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60].map((part) => pad(part, 2));
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}T${clock.join(":")}.${pad(inDay % 1_000, 3)}Z`;
}

/** Inverse of isoTime; undefined for absent or foreign text. */
export function parseTime(text: string | undefined): number | undefined {
  // Most rows have none: asked for often, so answered first.
  if (text === undefined) return undefined;
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?Z$/.exec(text);
  if (match === null) return undefined;
  const part = (place: number) => Number(match[place] ?? 0);
  const [year, month, day, hour] = [part(1), part(2), part(3), part(4)];
  const [minute, second, milli] = [part(5), part(6), part(7)];
  const shiftedYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(shiftedYear / 400);
  const yearOfEra = shiftedYear - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  const days = era * 146_097 + dayOfEra - 719_468;
  return days * dayMs + hour * 3_600_000 + minute * 60_000 + second * 1_000 + milli;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, "0");
}
