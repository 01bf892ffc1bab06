/**
 * Buys tokens for one model call before its text is handed on (B1), and cuts the call when a budget ends.
 *
 * Text is bought in blocks; when less than a block is left, exactly what is left; when not even that, the call's own
 * controller aborts, which closes the socket, and the reason is the exact violation.
 */
import { type TokenEstimator, tokenEstimator } from "../core/digest/tokens.ts";
import { PolicyViolationError } from "../core/errors/errors.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import type { Amounts, Limits, Refusal } from "../core/protocol/types.ts";
import { blockSize, modelReservation } from "../core/steps/usage.ts";
import { CallFailure } from "../ports/step.ts";
import type { NodeContext } from "./node-context.ts";
import type { BeginReply } from "./replies.ts";
import type { Hold } from "./session.ts";

export class ModelMeter {
  readonly #context: NodeContext;
  readonly #inputBound: number;
  readonly #block: number;
  readonly #cut = new AbortController();
  readonly #estimator: TokenEstimator = tokenEstimator();
  #bought = 0;

  constructor(context: NodeContext, inputBound: number) {
    this.#context = context;
    this.#inputBound = inputBound;
    this.#block = blockSize([...context.accountLimits, context.policy.limits.call]);
  }

  /** Aborts with PolicyViolationError when a budget cuts the call. */
  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  get outputTokens(): number {
    return this.#estimator.tokens;
  }

  /** What the call holds now. */
  get reserved(): Amounts {
    return modelReservation(this.#inputBound, this.#bought);
  }

  /**
   * J3: one model call, the input bound and a first block, in the one command that `ask` sends with the intent. Waits while siblings
   * hold what is missing. Returns the provider's output cap, a second net behind this meter (undefined = no token budget). Throws PolicyViolationError, StoppedError.
   */
  async begin(ask: (hold: Hold) => Promise<BeginReply>): Promise<number | undefined> {
    this.#checkCallLimits(0);
    let block = Math.min(this.#block, this.#callRoom());
    for (;;) {
      const reply = await ask({
        settled: { ...zeroAmounts, ModelCalls: 1 },
        reserved: modelReservation(this.#inputBound, block),
      });
      if (reply.code === "OK") {
        this.#bought = block;
        return this.#outputCap(reply.left);
      }
      const { refusal } = reply;
      const left = this.#outputRoom(refusal, refusal.limit - refusal.spent - refusal.reserved);
      if (left >= 1 && left < block) {
        block = left;
        continue;
      }
      // Spent alone leaves room for at least one token: siblings hold the rest and will settle.
      const room = this.#outputRoom(refusal, refusal.limit - refusal.spent);
      if (reply.code !== "WAIT" && room < 1) throw this.#context.budgetViolation(refusal);
      block = Math.min(this.#block, this.#callRoom(), room < 1 ? this.#block : room);
      await this.#context.settled();
    }
  }

  #outputCap(left: number): number | undefined {
    const { OutputTokens, TotalTokens } = this.#context.policy.limits.call;
    const caps = [
      left < 0 ? undefined : left + this.#bought,
      OutputTokens,
      TotalTokens === undefined ? undefined : TotalTokens - this.#inputBound,
    ];
    const defined = caps.filter((cap) => cap !== undefined);
    return defined.length === 0 ? undefined : Math.max(1, Math.min(...defined));
  }

  /** Charge text before it is handed on. */
  async meter(text: string): Promise<void> {
    if (this.#cut.signal.aborted) throw this.#cut.signal.reason;
    const needed = this.#estimator.add(text);
    this.#checkSize(needed);
    this.#context.showLive({ tokens: needed });
    const allowed = Math.min(needed, this.#callRoom());
    while (allowed > this.#bought) await this.#buy(allowed);
    this.#checkCallLimits(needed);
  }

  /** Output tokens that budgets of scope Call leave to this call: it never buys more, so it is never charged more. */
  #callRoom(): number {
    const { OutputTokens = Number.POSITIVE_INFINITY, TotalTokens = Number.POSITIVE_INFINITY } =
      this.#context.policy.limits.call;
    return Math.max(0, Math.min(OutputTokens, TotalTokens - this.#inputBound));
  }

  /** Why an answer ended at `cap`, in the exact words of the budget that had no more. `reported` = output tokens as the provider counts. */
  async capReached(cap: number, reported: number | undefined): Promise<PolicyViolationError> {
    const { OutputTokens, TotalTokens } = this.#context.policy.limits.call;
    if (OutputTokens === cap) return this.#context.callBudgetViolation("OutputTokens", OutputTokens, cap);
    if (TotalTokens !== undefined && TotalTokens - this.#inputBound <= cap)
      return this.#context.callBudgetViolation("TotalTokens", TotalTokens, this.#inputBound + cap);
    const refused = await this.#grow(Math.max(1, Math.min(reported ?? 0, cap) - this.#bought));
    if (refused !== undefined) return this.#context.budgetViolation(refused);
    return new PolicyViolationError(
      `PolicyViolation: Max Token Limit Exceeded: the answer ended at ${cap} tokens, all that the budgets had left when its call began`,
    );
  }

  /** An answer that could not be recorded is not worth its tokens. All but the last token stand for four bytes each. */
  #checkSize(tokens: number): void {
    const { maxBodyBytes } = this.#context.policy.recording;
    if ((tokens - 1) * 4 >= maxBodyBytes) throw answerTooLarge(maxBodyBytes);
  }

  async #buy(needed: number): Promise<void> {
    const missing = needed - this.#bought;
    const wanted = Math.min(Math.max(this.#block, missing), this.#callRoom() - this.#bought);
    const refused = await this.#grow(wanted);
    if (refused === undefined) return;
    const left = this.#outputRoom(refused, refused.limit - refused.spent - refused.reserved, 0);
    const last = left >= missing && left < wanted ? await this.#grow(left) : refused;
    if (last !== undefined) this.#violate(this.#context.budgetViolation(last));
  }

  async #grow(more: number): Promise<Refusal | undefined> {
    const reply = await this.#context.session.grow({ ...zeroAmounts, TotalTokens: more, OutputTokens: more });
    if (reply.code !== "OK") return reply.refusal;
    this.#bought += more;
    return undefined;
  }

  /** How many output tokens fit into `room` of the unit that refused. */
  #outputRoom(refusal: Refusal, room: number, input = this.#inputBound): number {
    if (refusal.unit === "TotalTokens") return room - input;
    return refusal.unit === "OutputTokens" ? room : 0;
  }

  #checkCallLimits(output: number): void {
    const used: Amounts = {
      ...zeroAmounts,
      InputTokens: this.#inputBound,
      OutputTokens: output,
      TotalTokens: this.#inputBound + output,
    };
    const exceeded = (limits: Limits) =>
      (["TotalTokens", "InputTokens", "OutputTokens"] as const).find(
        (unit) => used[unit] > (limits[unit] ?? Number.POSITIVE_INFINITY),
      );
    const unit = exceeded(this.#context.policy.limits.call);
    if (unit === undefined) return;
    this.#violate(this.#context.callBudgetViolation(unit, this.#context.policy.limits.call[unit] ?? 0, used[unit]));
  }

  /** Cut: the adapter's loop ends, the socket closes. */
  #violate(reason: PolicyViolationError): never {
    this.#cut.abort(reason);
    throw reason;
  }
}

export function answerTooLarge(bytesMax: number): CallFailure {
  return new CallFailure(
    "InvalidAnswer",
    `the model's answer is larger than ${bytesMax} bytes (recording.maxBodyBytes of the policy)`,
  );
}
