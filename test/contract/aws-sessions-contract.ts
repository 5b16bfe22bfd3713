// What sessions of AWS are on any server that speaks its language, beside the contract of all credentials: over to the
// second, denied one by one or with their role, and wider than nothing.

import { IAMClient, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import { expect, it } from "vitest";
import { MAX_SESSION_POLICY, sessionPolicy } from "../../src/core/aws-policy.ts";
import type { AwsPolicy } from "../../src/core/hold-document.ts";
import { createAws } from "../../src/credentials/aws.ts";
import type { AwsSession, CredentialSystem, Login, Order } from "../../src/credentials/credential-system.ts";
import { systemClock } from "../../src/core/clock.ts";
import { isAllowed, KEY, openS3, OTHER_BUCKET, probeAt, read, READING, write } from "../support/shop-account.ts";
import { describeCredentialSystem, ENDS_IN_MS, orderOf } from "./credential-systems-contract.ts";

export interface AwsServer {
  readonly endpoint: string;
  readonly region: string;
  readonly role: string;
  /** `ID:SECRET` of the broker's. */
  readonly key: string;
}

type Changes = Partial<Parameters<typeof createAws>[0]>;

export function openAws({ endpoint, region, role, key }: AwsServer, changes: Changes = {}): CredentialSystem {
  return createAws({
    name: "shop-aws",
    region,
    role: { arn: role, externalId: null },
    through: [],
    endpoints: { sts: endpoint, iam: endpoint },
    address: role,
    maxSessionSeconds: 3600,
    probe: probeAt(endpoint),
    ca: null,
    addresses: ["127.0.0.1/32"],
    prefix: "vk_00000000_",
    openKey: () => Promise.resolve(key),
    clock: systemClock,
    ...changes,
  });
}

export function sessionOf(login: Login): AwsSession {
  if (login.kind !== "aws") throw new Error(`expected a session of AWS, found ${login.kind}`);
  return login;
}

export function describeAwsSessions(name: string, server: () => AwsServer): void {
  const opened: CredentialSystem[] = [];
  const system = (): CredentialSystem => (opened[0] ??= openAws(server()));
  /** Somebody puts nothing in place of what the broker wrote. */
  const forget = async (): Promise<void> => {
    const { endpoint, region, role, key } = server();
    const [accessKeyId = "", secretAccessKey = ""] = key.split(":");
    const iam = new IAMClient({ endpoint, region, credentials: { accessKeyId, secretAccessKey } });
    const nobody = { StringLike: { "aws:userid": ["*:nobody"] } };
    const statement = { Sid: "Another", Effect: "Deny", Action: "*", Resource: "*", Condition: nobody };
    const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
    const RoleName = role.slice(role.lastIndexOf("/") + 1);
    await iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: "vk_00000000_revoked", PolicyDocument }));
  };
  const s3Of = (login: Login) => openS3(server().endpoint, server().region, sessionOf(login));

  describeCredentialSystem(name, () => ({
    system: system(),
    reading: READING,
    impossible: tooLong(),
    refusal: /refused/,
    use: async (login) => {
      const s3 = s3Of(login);
      const [reads, changes] = [await isAllowed(read(s3)), await isAllowed(write(s3))];
      if (!reads && !changes) throw new Error("refused");
      return { reads, changes };
    },
    stay: (login) => {
      const s3 = s3Of(login);
      return Promise.resolve(() => isAllowed(read(s3)));
    },
    left: () => Promise.resolve([]),
  }));

  it("reads what it was granted, and no other object, bucket or action", async () => {
    const policy = {
      ...READING,
      statements: [{ actions: ["s3:GetObject"], resources: [`arn:aws:s3:::shop-uploads/${KEY}`] }],
    };
    const asked = orderOf(policy);
    const { login } = await system().make(asked);
    const s3 = s3Of(login);
    expect(await read(s3)).toBe("a letter");
    expect(await isAllowed(read(s3, "shop-uploads", "letters/b.txt"))).toBe(false);
    expect(await isAllowed(read(s3, OTHER_BUCKET))).toBe(false);
    expect(await isAllowed(write(s3, "shop-uploads", KEY))).toBe(false);
  });

  it("is over when its grant is, though AWS gives 15 minutes at least", async () => {
    const asked: Order = { ...orderOf(READING), endsInMs: 3000 };
    const begun = performance.now();
    const { login, lastsMs } = await system().make(asked);
    expect(lastsMs).toBeGreaterThan(800_000);
    const s3 = s3Of(login);
    // Of the reads that were let in: when the last began.
    let lasted = 0;
    for (let at = performance.now(); await isAllowed(read(s3)); at = performance.now()) lasted = at - begun;
    // By whole seconds, and no later.
    expect(lasted).toBeGreaterThan(500);
    expect(lasted).toBeLessThan(4000);
    expect(await system().end(asked.handle, 3000 - (performance.now() - begun))).toBeNull();
  });

  it("is denied for as long as it could live, also by a broker that knows nothing of it", async () => {
    const asked = orderOf(READING);
    const { login } = await system().make(asked);
    await openAws(server()).end(asked.handle, ENDS_IN_MS);
    await openAws(server()).end(orderOf(READING).handle, ENDS_IN_MS);
    expect(await isAllowed(read(s3Of(login)))).toBe(false);
  });

  it("stays denied when somebody writes over it", async () => {
    const [mine, other] = [openAws(server()), openAws(server())];
    const asked = orderOf(READING);
    const { login } = await mine.make(asked);
    await mine.end(asked.handle, ENDS_IN_MS);
    await forget();
    expect(await isAllowed(read(s3Of(login)))).toBe(true);
    // Another broker, whose turn it is not, writes nothing.
    await other.examine([], false);
    expect(await isAllowed(read(s3Of(login)))).toBe(true);
    await mine.examine([], true);
    await mine.examine([], true);
    expect(await isAllowed(read(s3Of(login)))).toBe(false);
  });

  it("denies the whole role where there is no room for one more, says so, and lets in what begins after", async () => {
    const fresh = openAws(server());
    const { login: bystander } = await fresh.make(orderOf(READING));
    expect(await isAllowed(read(s3Of(bystander)))).toBe(true);
    // As long as real ones are.
    const handles = Array.from({ length: 220 }, () => orderOf(READING).handle.padEnd(47, "x"));
    const also = await Promise.all(handles.map((handle) => fresh.end(handle, ENDS_IN_MS)));
    expect(also.filter((said) => said !== null)[0]).toMatch(/^every session of .*role\/shop-agents that had begun/);
    expect(await isAllowed(read(s3Of(bystander)))).toBe(false);
    const after = orderOf(READING);
    const { login } = await fresh.make(after);
    expect(await isAllowed(read(s3Of(login)))).toBe(true);
    expect(await fresh.end(after.handle, ENDS_IN_MS)).toBeNull();
    expect(await isAllowed(read(s3Of(login)))).toBe(false);
  });
}

/** By one character. Of many ARNs: a very long one ends Ceph's gateway. */
function tooLong(): AwsPolicy {
  const ofLength = (lengths: readonly number[]): AwsPolicy => {
    const resources = lengths.map((length, i) => `arn:aws:s3:::shop-uploads/${i}${"k".repeat(length)}`);
    return { ...READING, statements: [{ actions: ["s3:GetObject"], resources }] };
  };
  const lengths = Array.from({ length: 14 }, () => 80);
  const left = MAX_SESSION_POLICY + 1 - sessionPolicy(ofLength([...lengths, 0]).statements, 0).length;
  return ofLength([...lengths, left]);
}
