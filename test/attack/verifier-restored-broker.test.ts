// The real broker is stopped, an older copy of its store is put in its place, and it goes on: a running verifier that
// heard of a freeze before must never accept the frozen agent again, whether the broker still knows what it was or not.

import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { VerificationError } from "../../src/sdk/verification-error.ts";
import { createVerifier } from "../../src/sdk/verify.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { jwtOf } from "../support/jwt-of.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } });

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const AUDIENCE = "https://staging.shop.example";
const reason = "test";
let broker: TestBroker;
let copy: string;

beforeEach(async () => {
  broker = await startTestBroker();
  copy = mkdtempSync(join(tmpdir(), "valetkey-copy-"));
});
afterEach(async () => {
  await broker.close();
  rmSync(copy, { recursive: true, force: true });
});

async function credentialOf(name: string): Promise<string> {
  const answer = await broker.as(name).call("requestGrant", { body: { task: "t", permissions: [DOMAIN] } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return jwtOf(answer.credential).value;
}

/** The store's files: all that start with its name (SQLite keeps its log beside it). */
function copyStore(from: string, to: string): void {
  const isStore = (file: string) => file.includes(".db");
  for (const file of readdirSync(to)) if (isStore(file)) rmSync(join(to, file));
  for (const file of readdirSync(from)) if (isStore(file)) cpSync(join(from, file), join(to, file));
}

/** Set back behind a freeze, under a verifier that has heard of it. `forget`: of the broker's own disk too. */
async function setBack({ forget }: { readonly forget: boolean }) {
  const data = join(broker.folder, ".valetkey");
  const [frozen, fine] = [await credentialOf("coder"), await credentialOf("other-agent")];
  broker = await broker.restart();
  await broker.broker.close();
  copyStore(data, copy);
  expect(readdirSync(copy).length).toBeGreaterThan(0);
  broker = await broker.restart();
  const problems: string[] = [];
  const verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.keyOf("shop-verifier"),
    name: "shop-verifier",
    clock: broker.clock,
    onProblem: (problem) => problems.push(problem),
  });
  await verifier.ready();
  const outcome = (jwt: string) =>
    verifier.verify(jwt, DOMAIN).then(
      () => "accepted",
      (cause: unknown) => (cause instanceof VerificationError ? cause.code : String(cause)),
    );
  expect([await outcome(frozen), await outcome(fine)]).toEqual(["accepted", "accepted"]);
  await broker.as("security-1").call("freeze", { params: { name: "coder" }, body: { reason } });
  await expect.poll(() => outcome(frozen)).toBe("cut_off");
  expect(await outcome(fine)).toBe("accepted");

  await broker.broker.close();
  copyStore(copy, data);
  if (forget) rmSync(join(data, "known.json"), { force: true });
  broker = await broker.restart();
  return { verifier, problems, outcome, frozen, fine };
}

describe("a store that is set back behind a freeze", () => {
  it("never makes a running verifier accept the frozen agent, where the broker knows nothing of it any more", async () => {
    const { verifier, problems, outcome, frozen, fine } = await setBack({ forget: true });
    using _ = verifier;
    await expect.poll(() => problems.join()).toMatch(/a snapshot has number 0, lower than 1 seen before/);
    expect(await outcome(frozen)).toBe("feed_stale");
    for (let i = 0; i < 3; i++) {
      await broker.as("security-1").call("revoke", { body: { target: { task: `another ${i}` }, reason } });
      await expect.poll(() => problems.at(-1)).toMatch(/the broker's history was changed/);
      expect([await outcome(frozen), await outcome(fine)]).toEqual(["feed_stale", "feed_stale"]);
    }
  });

  it("is noticed by what the broker kept: it gives nothing, the freeze is back, and a person lets it go on", async () => {
    const { verifier, outcome, frozen, fine } = await setBack({ forget: false });
    using _ = verifier;
    await expect(credentialOf("other-agent")).rejects.toMatchObject({ code: "store_went_back", status: 503 });
    const ready = await fetch(`${broker.url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringMatching(/--acknowledge-store/)]);
    expect((await broker.as("security-1").call("listRevocations")).frozen).toEqual(["coder"]);
    await expect.poll(() => outcome(frozen)).toBe("cut_off");
    const lift = broker.as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason } });
    await expect(lift).rejects.toMatchObject({ code: "store_went_back" });
    const forbidden = broker.as("security-1").call("acknowledgeStore", { body: { reason } });
    await expect(forbidden).rejects.toMatchObject({ code: "power_missing" });

    const done = await broker.as("admin-1").call("acknowledgeStore", { body: { reason } });
    expect(done.known.seq).toBeGreaterThan(done.found.seq);
    // The use of any proof may be among what was lost, until clocks cannot differ by that any more.
    await expect(credentialOf("other-agent")).rejects.toMatchObject({ code: "proof_replayed" });
    broker.clock.advance(31_000);
    await expect.poll(() => outcome(fine)).toBe("cut_off");
    expect(await outcome(frozen)).toBe("cut_off");
    await expect(credentialOf("coder")).rejects.toMatchObject({ code: "agent_frozen" });
    expect(await outcome(await credentialOf("other-agent"))).toBe("accepted");
    expect((await fetch(`${broker.url}/readyz`)).status).toBe(200);
  });
});
