/**
 * Tokens of the scripted model: a piece is a fragment of at most 4 UTF-8 bytes that never splits a character.
 * For ASCII text the number of pieces equals OAO's own estimate, ceil(bytes / 4).
 */
const PIECE_BYTES = 4;

/** Words of exactly 4 bytes with their space. */
const FILLER = [
  "the ",
  "sun ",
  "has ",
  "set ",
  "and ",
  "our ",
  "old ",
  "dog ",
  "ran ",
  "far ",
  "for ",
  "one ",
  "big ",
  "red ",
  "fox ",
  "now ",
];

function utf8Bytes(codePoint: number): number {
  if (codePoint < 0x80) return 1;
  if (codePoint < 0x800) return 2;
  return codePoint < 0x10000 ? 3 : 4;
}

/** The pieces of `text`, in order; joined they are `text`. */
export function* piecesOf(text: string): Generator<string, void, undefined> {
  let start = 0;
  let at = 0;
  let bytes = 0;
  while (at < text.length) {
    const codePoint = text.codePointAt(at) ?? 0;
    const size = utf8Bytes(codePoint);
    if (bytes + size > PIECE_BYTES) {
      yield text.slice(start, at);
      start = at;
      bytes = 0;
    }
    bytes += size;
    at += codePoint > 0xffff ? 2 : 1;
  }
  if (at > start) yield text.slice(start);
}

/** `tokens` pieces of readable filler, each exactly 4 bytes, without holding them in memory. */
export function* fillerPieces(tokens: number): Generator<string, void, undefined> {
  for (let index = 0; index < tokens; index += 1) yield FILLER[index % FILLER.length] ?? "the ";
}

/** ceil(UTF-8 bytes / 4) of `text`: what the scripted model reports for a prompt. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / PIECE_BYTES);
}
