/** Charges one model call's text before it is handed on (B1), and cuts the call when a budget ends: its own controller aborts, which closes the socket. */
import { type TokenEstimator, tokenEstimator } from "../core/digest/tokens.ts";
import type { PolicyViolationError } from "../core/errors/errors.ts";
import type { Amounts } from "../core/protocol/types.ts";
import { type Admission, type Asking, type Hold, Purchase } from "../core/steps/purchase.ts";
import { CallFailure } from "../ports/step.ts";
import type { NodeContext } from "./node-context.ts";

export class ModelMeter {
  readonly #context: NodeContext;
  readonly #purchase: Purchase;
  readonly #cut = new AbortController();
  readonly #estimator: TokenEstimator = tokenEstimator();

  constructor(context: NodeContext, inputBound: number) {
    this.#context = context;
    const { accountLimits, policy } = context;
    this.#purchase = new Purchase({ inputBound, accountLimits, callLimits: policy.limits.call });
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
    return this.#purchase.reserved;
  }

  /**
   * J3: what the call holds at first is in the one command that `ask` sends with the intent. Returns the provider's output cap
   * (undefined = no token budget). Throws PolicyViolationError, StoppedError.
   */
  async begin(ask: (hold: Hold) => Promise<Admission>): Promise<number | undefined> {
    const violation = await this.#drive(this.#purchase.begin(), ask);
    if (violation !== undefined) throw violation;
    return this.#purchase.cap;
  }

  /** Charge text before it is handed on. */
  async meter(text: string): Promise<void> {
    if (this.#cut.signal.aborted) throw this.#cut.signal.reason;
    const needed = this.#estimator.add(text);
    this.#checkSize(needed);
    this.#context.showLive({ tokens: needed });
    const violation = await this.#drive(this.#purchase.output(needed));
    if (violation === undefined) return;
    // The adapter's loop ends, the socket closes.
    this.#cut.abort(violation);
    throw violation;
  }

  /** Why an answer ended at its cap, in the exact words of the budget that had no more. `reported` = output tokens as the provider counts. */
  async capReached(reported: number | undefined): Promise<PolicyViolationError> {
    const violation = await this.#drive(this.#purchase.capped(reported));
    if (violation === undefined) throw new Error("a cap that was reached has a reason");
    return violation;
  }

  async #drive(
    asking: Asking,
    begin: (hold: Hold) => Promise<Admission> = () => Promise.reject(new Error("a call begins once")),
  ): Promise<PolicyViolationError | undefined> {
    for (let step = asking.next(); ; ) {
      if (step.done === true) return step.value && this.#context.budgetViolation(step.value);
      const { op, isLater, settled, reserved } = step.value;
      if (isLater) await this.#context.settled();
      const reply = op === "begin" ? await begin({ settled, reserved }) : await this.#context.session.grow(reserved);
      step = asking.next(reply);
    }
  }

  /** An answer that could not be recorded is not worth its tokens. All but the last token stand for four bytes each. */
  #checkSize(tokens: number): void {
    const { maxBodyBytes } = this.#context.policy.recording;
    if ((tokens - 1) * 4 >= maxBodyBytes) throw answerTooLarge(maxBodyBytes);
  }
}

export function answerTooLarge(bytesMax: number): CallFailure {
  return new CallFailure(
    "InvalidAnswer",
    `the model's answer is larger than ${bytesMax} bytes (recording.maxBodyBytes of the policy)`,
  );
}
