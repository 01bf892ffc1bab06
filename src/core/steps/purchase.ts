/**
 * How one model call buys its tokens (B1): decisions alone. Whoever drives it puts each ask to the accounts and hands back their
 * reply: a worker's meter to the journal store, a what-if to accounts that are told over from a record.
 *
 * Text is bought in blocks; when less than a block is left, exactly what is left; when not even that, the call has to end.
 */
import { zeroAmounts } from "../protocol/amounts.ts";
import { type Amounts, type Limits, type Refusal, type Reply, tokenUnits, type Unit } from "../protocol/types.ts";
import { blockSize, modelReservation } from "./usage.ts";

/** What a call adds to the ledger when it begins or grows. */
export interface Hold {
  readonly settled: Amounts;
  readonly reserved: Amounts;
}

export interface Ask extends Hold {
  readonly op: "begin" | "grow";
  /** Only after a sibling has settled: it holds what is missing. */
  readonly isLater: boolean;
}

/** `left` = output tokens that could still be bought, -1 without a token budget. */
export type Admission =
  | { readonly code: "OK"; readonly left: number }
  | { readonly code: "WAIT" | "BUDGET" | "LIMIT"; readonly refusal: Refusal };

export function admission(reply: Reply): Admission {
  if (reply.code === "WAIT" || reply.code === "BUDGET" || reply.code === "LIMIT")
    return { code: reply.code, refusal: reply.refusal };
  return { code: "OK", left: reply.code === "OK" ? reply.left : -1 };
}

/** Why a call may not begin, or has to end: a budget of the accounts, one of scope Call, or the cap that budgets gave its answer. */
export type Stop =
  | { readonly by: "Account"; readonly refusal: Refusal }
  | { readonly by: "Call"; readonly unit: Unit; readonly limit: number; readonly used: number }
  | { readonly by: "Cap"; readonly cap: number };

/** Undefined = admitted, or bought. */
export type Asking = Generator<Ask, Stop | undefined, Admission>;

/** Limits that `used` passes, of those that one call has. */
export function unitsOver(limits: Limits, used: Amounts): Unit[] {
  return tokenUnits.filter((unit) => used[unit] > (limits[unit] ?? Number.POSITIVE_INFINITY));
}

export interface PurchaseOptions {
  readonly inputBound: number;
  /** Of the execution's and the node's account, for the size of blocks. */
  readonly accountLimits: readonly Limits[];
  readonly callLimits: Limits;
}

export class Purchase {
  readonly #inputBound: number;
  readonly #callLimits: Limits;
  readonly #block: number;
  #bought = 0;
  #cap: number | undefined;

  constructor({ inputBound, accountLimits, callLimits }: PurchaseOptions) {
    this.#inputBound = inputBound;
    this.#callLimits = callLimits;
    this.#block = blockSize([...accountLimits, callLimits]);
  }

