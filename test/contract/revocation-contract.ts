// The contract of revocation: numbered, durable, never refused for a clock, closed until a person reopens.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { RevocationId } from "../../src/core/ids.ts";
import type { GrantPort, StoredGrant } from "../../src/grants/grant-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import {
  activate,
  cut,
  cutOffCommand,
  draftGrant,
  eventOf,
  grantFrom,
  issue,
  type Opened,
  POLICY,
  proofAt,
  release,
  T0,
} from "./drafts.ts";
import { idAt } from "./ids-at.ts";

type Ports = RevocationPort & GrantPort & RecordPort;

const OTHER = "b".repeat(64);

function switchTo(
  port: RevocationPort,
  digest: string,
  options: Pick<Parameters<RevocationPort["activatePolicy"]>[0], "proof" | "replaces"> = {},
): ReturnType<RevocationPort["activatePolicy"]> {
  return port.activatePolicy({ at: T0, digest, event: eventOf("policy.activated"), ...options });
}

export function describeRevocationPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`revocation in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
    });
    afterEach(() => opened.close());

    function freeze(at: number): ReturnType<RevocationPort["freeze"]> {
      return port.freeze({ ...cutOffCommand(at, { agent: "coder" }), agent: "coder" });
    }
    function unfreeze(at: number): ReturnType<RevocationPort["unfreeze"]> {
      return port.unfreeze({ at, proof: proofAt(at), agent: "coder", event: eventOf("agent.unfrozen") });
    }
    function reopenTarget(at: number, id: RevocationId): ReturnType<RevocationPort["reopen"]> {
      return port.reopen({ at, proof: proofAt(at), id, event: eventOf("cutoff.reopened") });
    }

    it("numbers cut-offs from one, and names each in its event", async () => {
      const first = await cut(port, T0, { agent: "coder" });
      const second = await cut(port, T0 + 5, { everything: true });
      expect([first.number, second.number]).toEqual([1, 2]);
      expect(first).toMatchObject({
        target: { agent: "coder" },
        before: T0,
        reason: "test",
        by: "security-1",
        closed: false,
      });
      expect(await port.findCutOff(first.id)).toEqual(first);
      expect(await port.snapshot(T0 + 5)).toEqual({ number: 2, cutOffs: [first, second], frozen: [], retiredKeys: [] });
      const entry = JSON.parse((await port.read(1, 1))[0] ?? "") as Record<string, unknown>;
      expect(entry).toMatchObject({ type: "cutoff.created", revocation: first.id, before: new Date(T0).toISOString() });
    });

    it("answers a revocation only when a restart keeps it", async () => {
      const cutOff = await cut(port, T0, { task: "fix the checkout" });
      await freeze(T0);
      port = await opened.reopen();
      expect((await port.snapshot(T0)).cutOffs[0]).toEqual(cutOff);
      expect(await port.snapshot(T0)).toMatchObject({ number: 2, frozen: ["coder"] });
      expect((await issue(port, T0)).outcome).toBe("agent_frozen");
      expect((await issue(port, T0, { agent: "other" })).outcome).toBe("cut_off");
      expect((await cut(port, T0, { agent: "a" })).number).toBe(3);
    });

    it("numbers 200 concurrent revocations without a gap", async () => {
      const all = await Promise.all(Array.from({ length: 200 }, (_, i) => cut(port, T0, { agent: `agent-${i}` })));
      const numbers = all.map((each) => each.number).toSorted((a, b) => a - b);
      expect(numbers).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    });

    it("revokes with a clock that is far behind, and still meets what was issued before", async () => {
      const grant = await grantFrom(port, T0);
      const cutOff = await cut(port, T0 - 3_600_000, { agent: "coder" });
      expect(cutOff.before).toBe(T0);
      expect((await port.find(grant.id))?.cutOff).toBe(cutOff.id);
      expect((await freeze(T0 - 3_600_000)).outcome).toBe("frozen");
      expect(await unfreeze(T0 - 3_600_000)).toEqual({ outcome: "clock_behind", instant: T0 });
    });

    it("revokes once for one proof, and without one for the broker's own", async () => {
      const command = cutOffCommand(T0, { agent: "coder" });
      expect((await port.cutOff(command)).outcome).toBe("cut_off");
      expect(await port.cutOff({ ...command, random: draftGrant().random })).toEqual({ outcome: "proof_replayed" });
      expect((await port.cutOff(cutOffCommand(T0, { role: "r", agent: "coder" }, null))).outcome).toBe("cut_off");
      expect((await port.snapshot(T0)).number).toBe(2);
    });

    it("freezes and cuts off at once, again when frozen, and lets a person lift it", async () => {
      const grant = await grantFrom(port, T0);
      expect((await freeze(T0)).outcome).toBe("frozen");
      expect((await port.find(grant.id))?.cutOff).not.toBeNull();
      expect((await freeze(T0 + 1)).outcome).toBe("frozen");
      expect((await port.snapshot(T0 + 1)).frozen).toEqual(["coder"]);
      expect(await unfreeze(T0 + 2)).toEqual({ outcome: "unfrozen", instant: T0 + 2 });
      const { seq } = await port.head();
      expect(await unfreeze(T0 + 3)).toEqual({ outcome: "not_frozen", instant: T0 + 3 });
      expect((await port.head()).seq).toBe(seq);
      expect((await issue(port, T0 + 4)).outcome).toBe("issued");
      expect((await port.find(grant.id))?.cutOff).not.toBeNull();
    });

    it("reopens every closure of a task, revives nothing, and says when there is nothing to reopen", async () => {
      const { task } = draftGrant();
      const grant = await grantFrom(port, T0);
      const first = await cut(port, T0, { task });
      const second = await cut(port, T0 + 1, { task });
      const other = await cut(port, T0 + 1, { task: "other" });
      expect(first.closed).toBe(true);
      expect(await reopenTarget(T0 + 2, first.id)).toEqual({
        outcome: "reopened",
        cutOff: { ...first, closed: false },
      });
      expect(await reopenTarget(T0 + 2, second.id)).toEqual({
        outcome: "not_closed",
        cutOff: { ...second, closed: false },
      });
      expect(await reopenTarget(T0 + 2, idAt("rev", T0))).toEqual({ outcome: "not_found" });
      expect((await issue(port, T0 + 3)).outcome).toBe("issued");
      expect((await issue(port, T0 + 3, { task: "other" })).outcome).toBe("cut_off");
      expect((await port.find(grant.id))?.cutOff).toBe(first.id);
      port = await opened.reopen();
      expect((await port.findCutOff(second.id))?.closed).toBe(false);
      expect((await port.findCutOff(other.id))?.closed).toBe(true);
    });

    it("keeps a cut-off until the latest expiry ever answered, and tolerance", async () => {
      const grant = await grantFrom(port, T0, { ttlSeconds: 7200 });
      const shorter = await grantFrom(port, T0, { ttlSeconds: 60 });
      await release(port, T0, grant);
      await cut(port, T0 + 1, { grant: shorter.id });
      const plain = await cut(port, T0 + 1, { agent: "coder" });
      expect(plain.keptUntil).toBe(T0 + 7_200_000 + 30_000);
      expect((await port.snapshot(plain.keptUntil)).cutOffs).toHaveLength(2);
      const later = plain.keptUntil + 1;
      await cut(port, later, { agent: "another" });
      expect((await port.snapshot(later)).cutOffs.map((each) => each.target)).toEqual([{ agent: "another" }]);
      await cut(port, later + 60_000, { agent: "another" });
      expect(await port.findCutOff(plain.id)).toBeNull();
    });

    it("forgets the closure of a grant with its cut-off: nothing can be asked for that grant any more", async () => {
      const grant = await grantFrom(port, T0);
      const cutOff = await cut(port, T0 + 1, { grant: grant.id });
      const later = cutOff.keptUntil + 1;
      expect((await port.snapshot(later - 1)).cutOffs).toEqual([cutOff]);
      expect((await port.snapshot(later)).cutOffs).toEqual([]);
      await cut(port, later, { agent: "another" });
      for (let i = 0; i < 2; i++) {
        expect(await port.findCutOff(cutOff.id)).toBeNull();
        expect((await reopenTarget(later, cutOff.id)).outcome).toBe("not_found");
        port = await opened.reopen();
      }
    });

    it("lists what still closes a task long after its grants have ended, until a person reopens it", async () => {
      const { task } = draftGrant();
      await grantFrom(port, T0);
      const closing = await cut(port, T0 + 1, { task });
      const later = closing.keptUntil + 86_400_000;
      await cut(port, later, { agent: "another" });
      const listed = async () => (await port.snapshot(later)).cutOffs.map((each) => each.number);
      expect(await listed()).toEqual([1, 2]);
      port = await opened.reopen();
      expect(await listed()).toEqual([1, 2]);
      expect(await port.findCutOff(closing.id)).toEqual(closing);
      expect(await issue(port, later)).toEqual({ outcome: "cut_off", revocation: closing.id });
      expect((await reopenTarget(later, closing.id)).outcome).toBe("reopened");
      expect(await listed()).toEqual([2]);
      expect(await port.findCutOff(closing.id)).toBeNull();
      expect((await issue(port, later)).outcome).toBe("issued");
    });

    it("says which cut-off ended a grant as long as it lists the grant, and not one that came after its end", async () => {
      const targets = [
        { agent: "a" },
        { task: "t", agent: "b" },
        { role: "r" },
        { upstream: "u" },
        { environment: "production" },
        { role: "x", agent: "c" },
      ] as const;
      const changes = [
        { agent: "a" },
        { task: "t", agent: "b" },
        { role: "r" },
        { upstream: "u" },
        { environments: ["production", "staging"] },
        { role: "x", agent: "c" },
      ];
      const grants: StoredGrant[] = [];
      for (const change of changes) grants.push(await grantFrom(port, T0, change));
      const parent = await grantFrom(port, T0);
      const child = await grantFrom(port, T0, { parents: [parent.id], agent: "helper" });
      const untouched = await grantFrom(port, T0, { agent: "d", ttlSeconds: 60 });
      const ids: string[] = [];
      await cut(port, T0 + 1, { role: "y", agent: "c" });
      for (const target of targets) ids.push((await cut(port, T0 + 1, target)).id);
      const ofParent = (await cut(port, T0 + 1, { grant: parent.id })).id;
      const last = await cut(port, T0 + 120_000, { everything: true });
      const check = async (): Promise<void> => {
        const found = [...grants, parent, child].map((each) => port.find(each.id));
        expect((await Promise.all(found)).map((each) => each?.cutOff)).toEqual([...ids, ofParent, ofParent]);
        const listed = new Map((await port.list({}, T0, 100)).map((each) => [each.grant.id, each.cutOff]));
        expect(grants.map((each) => listed.get(each.id))).toEqual(ids);
        expect([listed.get(child.id), listed.get(untouched.id)]).toEqual([ofParent, null]);
      };
      await check();
      const later = last.keptUntil + 1;
      // The first write forgets them, in memory and in the feed.
      await cut(port, later, { agent: "z" });
      await check();
      expect((await port.snapshot(later)).cutOffs.map((each) => each.target)).toEqual([
        { task: "t", agent: "b" },
        { agent: "z" },
      ]);
      port = await opened.reopen();
      await check();
      await cut(port, T0 + 29 * 86_400_000, { agent: "z" });
      await check();
    });

    it("keeps a cut-off of an empty store for the tolerance at least", async () => {
      expect((await cut(port, T0, { everything: true })).keptUntil).toBe(T0 + 30_000);
    });

    it("counts live grants that a cut-off met and no earlier one had", async () => {
      const first = await grantFrom(port, T0, { ttlSeconds: 3600 });
      await grantFrom(port, T0, { agent: "other" });
      await grantFrom(port, T0, { agent: "other", ttlSeconds: 1 });
      const gone = await grantFrom(port, T0);
      await grantFrom(port, T0, { environments: ["production", "staging"], role: "crosser", upstream: "railway" });
      await grantFrom(port, T0, { parents: [first.id], agent: "helper" });
      await release(port, T0, gone);
      const at = T0 + 2000;
      const counted = async (target: Parameters<typeof cut>[2]): Promise<number> =>
        await port.countMet({ id: idAt("rev", at), number: 99, target, before: at }, at);
      expect(await counted({ everything: true })).toBe(4);
      expect(await counted({ agent: "coder" })).toBe(2);
      expect(await counted({ agent: "other" })).toBe(1);
      expect(await counted({ task: "fix the checkout" })).toBe(4);
      expect(await counted({ role: "crosser", agent: "coder" })).toBe(1);
      expect(await counted({ environment: "production" })).toBe(1);
      expect(await counted({ environment: "staging" })).toBe(4);
      expect(await counted({ upstream: "railway" })).toBe(1);
      expect(await counted({ grant: first.id })).toBe(2);
      expect(await counted({})).toBe(0);
      const earlier = await cut(port, at, { agent: "coder" });
      await grantFrom(port, at + 1);
      expect(await port.countMet(earlier, at + 1)).toBe(2);
      const later = await cut(port, at + 2, { everything: true });
      expect(await port.countMet(later, at + 2)).toBe(3);
    });

    it("groups live grants of another policy by what they give", async () => {
      await grantFrom(port, T0);
      await grantFrom(port, T0 + 1, { ttlSeconds: 1200 });
      await grantFrom(port, T0 + 1, { agent: "other" });
      await grantFrom(port, T0 + 1, { ttlSeconds: 1, role: "short" });
      await grantFrom(port, T0 + 1, { task: "cut", role: "cut" });
      await cut(port, T0 + 1, { task: "cut" });
      expect(await port.liveShapes(POLICY, T0 + 2)).toEqual([]);
      const shapes = await port.liveShapes("b".repeat(64), T0 + 5000);
      const { permissions } = draftGrant();
      const shape = {
        agent: "coder",
        role: "domain-editor",
        upstream: "shop",
        permissions,
        demands: [],
        longestTtlSeconds: 1200,
        grants: 2,
      };
      expect(shapes.toSorted((a, b) => b.grants - a.grants)).toEqual([
        shape,
        { ...shape, agent: "other", longestTtlSeconds: 600, grants: 1 },
      ]);
    });

    it("keeps the policy in force and how far narrowing went", async () => {
      expect(await port.policyInForce()).toEqual({ digest: POLICY, swept: null });
      await port.markSwept(POLICY);
      port = await opened.reopen();
      expect(await port.policyInForce()).toEqual({ digest: POLICY, swept: POLICY });
    });

    it("has narrowing to do again after each change, also back to a policy that was swept", async () => {
      await port.markSwept(POLICY);
      expect(await switchTo(port, OTHER)).toMatchObject({ outcome: "activated" });
      expect(await port.policyInForce()).toEqual({ digest: OTHER, swept: null });
      await port.markSwept(POLICY);
      expect(await port.policyInForce()).toEqual({ digest: OTHER, swept: null });
      await switchTo(port, POLICY);
      expect(await port.policyInForce()).toEqual({ digest: POLICY, swept: null });
    });

    it("puts a policy in force over the one that was seen there, and over no other", async () => {
      const proof = proofAt(T0);
      const before = await port.head();
      for (const replaces of [OTHER, null]) {
        expect(await switchTo(port, OTHER, { replaces, proof })).toEqual({ outcome: "conflict", digest: POLICY });
      }
      expect(await port.head()).toEqual(before);
      const switched = await switchTo(port, OTHER, { replaces: POLICY, proof });
      expect(switched).toEqual({ outcome: "activated", instant: T0 });
      expect((await port.policyInForce()).digest).toBe(OTHER);
    });

    it("lets one of two win who replace the same policy at once", async () => {
      const digests = [OTHER, "c".repeat(64)];
      const done = await Promise.all(digests.map((digest) => switchTo(port, digest, { replaces: POLICY })));
      const { digest } = await port.policyInForce();
      expect(done.map(({ outcome }) => outcome).toSorted()).toEqual(["activated", "conflict"]);
      expect(done).toContainEqual({ outcome: "conflict", digest });
    });

    it("puts a policy in force once by one proof", async () => {
      const proof = proofAt(T0);
      await switchTo(port, OTHER, { proof });
      expect(await switchTo(port, POLICY, { proof })).toEqual({ outcome: "proof_replayed" });
      expect((await port.policyInForce()).digest).toBe(OTHER);
      const late = { key: "admin-1 late", issuedAt: T0 - 120_000, forgetAt: T0 - 60_000 };
      expect(await switchTo(port, POLICY, { proof: late })).toEqual({ outcome: "clock_behind", instant: T0 });
    });
  });
}
