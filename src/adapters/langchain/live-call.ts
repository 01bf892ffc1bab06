/** One live model call: streamed, metered before it is handed on, cut as soon as OAO says so. */
import type { AIMessageChunk, BaseMessage } from "@langchain/core/messages";
import { CallFailure, type LiveCall, type ModelAnswer } from "../../ports/step.ts";
import { type BoundModel, type CallOptions, outputCapOption } from "./call-options.ts";
import { classify } from "./failures.ts";
import { billedText, finishReason, freeze, joinChunks, lengthReasons, reportedUsage } from "./message.ts";

export interface LiveRequest {
  readonly bound: BoundModel;
  readonly messages: readonly BaseMessage[];
  readonly callOptions: CallOptions;
  /** The caller's own signal, beside OAO's. */
  readonly signal: AbortSignal | undefined;
  /** Longest silence of the provider, milliseconds: before the first chunk and between two. */
  readonly idleTimeoutMs: number;
  readonly declaredOutputCap: number | undefined;
  readonly secrets: readonly string[];
}

/**
 * Makes the call once. Throws the reason of `call.signal` as it is when OAO cut the call, what `call.meter` threw, the
 * caller's abort reason, and else CallFailure.
 * Always `stream`: only there is every chunk seen, and `invoke` with streaming downloads tokenizer tables.
 * Leaving the loop, however, does not close the socket at once: the own controller does.
 */
export async function makeLiveCall(request: LiveRequest, call: LiveCall): Promise<ModelAnswer> {
  call.signal.throwIfAborted();
  request.signal?.throwIfAborted();
  const own = new AbortController();
  const idle = new IdleTimer(request.idleTimeoutMs, own);
  const signals = [call.signal, own.signal, ...(request.signal === undefined ? [] : [request.signal])];
  const chunks: AIMessageChunk[] = [];
  let refusal: { readonly reason: unknown } | undefined;
  try {
    idle.start();
    const stream = await request.bound.stream([...request.messages], {
      ...request.callOptions,
      ...(call.outputCap === undefined ? {} : { [outputCapOption]: call.outputCap }),
      signal: AbortSignal.any(signals),
    });
    for await (const chunk of stream) {
      idle.stop();
      const text = billedText(chunk);
      if (text !== "") {
        // Waiting for a sibling's tokens is not the provider's silence.
        await call.meter(text).catch((reason: unknown) => {
          refusal = { reason };
          own.abort(reason);
          throw reason;
        });
      }
      chunks.push(chunk);
      idle.start();
    }
    // A client may end its loop quietly when it is cut.
    for (const signal of signals) signal.throwIfAborted();
    return answerOf(chunks, request, call);
  } catch (error) {
    if (call.signal.aborted) throw call.signal.reason;
    if (refusal !== undefined) throw refusal.reason;
    if (idle.expired) throw stalled(request.idleTimeoutMs, chunks);
    if (request.signal?.aborted === true) throw request.signal.reason;
    throw classify(error, { secrets: request.secrets, usage: usageOf(chunks) });
  } finally {
    idle.stop();
  }
}

function answerOf(chunks: readonly AIMessageChunk[], request: LiveRequest, call: LiveCall): ModelAnswer {
  const message = joinChunks(chunks);
  const finish = chunks.map(finishReason).findLast((reason) => reason !== undefined);
  if (message === undefined || finish === undefined) {
    throw new CallFailure("NetworkFailure", "the model's answer ended without a finish reason: it is not complete", {
      usage: usageOf(chunks),
    });
  }
  const lowered =
    call.outputCap !== undefined && call.outputCap < (request.declaredOutputCap ?? Number.POSITIVE_INFINITY);
  return {
    message: freeze(message, finish),
    usage: reportedUsage(message.usage_metadata),
    ...(lowered && lengthReasons.has(finish) ? { truncatedByCap: true } : {}),
  };
}

function stalled(idleTimeoutMs: number, chunks: readonly AIMessageChunk[]): CallFailure {
  return new CallFailure("Timeout", `the model server sent nothing for ${idleTimeoutMs} ms`, {
    usage: usageOf(chunks),
  });
}

function usageOf(chunks: readonly AIMessageChunk[]): ModelAnswer["usage"] {
  return reportedUsage(chunks.findLast((chunk) => chunk.usage_metadata !== undefined)?.usage_metadata);
}

/** The client's own timeout ends with the headers; a stream that stalls would hang for ever. */
class IdleTimer {
  readonly #ms: number;
  readonly #controller: AbortController;
  #timer: NodeJS.Timeout | undefined;
  expired = false;

  constructor(ms: number, controller: AbortController) {
    this.#ms = ms;
    this.#controller = controller;
  }

  start(): void {
    this.stop();
    this.#timer = setTimeout(() => {
      this.expired = true;
      this.#controller.abort(new Error("idle"));
    }, this.#ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
