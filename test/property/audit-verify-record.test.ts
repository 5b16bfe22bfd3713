// Whatever is done to the inside of a record is found, and named by the position of the entry that it was done to.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { faultsOf, makeHeadSigner, makeRecord } from "../support/made-record.ts";

const N = 12;
const { lines, head } = makeRecord(N);
const at = fc.nat(N - 1);
const signer = await makeHeadSigner();
const kept = await signer.sign(head);

const without = (index: number) => lines.filter((_, i) => i !== index);

describe("verification", () => {
  it("finds nothing in a record as it was written", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(40), async (entries) => {
        const made = makeRecord(entries);
        expect(await verifyRecord(made.lines, { checkpoints: [await signer.sign(made.head)] })).toEqual({
          entries,
          head: made.head,
          problems: [],
        });
      }),
      { numRuns: 20 },
    );
  });

  it("finds any changed byte and names the entry; in the last entry by a kept head", async () => {
    await fc.assert(
      fc.asyncProperty(at, fc.nat(), fc.integer({ min: 0x20, max: 0x7e }), async (index, position, code) => {
        const line = lines[index] ?? "";
        const offset = position % line.length;
        const other = String.fromCharCode(code);
        fc.pre(line.charAt(offset) !== other);
        const changed = lines.with(index, line.slice(0, offset) + other + line.slice(offset + 1));
        const faults = await faultsOf(changed, kept);
        expect(faults).toContain(index + 1);
        // A changed link blames the entry before it too: from the two alone nobody can tell which was changed.
        const isLink = offset >= line.indexOf('"previous":');
        // One whose number was changed is also spoken of by that number.
        const named = Number(/"seq":(\d+)/.exec(changed[index] ?? "")?.[1]);
        const blamed = [index + 1, named, ...(isLink ? [index] : [])];
        for (const seq of faults) expect(blamed).toContain(seq);
        if (index < N - 1) expect(await faultsOf(changed)).toContain(index + 1);
      }),
      { numRuns: 1500, examples: [[9, 1_153_846_473, 50]] },
    );
  });

  it("finds a value that was changed and written canonically again, its position among them", async () => {
    await fc.assert(
      fc.asyncProperty(at, fc.integer({ min: 1, max: 40 }), async (index, seq) => {
        fc.pre(seq !== index + 1);
        const line = (lines[index] ?? "").replace(/"seq":\d+/, `"seq":${seq}`);
        expect((await faultsOf(lines.with(index, line), kept))[0]).toBe(index + 1);
        expect((await faultsOf(lines.with(index, line)))[0]).toBe(index + 1);
      }),
    );
  });

  it("finds a dropped entry; the last one by a kept head alone", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(N - 2), async (index) => {
        expect(await faultsOf(without(index))).toEqual([index + 1]);
      }),
    );
    expect(await faultsOf(without(N - 1))).toEqual([]);
    expect(await faultsOf(without(N - 1), kept)).toEqual([null]);
  });

  it("finds a run of dropped entries and says how many", async () => {
    const { problems } = await verifyRecord([...lines.slice(0, 3), ...lines.slice(7)], { checkpoints: [] });
    expect(problems).toEqual([{ seq: 4, message: "entries 4 to 7 are missing before entry 8" }]);
  });

  it("finds an entry that stands twice, wherever its copy stands", async () => {
    await fc.assert(
      fc.asyncProperty(at, at, async (index, place) => {
        fc.pre(place >= index);
        expect(await faultsOf(lines.toSpliced(place + 1, 0, lines[index] ?? ""))).toEqual([index + 1]);
      }),
    );
  });

  it("finds two entries that changed places", async () => {
    await fc.assert(
      fc.asyncProperty(at, at, async (a, b) => {
        fc.pre(a < b);
        const swapped = lines.with(a, lines[b] ?? "").with(b, lines[a] ?? "");
        const faults = await faultsOf(swapped);
        expect(faults).toContain(a + 1);
        expect(faults.length).toBeGreaterThan(0);
      }),
    );
  });

  it("finds any other order at all", async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(lines, { minLength: 2 }), async (shuffled) => {
        fc.pre(shuffled.some((line, i) => line !== lines[i]));
        expect(await faultsOf(shuffled)).not.toEqual([]);
      }),
    );
  });

  it("finds entries of another record put in place of its own", async () => {
    const other = makeRecord(N, "other").lines;
    await fc.assert(
      fc.asyncProperty(at, async (index) => {
        expect((await faultsOf(lines.with(index, other[index] ?? ""), kept)).length).toBeGreaterThan(0);
      }),
    );
  });
});
