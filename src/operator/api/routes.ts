/** Every operation of the API, as data: the server takes requests by this table, openapi.json tells it to others. */
import type { z } from "zod";
import type { PathTemplate } from "./paths.ts";
import type { ProblemKind } from "./problems.ts";
import * as schemas from "./schemas.ts";

export interface Operation {
  readonly method: "GET" | "POST";
  readonly path: PathTemplate;
  readonly summary: string;
  readonly description: string;
  /** False = anybody may read it: it says nothing of the cluster or its runs. */
  readonly authenticated: boolean;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly headers?: z.ZodObject;
  /** May be left out by the caller. */
  readonly body?: z.ZodObject;
  readonly success: {
    readonly status: 200 | 201;
    readonly description: string;
    /** By media type; the first is what a caller gets who asks for none. Undefined = not described by a schema. */
    readonly content: Readonly<Record<string, z.ZodType | undefined>>;
  };
  /** Other good answers, without a body. */
  readonly empty?: { readonly status: 204; readonly description: string };
  readonly problems: readonly ProblemKind[];
}

const reads: readonly ProblemKind[] = ["not-found"];
const bodyReads: readonly ProblemKind[] = [...reads, "body-too-large", "unsupported-media-type"];
const replays: readonly ProblemKind[] = ["not-found", "conflict", "body-too-large", "unsupported-media-type"];

const replay = {
  method: "POST",
  description:
    "Creates a new Execution that replays a recorded one. The caller needs `create executions` and `get executions/journal` in the namespace. Only fields of spec are inherited: never labels, annotations or finalizers. The annotation oao.dev/requested-by says who asked.",
  authenticated: true,
  query: schemas.replayQuery,
  headers: schemas.replayHeaders,
  body: schemas.replayBody,
  success: {
    status: 201,
    description: "The new Execution; the same one again for the same Idempotency-Key.",
    content: { "application/json": schemas.executionObject },
  },
  problems: replays,
} as const;

const read = {
  method: "GET",
  authenticated: true,
  params: schemas.runPath,
} as const;

export const operations = {
  replayByUid: {
    ...replay,
    path: "/replay/{execution_id}",
    summary: "Replay the Execution of this UID",
    params: schemas.uidPath,
  },
  replayByName: {
    ...replay,
    path: "/replay/{namespace}/{name}",
    summary: "Replay the Execution of this name",
    params: schemas.runPath,
  },
  trace: {
    ...read,
    path: "/executions/{namespace}/{name}/trace",
    summary: "Every recorded step in canonical order",
    description:
      "As a JSON array, or as JSON lines for `Accept: application/jsonl`. Sent as it is read: a record that turns out to be unreadable on the way breaks the connection.",
    query: schemas.traceQuery,
    success: {
      status: 200,
      description: "The steps.",
      content: { "application/json": schemas.traceRow.array(), "application/jsonl": schemas.traceRow },
    },
    problems: [...reads, "conflict", "tampered"],
  },
  journal: {
    ...read,
    path: "/executions/{namespace}/{name}/journal",
    summary: "Stored journal entries, one a line",
    description: "Of every node and item in canonical order, as they are stored.",
    query: schemas.journalQuery,
    success: { status: 200, description: "The entries.", content: { "application/jsonl": schemas.journalEntry } },
    problems: reads,
  },
  journalAfter: {
    ...read,
    method: "POST",
    path: "/executions/{namespace}/{name}/journal",
    summary: "Journal entries that are new, one a line",
    description:
      "What was recorded after the entries that the caller has, so that a run at work is followed without reading it anew. A journal may also begin anew: where its first entry comes again, or one whose prevHash is not the hash of the last, read it from its start. A POST because what is known already may be too long for an address: it changes nothing.",
    query: schemas.noQuery,
    body: schemas.recordedBody,
    success: { status: 200, description: "The entries.", content: { "application/jsonl": schemas.journalEntry } },
    problems: bodyReads,
  },
  bodies: {
    ...read,
    method: "POST",
    path: "/executions/{namespace}/{name}/bodies",
    summary: "Contents that journal entries refer to, one a line",
    description:
      "Those of the run and of the runs that it replays, by digest. What is not there, as it was dropped or has expired, is left out. A POST for the length of the list: it changes nothing.",
    query: schemas.noQuery,
    body: schemas.bodiesBody,
    success: { status: 200, description: "The bodies.", content: { "application/jsonl": schemas.storedBody } },
    problems: bodyReads,
  },
  export: {
    ...read,
    path: "/executions/{namespace}/{name}/export",
    summary: "The whole record of a run that has ended, as one file",
    description:
      "The bundle that `oao export` writes and `oao verify` checks. Without its last line it is none: a body does not hold, or the connection broke.",
    query: schemas.noQuery,
    success: { status: 200, description: "The bundle.", content: { "application/jsonl": undefined } },
    problems: [...reads, "conflict", "tampered"],
  },
  hash: {
    ...read,
    path: "/executions/{namespace}/{name}/hash",
    summary: "What the run was, and what it did, in digests",
    description: "Equal executionHash: the same was asked for. Equal traceHash: the same was done.",
    query: schemas.noQuery,
    success: { status: 200, description: "The digests.", content: { "application/json": schemas.hashes } },
    problems: reads,
  },
  events: {
    ...read,
    path: "/executions/{namespace}/{name}/events",
    summary: "Status changes and completed steps as they happen",
    description:
      "Server-sent events: `status`, `step` (a trace row without input and output), and `end` once the run has ended and everything was told. A stream lasts five minutes at most; with `Last-Event-ID` the next one goes on where it ended (204 where nothing is left to tell).",
    query: schemas.noQuery,
    headers: schemas.eventHeaders,
    success: { status: 200, description: "The stream.", content: { "text/event-stream": undefined } },
    empty: { status: 204, description: "Everything was told before." },
    problems: reads,
  },
  openapi: {
    method: "GET",
    path: "/openapi.json",
    summary: "This document",
    description: "Readable without credentials.",
    authenticated: false,
    params: schemas.noPath,
    query: schemas.noQuery,
    success: { status: 200, description: "OpenAPI 3.1.", content: { "application/json": undefined } },
    problems: [],
  },
} as const satisfies Record<string, Operation>;

export type OperationId = keyof typeof operations;
