// Nobody signs what they were not shown: every difference between what a broker shows and what would be signed is found.

import { describe, expect, it } from "vitest";
import { HoldAnswer } from "../../src/api/holds.ts";
import { findDifferences } from "../../src/cli/check-hold.ts";
import { answerWith, BODY, callWith, documentWith, SHOWN_HOLD, SHOWN_ISSUER } from "../support/shown-hold.ts";

describe("what is shown and what would be signed", () => {
  const expected = { id: SHOWN_HOLD, issuer: SHOWN_ISSUER };
  const differ = (answer: HoldAnswer) => findDifferences(answer, expected);

  it("are the same where nothing was changed, as the wire carries it", () => {
    expect(differ(answerWith())).toEqual([]);
    expect(differ(HoldAnswer.parse(JSON.parse(JSON.stringify(answerWith()))))).toEqual([]);
    expect(differ(answerWith({ body: null, document: { subject: callWith(null) } }))).toEqual([]);
  });

  it.each<[string, HoldAnswer, RegExp]>([
    ["another hold", answerWith({ document: { hold: "hld_01JD3V9K2M8Q5R7T9W1X3Z5B7E" } }), /document is of hold/],
    [
      "another hold in the answer",
      answerWith({ rest: { hold: { ...answerWith().hold, id: "hld_1" } } }),
      /answer is of hold/,
    ],
    ["another broker", answerWith({ document: { issuer: "https://evil.example" } }), /evil\.example.*VALETKEY_ISSUER/],
    [
      "another digest",
      answerWith({ rest: { hold: { ...answerWith().hold, digest: "0".repeat(64) } } }),
      /the broker says 0000/,
    ],
    ["another body", answerWith({ body: BODY.replace("vol_1", "vol_2") }), /^the body that is shown has the SHA-256/],
    ["a longer body", answerWith({ body: `${BODY} ` }), /has \d+ bytes, and the document says \d+/],
    ["no body", answerWith({ body: null }), /names a body, and none is shown/],
    ["a body too much", answerWith({ document: { subject: callWith(null) } }), /the document names none/],
    ["half a pair of UTF-16", answerWith({ body: "\uD800", document: { subject: callWith("\uD800") } }), /not text/],
    ["a document without a canonical form", answerWith({ document: { reason: "\uD800" } }), /no canonical form/],
    [
      "a body that nobody reads",
      answerWith({ body: "x".repeat(65_537), document: { subject: callWith("x".repeat(65_537)) } }),
      /65537 bytes, more than/,
    ],
  ])("differ by %s", (_, answer, said) => {
    expect(differ(answer).join("\n")).toMatch(said);
  });

  it("differ by any change of any text of the document", () => {
    const paths: (readonly (string | number)[])[] = [];
    const walk = (value: unknown, path: readonly (string | number)[]): void => {
      if (typeof value === "object" && value !== null) {
        for (const [name, member] of Object.entries(value)) walk(member, [...path, name]);
      } else paths.push(path);
    };
    walk(documentWith(), []);
    expect(paths.length).toBeGreaterThan(30);
    for (const path of paths) {
      const answer = structuredClone(answerWith());
      let at: Record<string, unknown> = { ...answer.document };
      const top = at;
      for (const step of path.slice(0, -1)) at = at[step] as never;
      const last = String(path.at(-1));
      at[last] = typeof at[last] === "string" ? `${at[last]}x` : at[last] === null ? "x" : Number(at[last]) + 1;
      expect(differ({ ...answer, document: top as never }), path.join(".")).not.toEqual([]);
    }
  });
});
