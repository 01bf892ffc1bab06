/** What a pair of steps is, in a sign and in words. */
import type { DiffVerdict } from "../wire.ts";

export const verdicts: Readonly<Record<DiffVerdict, { readonly sign: string; readonly text: string }>> = {
  Same: { sign: "=", text: "same" },
  Alike: { sign: "≈", text: "same but for the provider's ids" },
  Changed: { sign: "≠", text: "changed" },
  OnlyA: { sign: "−", text: "only left" },
  OnlyB: { sign: "+", text: "only right" },
};
