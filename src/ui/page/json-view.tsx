/** Recorded values as text, never as markup: a tree that folds, long texts folded, long lists a part at a time. */
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { grouped, plural, visible } from "./format.ts";

const textShown = 800;
const textLinesShown = 14;
const membersShown = 50;
/** Deeper values begin folded. */
const openDepth = 2;

export function JsonView({ value, depth = 0 }: { value: Json; depth?: number }): VNode {
  if (typeof value === "string") return <Text text={value} quoted />;
  if (value === null || typeof value !== "object") return <span class="json-atom">{String(value)}</span>;
  return <Container value={value} depth={depth} />;
}

/** A text as it was recorded, line breaks and all. */
export function Text({ text, quoted = false }: { text: string; quoted?: boolean }): VNode {
  const [whole, setWhole] = useState(false);
  const cut = whole ? text : folded(text);
  const name = `text ${quoted ? "json-text" : ""}`;
  return (
    <span class={name}>
      {quoted ? `"${cut}` : cut}
      {cut.length < text.length || whole ? (
        <button type="button" class="fold" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? "Fold" : `… show all ${grouped(text.length)} characters`}
        </button>
      ) : null}
      {quoted ? '"' : ""}
    </span>
  );
}

function Container({ value, depth }: { value: readonly Json[] | JsonObject; depth: number }): VNode {
  const members = Object.entries(value as Record<string, Json>);
  const isList = Array.isArray(value);
  const [open, setOpen] = useState(depth < openDepth || members.length === 0);
  const [shown, setShown] = useState(membersShown);
  const [begin, end] = isList ? ["[", "]"] : ["{", "}"];
  if (members.length === 0) return <span class="json-atom">{begin + end}</span>;
  return (
    <span class="json-box">
      <button type="button" class="json-toggle" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span aria-hidden="true">{open ? "▾" : "▸"}</span> {begin}
        {open ? "" : ` ${plural(members.length, isList ? "item" : "field")} ${end}`}
      </button>
      {open ? (
        <ul class="json-members">
          {members.slice(0, shown).map(([key, member]) => (
            <li key={key}>
              <span class={isList ? "json-index" : "json-key"}>{visible(key)}</span>
              <span class="json-colon">: </span>
              <JsonView value={member} depth={depth + 1} />
            </li>
          ))}
          {members.length > shown ? (
            <li>
              <button type="button" class="fold" onClick={() => setShown(shown * 4)}>
                … {grouped(members.length - shown)} more
              </button>
            </li>
          ) : null}
        </ul>
      ) : null}
      {open ? <span>{end}</span> : null}
    </span>
  );
}

function folded(text: string): string {
  let end = Math.min(text.length, textShown);
  let at = -1;
  for (let line = 0; line < textLinesShown; line += 1) {
    at = text.indexOf("\n", at + 1);
    if (at < 0) break;
  }
  if (at >= 0) end = Math.min(end, at);
  // A text that is only a little longer is not worth a fold.
  return text.length - end < 200 && at < 0 ? text : text.slice(0, end);
}
