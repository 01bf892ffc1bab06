/** What an API has to say about itself to be spoken by the server: how a request is read and how an answer looks. */
import type { Finish, Piece, Usage } from "./answer.ts";
import type { RequestView } from "./request.ts";

/** Names that one answer carries. */
export interface AnswerNames {
  readonly id: string;
  readonly fingerprint: string;
  /** Unix seconds. */
  readonly created: number;
}

export interface AnswerContext {
  readonly request: RequestView;
  readonly names: AnswerNames;
  /** Reported input tokens, known before the first token; undefined = the server reports no usage. */
  readonly inputTokens: number | undefined;
}

/** Frames of one streamed answer, in order: open, piece…, then close or fail. */
export interface Framer {
  open(): string;
  piece(piece: Piece): string;
  close(finish: Finish, usage: Usage | undefined): string;
}

export interface ApiFault {
  readonly status: number;
  readonly code: string | undefined;
  readonly message: string;
}

export interface Dialect {
  /** Prefix of response ids and of tool-call ids. */
  readonly idPrefix: string;
  readonly toolIdPrefix: string;
  /** Read a request body. Throws BadRequest with what is wrong. */
  read(body: unknown): RequestView;
  framer(context: AnswerContext): Framer;
  /** The body of an answer that is not streamed; `finish` undefined leaves the reason out. */
  whole(context: AnswerContext, pieces: readonly Piece[], finish: Finish | undefined, usage: Usage | undefined): object;
  errorBody(fault: ApiFault): object;
  errorFrame(fault: ApiFault): string;
}

/** A tool call put together from its pieces. */
export interface WholeCall {
  readonly id: string;
  readonly name: string;
  readonly argumentsText: string;
}

/** Join pieces into the text and the tool calls of one message. */
export function joinPieces(pieces: readonly Piece[]): { text: string; calls: readonly WholeCall[] } {
  const texts: string[] = [];
  const calls: { id: string; name: string; parts: string[] }[] = [];
  for (const piece of pieces) {
    if (piece.kind === "text") texts.push(piece.text);
    else if (piece.kind === "toolStart") calls.push({ id: piece.id, name: piece.name, parts: [] });
    else calls[piece.index]?.parts.push(piece.text);
  }
  return {
    text: texts.join(""),
    calls: calls.map(({ id, name, parts }) => ({ id, name, argumentsText: parts.join("") })),
  };
}
