/**
 * Tokens before the provider has told the real figure. A rough, reproducible estimate: it buys
 * blocks of budget (B1); the usage reported by the provider settles them.
 */
const utf8BytesPerToken = 4;

/** `ceil(UTF-8 bytes / 4)`, whole tokens; 0 for an empty text. A lone surrogate counts 3 bytes. */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text, "utf8") / utf8BytesPerToken);
}

/** The running estimate of a stream. */
export interface TokenEstimator {
  /** Adds the next piece; returns the estimate of everything so far. */
  add(chunk: string): number;
  readonly tokens: number;
}

/** Gives the figure of `estimateTokens(all chunks joined)` however the text was cut. */
export function tokenEstimator(): TokenEstimator {
  let bytes = 0;
  let endsInHighSurrogate = false;
  return {
    add(chunk) {
      if (chunk !== "") {
        bytes += Buffer.byteLength(chunk, "utf8");
        // Either half of a cut pair was counted as 3 bytes; the whole pair is 4.
        if (endsInHighSurrogate && isLowSurrogate(chunk.charCodeAt(0))) bytes -= 2;
        endsInHighSurrogate = isHighSurrogate(chunk.charCodeAt(chunk.length - 1));
      }
      return this.tokens;
    },
    get tokens() {
      return Math.ceil(bytes / utf8BytesPerToken);
    },
  };
}

function isHighSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xd800 && codeUnit <= 0xdbff;
}

function isLowSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xdc00 && codeUnit <= 0xdfff;
}
