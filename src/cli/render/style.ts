/** Colours, and texts that fit: a line that wraps would break a redrawn tree. */
import { stripVTControlCharacters, styleText } from "node:util";

export type Paint = (style: "red" | "green" | "yellow" | "cyan" | "dim" | "bold", text: string) => string;

export function painter(color: boolean): Paint {
  return color ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}

const controls = /[\p{Cc}\u2028\u2029]+/gu;

/** One line without anything that moves a cursor or turns the reading direction: texts of models and tools are not trusted with the terminal. */
export function oneLine(text: string): string {
  return visible(stripVTControlCharacters(text).replaceAll(controls, " "));
}

const ownColours = "\\u001b\\[(?:[12]|22|3[12369])m";
const unseen = /(?!\r\n|[\n\t])[\p{Cc}\p{Bidi_Control}]/gu;
const unseenOrPainted = new RegExp(`(?!\\r\\n|[\\n\\t]|${ownColours})[\\p{Cc}\\p{Bidi_Control}]`, "gu");

/** Keeps lines and tabs; what else acts on a terminal is written out as in JSON, so that a record shown this way still reads the same. */
export function visible(text: string): string {
  return text.replaceAll(unseen, escaped);
}

/** The same for lines that a `painter` may have coloured. */
export function visibleButPaint(text: string): string {
  return text.replaceAll(unseenOrPainted, escaped);
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
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
