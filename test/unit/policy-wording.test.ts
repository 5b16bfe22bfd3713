// What is required, in words.

import { describe, expect, it } from "vitest";
import { requirementsText } from "../../src/policy/wording.ts";
import { makeRequirements } from "../support/scope-set-fixture.ts";

describe("requirements in words", () => {
  it("name all that is demanded, and nothing else", () => {
    const all = makeRequirements({
      approvals: { count: 2, from: ["oncall", "dba"], perTeam: true },
      delaySeconds: 172_800,
      backup: { maxAgeSeconds: 86_400, separateFrom: ["volume"], restoreTested: true },
      reason: true,
      window: { days: ["mon", "tue"], from: "09:00", to: "17:00", zone: "Europe/Berlin" },
    });
    expect(requirementsText(all)).toBe(
      "2 approvals from oncall, dba (counted per team), a delay of 48h, a restore-tested backup at most 24h old, apart from volume, a reason, hours of 09:00 to 17:00 (mon tue) in Europe/Berlin",
    );
    expect(requirementsText(makeRequirements({ reason: true }))).toBe("a reason");
  });
});
