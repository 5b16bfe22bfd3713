// Sessions of AWS on a real STS, IAM and S3, which enforce session policies and role policies as AWS does: Ceph's gateway.
// What it does not do as AWS does is in docs/aws.md, and tried at the level of the request in test/contract.

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { AwsCredential } from "../../src/api/grants.ts";
import { describeAwsSessions, openAws } from "../contract/aws-sessions-contract.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { type CephServer, hasCeph, startCeph } from "../support/ceph-server.ts";
import { readEvents } from "../support/read-events.ts";
import {
  accountPolicy,
  BUCKET,
  isAllowed,
  KEY,
  openS3,
  OTHER_BUCKET,
  read,
  ROLE_POLICY,
  write,
} from "../support/shop-account.ts";

describe.skipIf(!hasCeph)("Ceph's object gateway", { timeout: 60_000 }, () => {
  let ceph: CephServer;
  let role: string;
  const server = () => {
    const { endpoint, region, broker } = ceph;
    return { endpoint, region, role, key: `${broker.accessKeyId}:${broker.secretAccessKey}` };
  };

  beforeAll(async () => {
    ceph = await startCeph();
    role = await ceph.addRole("shop-agents", ROLE_POLICY);
    for (const bucket of [BUCKET, OTHER_BUCKET]) {
      await ceph.putObject(bucket, KEY, "a letter");
      await ceph.putObject(bucket, "letters/b.txt", "another");
    }
  }, 180_000);
  afterAll(() => ceph.stop());

  describeAwsSessions("Ceph", server);

  it("is found fit by the broker, but for its static key", async () => {
    const { faults, notes } = await openAws(server()).examine([], true);
    expect([faults, notes]).toEqual([[], [expect.stringContaining("static key")]]);
  });

  it("is told to have a probe that says something", async () => {
    const probe = {
      url: `${ceph.endpoint}/${BUCKET}?list-type=2`,
      service: "s3",
      allow: "s3:GetObject",
      on: "arn:aws:s3:::x",
    };
    const { faults } = await openAws(server(), { probe }).examine([], true);
    expect(faults).toEqual([expect.stringContaining("has to allow s3:GetObject on arn:aws:s3:::x")]);
  });

  describe("through the broker", () => {
    let broker: TestBroker;
    beforeAll(async () => {
      const lines = ["credential: { secret: shop-aws-key }"];
      const policy = accountPolicy({ ...server(), lines });
      broker = await startTestBroker({ scopes: { "shop-aws.yaml": policy } });
      const body = { value: server().key, origins: [ceph.endpoint] };
      await broker.as("admin-1").call("putSecret", { params: { name: "shop-aws-key" }, body });
    });
    afterAll(() => broker.close());

    it("reads what its grant allows, writes nothing, and is refused after a revocation", async () => {
      const permissions = [{ action: "object:read", resource: `shop-aws:bucket/${BUCKET}` }];
      const answer = await broker.as("coder").call("requestGrant", { body: { task: "read", permissions } });
      if (!("credential" in answer) || answer.credential.kind !== "aws") throw new Error("expected a session");
      const s3 = openS3(ceph.endpoint, ceph.region, answer.credential satisfies AwsCredential);
      expect(await read(s3)).toBe("a letter");
      expect(await isAllowed(write(s3))).toBe(false);
      expect(await isAllowed(read(s3, OTHER_BUCKET))).toBe(false);
      const target = { grant: answer.grant.id };
      await broker.as("security-1").call("revoke", { body: { target, reason: "odd" } });
      await vi.waitFor(async () => expect(await isAllowed(read(s3))).toBe(false), { timeout: 20_000 });
      const dead = await vi.waitFor(async () => {
        const found = (await readEvents(broker)).find(({ type }) => type === "credential.dead");
        expect(found).toBeDefined();
        return found;
      });
      expect(dead).toMatchObject({ kind: "aws", grant: answer.grant.id, cause: expect.stringMatching(/^rev_/) });
    });
  });
});
