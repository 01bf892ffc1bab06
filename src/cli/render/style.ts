/** Colours, and texts that fit: a line that wraps would break a redrawn tree. */
import { stripVTControlCharacters, styleText } from "node:util";

export type Paint = (style: "red" | "green" | "yellow" | "cyan" | "dim" | "bold", text: string) => string;

export function painter(color: boolean): Paint {
  return color ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}

const controls = /[\p{Cc}\u2028\u2029]+/gu;

/** One line without anything that moves a cursor: texts of models and tools are not trusted with the terminal. */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text).replaceAll(controls, " ");
}

/** Cuts a line without colours to `width` characters, with … for what is missing. */
export function fit(text: string, width: number): string {
  if (text.length <= width) return text;
  return width < 1
    ? ""
    : `${text
        .slice(0, width - 1)
        .toWellFormed()
        .replace(/\ufffd$/, "")}…`;
}

/** `reason: message`; a message that begins with its reason (`PolicyViolation: …`) says it already. */
export function saidOnce(reason: string, message: string): string {
  return message === reason || message.startsWith(`${reason}: `) ? message : `${reason}: ${message}`;
}
