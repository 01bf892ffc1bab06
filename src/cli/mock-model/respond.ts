/** Plays one reply to one client: at its pace, up to its fault. */
import { planAnswer, reportedUsage, type Finish, type Piece } from "./answer.ts";
import type { OpenCall } from "./calls.ts";
import type { ClientStream } from "./client-stream.ts";
import type { AnswerContext, ApiFault, Dialect } from "./dialect.ts";
import type { RequestView } from "./request.ts";
import type { MockReply } from "./script.ts";

/** Pieces written at full speed before other streams get their turn. */
const PIECES_PER_TURN = 64;

export interface Exchange {
  readonly dialect: Dialect;
  readonly request: RequestView;
  readonly reply: MockReply;
  readonly names: AnswerContext["names"];
  readonly newToolId: () => string;
  readonly call: OpenCall;
  readonly client: ClientStream;
}

type Fault = "stall" | "cut" | "end" | "error";
type Ending = { readonly finish: Finish } | { readonly fault: Fault } | "closed";

const defaultMessages: Record<number, string> = {
  401: "Incorrect API key provided (scripted error).",
  429: "Rate limit reached (scripted error).",
  500: "The server had an error while processing your request (scripted error).",
};

/** The error that a reply with `status` asks for. */
export function scriptedFault(reply: MockReply, status: number): ApiFault {
  const quota = "You exceeded your current quota (scripted error).";
  const message = reply.errorCode === "insufficient_quota" ? quota : (defaultMessages[status] ?? "Scripted error.");
  return { status, code: reply.errorCode, message: reply.errorMessage ?? message };
}

export function sendJson(
  client: ClientStream,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  client.writeHead(status, { "content-type": "application/json", ...headers });
  client.end(JSON.stringify(body));
}

function faultAt(reply: MockReply, tokens: number): Fault | undefined {
  if (reply.stallAfterTokens === tokens) return "stall";
  if (reply.cutAfterTokens === tokens) return "cut";
  if (reply.endAfterTokens === tokens) return "end";
  return reply.errorAfterTokens === tokens ? "error" : undefined;
}

/**
 * Waits for the moment of token number `index`: `tokensPerSecond` is an average (a late timer is made up for),
 * `delayMsPerToken` a gap that is never shorter.
 */
async function waitForTurn({ reply, client }: Exchange, index: number, startMs: number): Promise<void> {
  if (reply.delayMsPerToken !== undefined && reply.delayMsPerToken > 0) {
    if (index > 0) await client.sleep(reply.delayMsPerToken);
  } else if (reply.tokensPerSecond !== undefined && reply.tokensPerSecond > 0) {
    const wait = startMs + (index * 1000) / reply.tokensPerSecond - performance.now();
    if (wait > 0) await client.sleep(wait);
  } else if (index % PIECES_PER_TURN === PIECES_PER_TURN - 1) {
    await client.yield();
  }
}

/** Emit the pieces of the answer in time; says why it stopped. */
async function play(exchange: Exchange, emit: (piece: Piece) => Promise<void> | undefined): Promise<Ending> {
  const { reply, request, call, client } = exchange;
  const answer = planAnswer(reply, request, exchange.newToolId);
  const cap = reply.ignoreMaxTokens === true ? undefined : request.maxTokens;
  if (reply.firstTokenDelayMs !== undefined) await client.sleep(reply.firstTokenDelayMs);
  const startMs = performance.now();
  for (const piece of answer.pieces) {
    const fault = faultAt(reply, call.tokens);
    if (fault !== undefined) return { fault };
    if (call.tokens === cap) return { finish: "Length" };
    await waitForTurn(exchange, call.tokens, startMs);
    if (client.closed) return "closed";
    const room = emit(piece);
    call.token();
    if (room !== undefined) await room;
  }
  if (client.closed) return "closed";
  const fault = faultAt(reply, call.tokens);
  return fault === undefined ? { finish: answer.finish } : { fault };
}

function usageOf({ reply, request, call }: Exchange) {
  return reportedUsage(reply.usage, { inputTokens: request.inputTokens, outputTokens: call.tokens });
}

const midStreamFault: ApiFault = { status: 500, code: undefined, message: "The server had an error (scripted error)." };

async function respondStreaming(exchange: Exchange, context: AnswerContext): Promise<void> {
  const { dialect, call, client } = exchange;
  const framer = dialect.framer(context);
  client.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  await client.write(framer.open());
  const ending = await play(exchange, (piece) => client.write(framer.piece(piece)));
  if (ending === "closed") return;
  if ("finish" in ending) {
    client.end(framer.close(ending.finish, usageOf(exchange)));
    return call.end("finished");
  }
  switch (ending.fault) {
    case "stall":
      return call.end("stalled");
    case "cut":
      call.end("cut");
      return client.cut();
    case "end":
      client.end();
      return call.end("ended");
    case "error":
      client.end(dialect.errorFrame(midStreamFault));
      return call.end("error");
  }
}

async function respondWhole(exchange: Exchange, context: AnswerContext): Promise<void> {
  const { dialect, call, client } = exchange;
  const pieces: Piece[] = [];
  const ending = await play(exchange, (piece) => void pieces.push(piece));
  if (ending === "closed") return;
  if ("finish" in ending) {
    sendJson(client, 200, dialect.whole(context, pieces, ending.finish, usageOf(exchange)));
    return call.end("finished");
  }
  switch (ending.fault) {
    case "stall":
      return call.end("stalled");
    case "cut":
      call.end("cut");
      return client.cut();
    case "end":
      sendJson(client, 200, dialect.whole(context, pieces, undefined, undefined));
      return call.end("ended");
    case "error":
      sendJson(client, midStreamFault.status, dialect.errorBody(midStreamFault));
      return call.end("error");
  }
}

/** Answer as the reply says. Resolves when no more will be written (a stalled answer: when it stalls). */
export async function respond(exchange: Exchange): Promise<void> {
  const { dialect, request, reply, call, client } = exchange;
  if (reply.headerDelayMs !== undefined) await client.sleep(reply.headerDelayMs);
  if (client.closed) return;
  if (reply.status !== undefined) {
    const retry = reply.retryAfterSeconds;
    const headers: Record<string, string> = retry === undefined ? {} : { "retry-after": String(retry) };
    sendJson(client, reply.status, dialect.errorBody(scriptedFault(reply, reply.status)), headers);
    return call.end("error");
  }
  const inputTokens = usageOf(exchange)?.inputTokens;
  const context: AnswerContext = { request, names: exchange.names, inputTokens };
  return request.stream ? respondStreaming(exchange, context) : respondWhole(exchange, context);
}
