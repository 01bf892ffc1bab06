/** The states of a node, and of an item of a forEach node, as a table; an unlisted pair throws. */
import type { NodeState } from "../../api/status.ts";

/**
 * start: an attempt is ordered       claim: its worker holds the journal
 * expand: a forEach node has items   park: the attempt ended without fault (suspended, fenced); the next one is due
 * wait: the next attempt is due later (own fault, or loss)
 * ask: a person has to answer before it goes on
 * lose: its result is gone from the journal
 */
export type NodeEvent =
  | "start"
  | "expand"
  | "claim"
  | "park"
  | "wait"
  | "ask"
  | "succeed"
  | "fail"
  | "skip"
  | "cancel"
  | "lose";

const atWork: Readonly<Partial<Record<NodeEvent, NodeState>>> = {
  claim: "Running",
  park: "Pending",
  wait: "Retrying",
  ask: "AwaitingApproval",
  succeed: "Succeeded",
  fail: "Failed",
  cancel: "Cancelled",
  lose: "Failed",
};

const table: Readonly<Record<NodeState, Readonly<Partial<Record<NodeEvent, NodeState>>>>> = {
  Pending: {
    start: "Starting",
    expand: "Running",
    wait: "Retrying",
    ask: "AwaitingApproval",
    succeed: "Succeeded",
    fail: "Failed",
    skip: "Skipped",
    cancel: "Cancelled",
    lose: "Failed",
  },
  Starting: atWork,
  Running: atWork,
  Retrying: {
    start: "Starting",
    wait: "Retrying",
    succeed: "Succeeded",
    fail: "Failed",
    cancel: "Cancelled",
    lose: "Failed",
  },
  AwaitingApproval: {
    start: "Starting",
    park: "Pending",
    succeed: "Succeeded",
    fail: "Failed",
    cancel: "Cancelled",
    lose: "Failed",
  },
  Succeeded: { lose: "Failed" },
  Failed: { lose: "Failed" },
  Skipped: {},
  Cancelled: {},
};

/** The state after an event. Throws on a pair that the table does not list: a bug of the planner. */
export function move(state: NodeState, event: NodeEvent): NodeState {
  const next = table[state][event];
  if (next === undefined) throw new Error(`a node that is ${state} cannot take the event "${event}"`);
  return next;
}

export function isEnded(state: NodeState): boolean {
  return state === "Succeeded" || state === "Failed" || state === "Skipped" || state === "Cancelled";
}

export function isAtWork(state: NodeState): boolean {
  return state === "Starting" || state === "Running";
}
