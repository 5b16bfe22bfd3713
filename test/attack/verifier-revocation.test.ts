// Revoked credentials against a running verifier: every target voids, at the right instant, on a remembered credential too.

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { makeId } from "../../src/core/ids.ts";
import { createVerifier, type Verifier } from "../../src/sdk/verify.ts";
import { AUDIENCE, type FeedStandIn, makeClock, makePair, startFeedStandIn } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const clock = makeClock();
const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let broker: FeedStandIn;
let verifier: Verifier;

beforeAll(async () => {
  broker = await startFeedStandIn(clock);
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
  });
  await verifier.ready();
});
afterAll(async () => {
  verifier.close();
  await broker.close();
});

let grants = 0;
/** A grant of its own instant, so that no test meets another's cut-offs. */
function grantAt(instant: number): string {
  return makeId("grt", instant, String(grants++).padStart(16, "0"));
}

async function accepted(jwt: string): Promise<boolean> {
  return verifier.verify(jwt, wanted).then(
    () => true,
    (cause: unknown) => {
      expect(cause).toMatchObject({ code: "cut_off" });
      return false;
    },
  );
}

describe("a cut-off", () => {
  const parent = grantAt(clock.now() - 9000);
  const own = grantAt(clock.now() - 500);
  const claims = {
    sub: "agent-a",
    client_id: "agent-a",
    grants: [parent, own],
    task: "task a",
    role: "role-a",
    environment: ["staging", "preview"],
  };

  it.each<[string, Record<string, unknown>]>([
    ["its grant", { grant: own }],
    ["the grant that it came from", { grant: parent }],
    ["its agent", { agent: "agent-a" }],
    ["its task", { task: "task a" }],
    ["its role", { role: "role-a" }],
    ["one of its environments", { environment: "preview" }],
    ["its role and agent together", { role: "role-a", agent: "agent-a" }],
    ["its upstream", { upstream: "shop" }],
    ["everything", { everything: true }],
    ["a kind of target that only a later broker knows", { workload: "w-1" }],
    ["an agent narrowed by a kind that only a later broker knows", { agent: "agent-a", region: "eu" }],
  ])("of %s voids a credential, remembered or not", async (_, target) => {
    // Its own broker: what one target voids must not hide that another voids nothing.
    const [issuer, time] = await Promise.all([startFeedStandIn(clock), Promise.resolve(clock.now())]);
    using own = createVerifier({
      issuer: issuer.url,
      audience: AUDIENCE,
      environment: "staging",
      key: issuer.serviceKey,
      clock,
    });
    await own.ready();
    const [remembered, other] = await Promise.all([issuer.mint(claims), issuer.mint(claims)]);
    await own.verify(remembered, wanted);
    await issuer.cutOff(target, time);
    await issuer.heartbeat();
    for (const jwt of [remembered, other]) {
      await expect
        .poll(() => own.verify(jwt, wanted).catch((cause: unknown) => cause))
        .toMatchObject({ code: "cut_off" });
    }
    await issuer.close();
  });

  it.each<[string, Record<string, unknown>]>([
    ["another agent", { agent: "agent-b" }],
    ["its role for another agent", { role: "role-a", agent: "agent-b" }],
    ["another upstream", { upstream: "sho" }],
  ])("of %s voids nothing of it", async (_, target) => {
    const jwt = await broker.mint(claims);
    await broker.cutOff(target);
    await broker.cutOff({ agent: "marker" });
    const marker = await broker.mint({ sub: "marker", client_id: "marker" });
    await expect.poll(() => accepted(marker)).toBe(false);
    expect(await accepted(jwt)).toBe(true);
  });

  it("voids what was issued until its instant, to the millisecond, and nothing later", async () => {
    const instant = clock.now() - 1000;
    const made = (grant: string) => broker.mint({ sub: "agent-c", client_id: "agent-c", grants: [grant] });
    const [before, same, after] = await Promise.all([
      made(grantAt(instant - 1)),
      made(grantAt(instant)),
      made(grantAt(instant + 1)),
    ]);
    await broker.cutOff({ agent: "agent-c" }, instant);
    await expect.poll(() => accepted(before)).toBe(false);
    expect(await accepted(same)).toBe(false);
    expect(await accepted(after)).toBe(true);
  });

  it("compares the grant's instant, so that a renewal saves nothing", async () => {
    const grant = grantAt(clock.now() - 2000);
    const renewed = await broker.mint({
      sub: "agent-d",
      client_id: "agent-d",
      grants: [grant],
      iat: Math.floor(clock.now() / 1000),
    });
    await broker.cutOff({ agent: "agent-d" }, clock.now() - 1500);
    await expect.poll(() => accepted(renewed)).toBe(false);
  });
});

describe("a signing key that is in wrong hands", () => {
  it("is refused from its retirement on, for remembered credentials too", async () => {
    const stolen = await makePair("key_stolen");
    const issuer = await startFeedStandIn(clock);
    issuer.published.push(stolen.publicJwk);
    using own = createVerifier({
      issuer: issuer.url,
      audience: AUDIENCE,
      environment: "staging",
      key: issuer.serviceKey,
      clock,
    });
    await own.ready();
    const jwt = await issuer.mint({}, {}, stolen);
    const fine = await issuer.mint();
    await own.verify(jwt, wanted);
    await issuer.retireKey("key_stolen");
    await expect
      .poll(() => own.verify(jwt, wanted).catch((cause: unknown) => cause))
      .toMatchObject({ code: "credential_invalid" });
    await expect(own.verify(await issuer.mint({}, {}, stolen), wanted)).rejects.toMatchObject({
      code: "credential_invalid",
    });
    await expect(own.verify(fine, wanted)).resolves.toBeDefined();
    await issuer.close();
  });
});

describe("a remembered credential", () => {
  it("expires all the same", async () => {
    const issuer = await startFeedStandIn(clock);
    using own = createVerifier({
      issuer: issuer.url,
      audience: AUDIENCE,
      environment: "staging",
      key: issuer.serviceKey,
      clock,
    });
    await own.ready();
    const now = Math.floor(clock.now() / 1000);
    const jwt = await issuer.mint({ exp: now + 3 });
    await own.verify(jwt, wanted);
    clock.advance(3000);
    await expect(own.verify(jwt, wanted)).rejects.toMatchObject({ code: "credential_expired" });
    await issuer.close();
  });
});
