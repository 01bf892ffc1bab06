/** What the record of a run cannot tell about another policy, counted and in words. */

export interface Unknowns {
  /** Where the run's own policies stopped it. */
  ownEnd: string | undefined;
  inFlight: number;
  inFlightTokens: number;
  finally: number;
  lost: number;
  reused: number;
}

/** Empty = nothing: the run would have gone as it is told. */
export function unknownTexts({ ownEnd, inFlight, inFlightTokens, lost, reused, finally: last }: Unknowns): string[] {
  const counted = (count: number, one: string, many: string, rest: string) =>
    count === 0 ? [] : [`${count === 1 ? `1 ${one}` : `${count} ${many}`} ${rest}`];
  return [
    ...(ownEnd === undefined
      ? []
      : [`the run's own policies stopped it ${ownEnd}: what would have come after is not recorded`]),
    ...counted(
      inFlight,
      "model call was",
      "model calls were",
      `at work when the run would have ended: a part of ${inFlightTokens} tokens might not have been used, and counts as used`,
    ),
    ...counted(last, "call", "calls", "of finally nodes would have been made all the same, if with other inputs"),
    ...counted(
      lost,
      "call was",
      "calls were",
      "lost with a worker: the tokens are recorded of the run, not of the call, and do not count",
    ),
    ...counted(reused, "step was", "steps were", "answered from another run's record: not called, so not judged"),
  ];
}