  /** What the call holds now. */
  get reserved(): Amounts {
    return modelReservation(this.#inputBound, this.#bought);
  }

  /** The provider's output cap, a second net; undefined = no token budget, or not begun. */
  get cap(): number | undefined {
    return this.#cap;
  }

  /** One model call, the input bound and a first block. Waits while siblings hold what is missing. */
  *begin(): Asking {
    const tooLarge = this.#overCall(0);
    if (tooLarge !== undefined) return tooLarge;
    let block = Math.min(this.#block, this.#callRoom());
    let isLater = false;
    for (;;) {
      const reply = yield {
        op: "begin",
        isLater,
        settled: { ...zeroAmounts, ModelCalls: 1 },
        reserved: modelReservation(this.#inputBound, block),
      };
      if (reply.code === "OK") {
        this.#bought = block;
        this.#cap = this.#outputCap(reply.left);
        return undefined;
      }
      const { refusal } = reply;
      const left = this.#outputRoom(refusal, refusal.limit - refusal.spent - refusal.reserved);
      isLater = left < 1 || left >= block;
      if (!isLater) {
        block = left;
        continue;
      }
      // Spent alone leaves room for at least one token: siblings hold the rest and will settle.
      const room = this.#outputRoom(refusal, refusal.limit - refusal.spent);
      if (reply.code !== "WAIT" && room < 1) return { by: "Account", refusal };
      block = Math.min(this.#block, this.#callRoom(), room < 1 ? this.#block : room);
    }
  }

  /** For an answer that is `tokens` long by now: bought before its text is handed on. */
  *output(tokens: number): Asking {
    const allowed = Math.min(tokens, this.#callRoom());
    while (allowed > this.#bought) {
      const refusal = yield* this.#buy(allowed);
      if (refusal !== undefined) return { by: "Account", refusal };
    }
    return this.#overCall(tokens);
  }

  /** Why an answer ended at its cap: the budget that had no more. `reported` = output tokens as the provider counts. */
  *capped(reported: number | undefined): Asking {
    const cap = this.#cap ?? 0;
    const { OutputTokens, TotalTokens } = this.#callLimits;
    if (OutputTokens === cap) return { by: "Call", unit: "OutputTokens", limit: OutputTokens, used: cap };
    if (TotalTokens !== undefined && TotalTokens - this.#inputBound <= cap)
      return { by: "Call", unit: "TotalTokens", limit: TotalTokens, used: this.#inputBound + cap };
    const refusal = yield* this.#grow(Math.max(1, Math.min(reported ?? 0, cap) - this.#bought));
    return refusal === undefined ? { by: "Cap", cap } : { by: "Account", refusal };
  }

  *#buy(needed: number): Generator<Ask, Refusal | undefined, Admission> {
    const missing = needed - this.#bought;
    const wanted = Math.min(Math.max(this.#block, missing), this.#callRoom() - this.#bought);
    const refused = yield* this.#grow(wanted);
    if (refused === undefined) return undefined;
    const left = this.#outputRoom(refused, refused.limit - refused.spent - refused.reserved, 0);
    return left >= missing && left < wanted ? yield* this.#grow(left) : refused;
  }

  *#grow(more: number): Generator<Ask, Refusal | undefined, Admission> {
    const reserved = { ...zeroAmounts, TotalTokens: more, OutputTokens: more };
    const reply = yield { op: "grow", isLater: false, settled: zeroAmounts, reserved };
    if (reply.code !== "OK") return reply.refusal;
    this.#bought += more;
    return undefined;
  }

  #outputCap(left: number): number | undefined {
    const { OutputTokens, TotalTokens } = this.#callLimits;
    const caps = [
      left < 0 ? undefined : left + this.#bought,
      OutputTokens,
      TotalTokens === undefined ? undefined : TotalTokens - this.#inputBound,
    ];
    const defined = caps.filter((cap) => cap !== undefined);
    return defined.length === 0 ? undefined : Math.max(1, Math.min(...defined));
  }

  /** Output tokens that budgets of scope Call leave to this call: it never buys more, so it is never charged more. */
  #callRoom(): number {
    const { OutputTokens = Number.POSITIVE_INFINITY, TotalTokens = Number.POSITIVE_INFINITY } = this.#callLimits;
    return Math.max(0, Math.min(OutputTokens, TotalTokens - this.#inputBound));
  }

  /** How many output tokens fit into `room` of the unit that refused. */
  #outputRoom(refusal: Refusal, room: number, input = this.#inputBound): number {
    if (refusal.unit === "TotalTokens") return room - input;
    return refusal.unit === "OutputTokens" ? room : 0;
  }

  #overCall(output: number): Stop | undefined {
    const used = modelReservation(this.#inputBound, output);
    const [unit] = unitsOver(this.#callLimits, used);
    return unit && { by: "Call", unit, limit: this.#callLimits[unit] ?? 0, used: used[unit] };
  }
}
