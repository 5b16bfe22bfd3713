// The real broker is stopped, an older copy of its store is put in its place, and it goes on: a running verifier that
// heard of a freeze before must never accept the frozen agent again.

import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { VerificationError } from "../../src/sdk/verification-error.ts";
import { createVerifier } from "../../src/sdk/verify.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } });

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const AUDIENCE = "https://staging.shop.example";
const reason = "test";
let broker: TestBroker;
let copy: string;

beforeAll(async () => {
  broker = await startTestBroker();
  copy = mkdtempSync(join(tmpdir(), "valetkey-copy-"));
});
afterAll(async () => {
  await broker.close();
  rmSync(copy, { recursive: true, force: true });
});

async function credentialOf(name: string): Promise<string> {
  const answer = await broker.as(name).call("requestGrant", { body: { task: "t", permissions: [DOMAIN] } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer.credential.value;
}

/** The store's files: all that start with its name (SQLite keeps its log beside it). */
function copyStore(from: string, to: string): void {
  const isStore = (file: string) => file.includes(".db");
  for (const file of readdirSync(to)) if (isStore(file)) rmSync(join(to, file));
  for (const file of readdirSync(from)) if (isStore(file)) cpSync(join(from, file), join(to, file));
}

describe("a store that is set back behind a freeze", () => {
  it("never makes a running verifier accept the frozen agent, however many revocations follow", async () => {
    const data = join(broker.folder, ".valetkey");
    const [frozen, fine] = [await credentialOf("coder"), await credentialOf("other-agent")];
    broker = await broker.restart();
    await broker.broker.close();
    copyStore(data, copy);
    expect(readdirSync(copy).length).toBeGreaterThan(0);
    broker = await broker.restart();
    const problems: string[] = [];
    using verifier = createVerifier({
      issuer: broker.url,
      audience: AUDIENCE,
      environment: "staging",
      key: broker.keyOf("shop-verifier"),
      name: "shop-verifier",
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
    broker = await broker.restart();
    await expect.poll(() => problems.join()).toMatch(/a snapshot has number 0, lower than 1 seen before/);
    expect(await outcome(frozen)).toBe("feed_stale");
    for (let i = 0; i < 3; i++) {
      await broker.as("security-1").call("revoke", { body: { target: { task: `another ${i}` }, reason } });
      await expect.poll(() => problems.at(-1)).toMatch(/the broker's history was changed/);
      expect([await outcome(frozen), await outcome(fine)]).toEqual(["feed_stale", "feed_stale"]);
    }
  });
});
