/** What every journal store must do: one table of cases, run over memory, file and Redis. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JournalStore } from "../../../src/ports/store.ts";
import { accountCases } from "./account-cases.ts";
import { claimCases } from "./claim-cases.ts";
import { dataCases } from "./data-cases.ts";
import { sequenceCases } from "./sequence-cases.ts";

export interface CaseWorld {
  /** Fresh for each case. */
  readonly uid: string;
  readonly store: JournalStore;
  /** The same store as another process sees it. */
  readonly other: JournalStore;
}

export type Case = readonly [name: string, run: (world: CaseWorld) => Promise<void>];

export interface StoreUnderTest {
  readonly store: JournalStore;
  readonly other: JournalStore;
  close(): Promise<void>;
}

const cases: readonly Case[] = [...claimCases, ...sequenceCases, ...accountCases, ...dataCases];

export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name} store`, () => {
    let tested: StoreUnderTest;
    beforeAll(async () => {
      tested = await make();
    });
    afterAll(() => tested.close());
    test.for(cases)("%s", async ([, run]) => {
      expect.hasAssertions();
      await run({ uid: randomUUID(), store: tested.store, other: tested.other });
    });
  });
}
