// Grants on AWS through the front door, against a small stand-in of STS, IAM and S3 that holds each request to AWS's
// documented limits: what is sent, to the letter, and what becomes of a session when its grant is over.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { AwsCredential } from "../../src/api/grants.ts";
import { type AwsStandIn, type StandInRequest, startAwsStandIn } from "../support/aws-stand-in.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { createHolding } from "../support/holding.ts";
import { readEvents } from "../support/read-events.ts";
import {
  accountPolicy,
  BUCKET,
  isAllowed,
  KEY,
  openS3,
  OTHER_BUCKET,
  probeAt,
  read,
  ROLE_POLICY,
  write,
} from "../support/shop-account.ts";

const REGION = "eu-central-1";
const UPLOADS = { action: "object:read", resource: `shop-aws:bucket/${BUCKET}` };
const SETTINGS = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
const SEALED = "credential: { secret: shop-aws-key }";

interface Opened {
  readonly aws: AwsStandIn;
  readonly broker: TestBroker;
  grant(permissions?: readonly { action: string; resource: string }[], more?: object): Promise<Given>;
}

interface Given {
  readonly id: string;
  readonly endsAt: string | null;
  readonly credential: AwsCredential;
}

describe("a grant on AWS", { timeout: 60_000 }, () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    vi.unstubAllEnvs();
    for (const close of closing.splice(0).toReversed()) await close();
  });

  interface Options {
    readonly lines?: readonly string[];
    readonly role?: Parameters<AwsStandIn["addRole"]>[2];
    readonly before?: (aws: AwsStandIn) => unknown;
    readonly change?: (policy: string) => string;
    readonly env?: Record<string, string>;
  }

  async function open({
    lines = [SEALED],
    role: options,
    before,
    change = (policy) => policy,
    env = {},
  }: Options = {}): Promise<Opened> {
    const aws = await startAwsStandIn();
    closing.push(() => aws.close());
    for (const bucket of [BUCKET, OTHER_BUCKET]) aws.putObject(bucket, KEY, "a letter");
    const role = aws.addRole("shop-agents", ROLE_POLICY, options ?? {});
    await before?.(aws);
    const policy = change(accountPolicy({ endpoint: aws.url, region: REGION, role, lines }));
    const broker = await startTestBroker({ scopes: { "shop-aws.yaml": policy, "settings.yaml": SETTINGS }, env });
    closing.push(() => broker.close());
    if (lines.includes(SEALED)) {
      const body = { value: `${aws.root.accessKeyId}:${aws.root.secretAccessKey}`, origins: [aws.url] };
      await broker.as("admin-1").call("putSecret", { params: { name: "shop-aws-key" }, body });
    }
    const grant: Opened["grant"] = async (permissions = [UPLOADS], more = {}) => {
      const body = { task: "read the uploads", permissions: [...permissions], ...more };
      const answer = await broker.as("coder").call("requestGrant", { body });
      if (!("credential" in answer)) throw new Error(`expected a credential, found ${JSON.stringify(answer)}`);
      return { id: answer.grant.id, endsAt: answer.grant.endsAt, credential: sessionOf(answer.credential) };
    };
    return { aws, broker, grant };
  }

  function sessionOf(credential: { readonly kind: string }): AwsCredential {
    expect(credential.kind).toBe("aws");
    // By its kind.
    return credential as AwsCredential;
  }

  const s3Of = (aws: AwsStandIn, credential: AwsCredential) => openS3(aws.url, REGION, credential);
  const assumed = (aws: AwsStandIn, grant: string) =>
    aws.requests.filter(
      ({ action, parameters }) =>
        action === "AssumeRole" && parameters["RoleSessionName"]?.includes(grant.slice(4).toLowerCase()) === true,
    );
  const revoke = (broker: TestBroker, grant: string) =>
    broker.as("security-1").call("revoke", { body: { target: { grant }, reason: "odd" } });
  const deadOf = (broker: TestBroker, grant: string) =>
    vi.waitFor(
      async () => {
        const found = (await readEvents(broker)).find(
          (event) => event["type"] === "credential.dead" && event["grant"] === grant,
        );
        if (found === undefined) throw new Error("it is not dead");
        return found;
      },
      { timeout: 20_000 },
    );
  const unconfirmed = async (broker: TestBroker) =>
    (await broker.as("security-1").call("listUnconfirmed", {})).credentials;

  it("is a session that may do what it was granted, and nothing else", async () => {
    const { aws, grant } = await open();
    const { credential, endsAt } = await grant();
    const s3 = s3Of(aws, credential);
    expect(await read(s3)).toBe("a letter");
    expect(await isAllowed(read(s3, OTHER_BUCKET))).toBe(false);
    expect(await isAllowed(write(s3))).toBe(false);
    expect(credential).toMatchObject({ region: REGION, expiresAt: endsAt });
    expect(credential.accessKeyId).not.toBe(aws.root.accessKeyId);
  });

  it("asks for exactly that: name, policy, tags and all", async () => {
    const { aws, grant } = await open({
      lines: [SEALED, "externalId: shop:1"],
      role: { externalId: "shop:1" },
    });
    const { id, endsAt } = await grant([UPLOADS], { task: 'say "x"; größe <b>\u00e9 & 100 %', ttl: "90s" });
    const { Policy = "", RoleSessionName, ...others } = assumed(aws, id)[0]?.parameters ?? {};
    expect(RoleSessionName).toMatch(new RegExp(`^vk_[0-9a-f]{8}_${id.slice(4).toLowerCase()}_[0-9a-z]{8}$`));
    const end = JSON.parse(Policy) as {
      Statement: { Condition?: { DateGreaterThanEquals: Record<string, string> } }[];
    };
    const at = end.Statement[1]?.Condition?.DateGreaterThanEquals["aws:CurrentTime"] ?? "";
    expect(JSON.parse(Policy)).toEqual({
      Version: "2012-10-17",
      Statement: [
        { Effect: "Allow", Action: ["s3:GetObject"], Resource: [`arn:aws:s3:::${BUCKET}/*`] },
        { Effect: "Deny", Action: "*", Resource: "*", Condition: { DateGreaterThanEquals: { "aws:CurrentTime": at } } },
      ],
    });
    expect(Date.parse(endsAt ?? "") - Date.parse(at)).toBeGreaterThanOrEqual(-100);
    expect(Date.parse(endsAt ?? "") - Date.parse(at)).toBeLessThan(1100);
    expect(others).toMatchObject({
      RoleArn: `arn:aws:iam::${aws.account}:role/shop-agents`,
      DurationSeconds: "900",
      ExternalId: "shop:1",
      SourceIdentity: "coder",
      "Tags.member.1.Key": "valetkey:agent",
      "Tags.member.1.Value": "coder",
      "Tags.member.2.Key": "valetkey:task",
      "Tags.member.2.Value": "say _x__ größe _b_é _ 100 _",
      "Tags.member.3.Key": "valetkey:grant",
      "Tags.member.3.Value": id,
      "Tags.member.4.Key": "valetkey:environment",
      "Tags.member.4.Value": "staging",
    });
  });

  it("is over to the second, also where a bucket's policy names the session", async () => {
    const { aws, broker, grant } = await open();
    const { id, credential } = await grant([UPLOADS], { ttl: "2s" });
    const name = assumed(aws, id)[0]?.parameters["RoleSessionName"] ?? "";
    aws.addBucketGrant(OTHER_BUCKET, `arn:aws:sts::${aws.account}:assumed-role/shop-agents/${name}`);
    const s3 = s3Of(aws, credential);
    expect(await isAllowed(read(s3, OTHER_BUCKET))).toBe(true);
    await vi.waitFor(async () => expect(await isAllowed(read(s3, OTHER_BUCKET))).toBe(false), { timeout: 5000 });
    expect(await isAllowed(read(s3))).toBe(false);
    broker.clock.advance(3000);
    expect(await deadOf(broker, id)).toMatchObject({ cause: "expiry", kind: "aws" });
    expect(aws.inlinePolicy("shop-agents", `${name.slice(0, 12)}revoked`) ?? "").not.toContain(name);
  });

  it("is refused after a revocation, which is seen before it is on record; other grants go on", async () => {
    const { aws, broker, grant } = await open();
    const [one, other] = [await grant(), await grant()];
    aws.knobs.propagationMs = 700;
    await revoke(broker, one.id);
    const dead = await deadOf(broker, one.id);
    expect(await isAllowed(read(s3Of(aws, one.credential)))).toBe(false);
    expect(dead).toMatchObject({ cause: expect.stringMatching(/^rev_/), upstream: "shop-aws", kind: "aws" });
    expect(Number(dead["milliseconds"])).toBeGreaterThanOrEqual(700);
    expect(dead).not.toHaveProperty("also");
    expect(await read(s3Of(aws, other.credential))).toBe("a letter");
    expect(await unconfirmed(broker)).toEqual([]);
    const kept = JSON.stringify(await readEvents(broker)) + broker.log.join("\n");
    const { secretAccessKey, sessionToken } = one.credential;
    for (const secret of [secretAccessKey, sessionToken, aws.root.secretAccessKey]) expect(kept).not.toContain(secret);
  });

  it("takes no right but those of docs/aws.md", async () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/aws.md"), "utf8");
    const [trust, rights] = [...page.matchAll(/^```json\n(.*?)^```/gms)].map(([, text = ""]) => {
      const { Statement } = JSON.parse(text) as { Statement: { Action: string[] }[] };
      return Statement.flatMap(({ Action }) => Action).toSorted();
    });
    expect(trust).toEqual(["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]);
    const { aws, broker, grant } = await open();
    const { id } = await grant();
    await revoke(broker, id);
    await deadOf(broker, id);
    const asked = aws.requests.filter(({ accessKeyId }) => accessKeyId === aws.root.accessKeyId);
    // What comes with AssumeRole is no call of its own.
    const calls = new Set(asked.map(({ service, action }) => `${service}:${action}`));
    expect([...calls, "sts:SetSourceIdentity", "sts:TagSession"].toSorted()).toEqual(rights);
  });

  it("says that a revocation waits for the end where the broker has no rights of IAM's, and that it is not dead", async () => {
    const before = (stand: AwsStandIn): Promise<void> => {
      stand.knobs.denyIam = true;
      return stubContainer(stand);
    };
    const { aws, broker, grant } = await open({ lines: [], before });
    await vi.waitFor(() => expect(broker.log.join("\n")).toContain("what is revoked lives until its grant ends"));
    const { id, credential } = await grant();
    await revoke(broker, id);
    await vi.waitFor(async () => expect(await unconfirmed(broker)).toMatchObject([{ grant: id, attempts: 1 }]), {
      timeout: 10_000,
    });
    expect((await unconfirmed(broker))[0]?.failure).toContain("it waits for the grant's end");
    expect(await read(s3Of(aws, credential))).toBe("a letter");
    broker.clock.advance(11 * 60_000);
    await deadOf(broker, id);
    expect(await unconfirmed(broker)).toEqual([]);
  });

  it("is dead at its end also where its definition is gone by then, and is not waited for any longer", async () => {
    const { broker, grant } = await open();
    const { id } = await grant();
    broker.writeScopes("shop-aws.yaml", "");
    await broker.broker.reload();
    await broker.putInForce();
    await vi.waitFor(async () => expect((await unconfirmed(broker))[0]?.failure).toContain("is not defined any more"), {
      timeout: 20_000,
    });
    broker.clock.advance(11 * 60_000);
    await deadOf(broker, id);
    await vi.waitFor(async () => expect(await unconfirmed(broker)).toEqual([]));
  });

  it("counts as dead at its end, and not before, where there is no probe", async () => {
    const { broker, aws, grant } = await open({ change: (policy) => policy.replace(/^probe:.*\n(?: {2}.*\n)+/m, "") });
    const { id, credential } = await grant();
    await revoke(broker, id);
    await vi.waitFor(async () => expect((await unconfirmed(broker))[0]?.failure).toContain("without a `probe`"), {
      timeout: 10_000,
    });
    expect(await isAllowed(read(s3Of(aws, credential)))).toBe(false);
    broker.clock.advance(11 * 60_000);
    await deadOf(broker, id);
  });

  it("believes no probe that is refused to everybody", async () => {
    const { aws, broker, grant } = await open();
    const { id } = await grant();
    const { service } = probeAt(aws.url);
    aws.knobs.fail = (request) =>
      request.service === service && request.action === "ListBucket"
        ? { status: 403, code: "AccessDenied", message: "it is maintenance" }
        : null;
    await revoke(broker, id);
    await vi.waitFor(async () => expect((await unconfirmed(broker))[0]?.failure).toContain("counts for nothing"), {
      timeout: 20_000,
    });
    aws.knobs.fail = () => null;
    await deadOf(broker, id);
  });

  it.each([
    ["ten minutes ahead", 600_000],
    ["ten minutes behind", -600_000],
    ["three seconds ahead", 3000],
  ])("ends on time at an AWS whose clock is %s", async (_, offset) => {
    const { aws, grant } = await open({ before: ({ knobs }) => void (knobs.clockOffsetMs = offset) });
    const begun = performance.now();
    const { credential } = await grant([UPLOADS], { ttl: "4s" });
    const s3 = new (await import("@aws-sdk/client-s3")).S3Client({
      endpoint: aws.url,
      region: REGION,
      credentials: credential,
      forcePathStyle: true,
    });
    expect(await read(s3)).toBe("a letter");
    // Of the reads that were let in: when the last began.
    let lasted = 0;
    for (let at = performance.now(); await isAllowed(read(s3)); at = performance.now()) lasted = at - begun;
    expect(lasted).toBeLessThan(6500);
  });

  it("has another session when its grant outlives the first, under the same name", async () => {
    const { aws, broker, grant } = await open({ lines: [SEALED, "maxSession: 15m"] });
    const { id, credential, endsAt } = await grant([UPLOADS], { ttl: "30m" });
    expect(Date.parse(credential.expiresAt)).toBeLessThan(Date.parse(endsAt ?? "") - 14 * 60_000);
    const next = sessionOf((await broker.as("coder").call("renewCredential", { params: { id } })).credential);
    expect(next.accessKeyId).not.toBe(credential.accessKeyId);
    expect(new Set(assumed(aws, id).map(({ parameters }) => parameters["RoleSessionName"])).size).toBe(1);
    await revoke(broker, id);
    await deadOf(broker, id);
    for (const each of [credential, next]) expect(await isAllowed(read(s3Of(aws, each)))).toBe(false);
  });

  it("is held where policy demands approvals, gives nothing before, and people sign what it stands for", async () => {
    const { aws, broker } = await open();
    const permissions = [{ action: "object:delete", resource: `shop-aws:object/${BUCKET}/${KEY}` }];
    broker.writeScopes(
      "more.yaml",
      `kind: Resource\nid: shop-aws:object/${BUCKET}/${KEY}\nlabels: { environment: staging }\n`,
    );
    await broker.broker.reload();
    await broker.putInForce();
    const body = { task: "delete a letter", permissions, reason: "not used" };
    const answer = await broker.as("coder").call("requestGrant", { body });
    if (!("hold" in answer)) throw new Error("expected it to be held");
    expect(assumed(aws, answer.grant.id)).toEqual([]);
    const { document } = await broker.as("oncall-1").call("readHold", { params: { id: answer.hold.id } });
    expect(document.subject).toMatchObject({
      credential: "aws",
      providerPolicy: {
        kind: "aws",
        statements: [{ actions: ["s3:DeleteObject"], resources: [`arn:aws:s3:::${BUCKET}/${KEY}`] }],
      },
    });
    await createHolding(broker).sign("oncall-1", answer.hold.id);
    const renewed = await vi.waitFor(() =>
      broker.as("coder").call("renewCredential", { params: { id: answer.grant.id } }),
    );
    const { DeleteObjectCommand } = await import("@aws-sdk/client-s3");
    await s3Of(aws, sessionOf(renewed.credential)).send(new DeleteObjectCommand({ Bucket: BUCKET, Key: KEY }));
    expect(aws.hasObject(BUCKET, KEY)).toBe(false);
  });

  it("is refused where a permission maps to nothing, or all of them are one too many for AWS", async () => {
    const { aws, broker, grant } = await open();
    broker.writeScopes(
      "more.yaml",
      `kind: Resource\nid: shop-aws:table/orders\nlabels: { environment: staging }\n---\n${Array.from({ length: 31 }, (_, i) => `kind: Resource\nid: shop-aws:object/${BUCKET}/${"k".repeat(60)}${i}\nlabels: { environment: staging }\n`).join("---\n")}`,
    );
    await broker.broker.reload();
    await broker.putInForce();
    const asked = aws.requests.length;
    await expect(grant([{ action: "object:read", resource: "shop-aws:table/orders" }])).rejects.toMatchObject({
      code: "operation_unlisted",
    });
    const many = Array.from({ length: 31 }, (_, i) => {
      return { action: "object:read", resource: `shop-aws:object/${BUCKET}/${"k".repeat(60)}${i}` };
    });
    await expect(grant(many)).rejects.toMatchObject({ code: "too_large" });
    const forGrants = ({ parameters }: StandInRequest): boolean =>
      /^vk_[0-9a-f]{8}_[0-9a-z]{26}_/.test(parameters["RoleSessionName"] ?? "");
    expect(aws.requests.slice(asked).filter(forGrants)).toEqual([]);
  });

  it.each([
    ["a role that does not trust it", { trusts: ["arn:aws:iam::999999999999:root"] }, /AccessDenied/],
    ["a role that lets no session be tagged", { letsTag: false }, /AccessDenied/],
    ["a role that takes no source identity", { letsSetSourceIdentity: false }, /AccessDenied/],
    ["a role whose sessions are shorter", { maxSessionSeconds: 3600 }, /ValidationError/, "maxSession: 2h", "2h"],
  ] as const)(
    "says at the broker what AWS says, and ends the grant, for %s",
    async (_, role, says, line?: string, ttl: string = "90s") => {
      const change = (policy: string): string => policy.replace("max: 30m", "max: 4h");
      const env = { VALETKEY_MAX_TTL: "4h" };
      const { broker, grant } = await open({
        role,
        lines: line === undefined ? [SEALED] : [SEALED, line],
        change,
        env,
      });
      const failure = await grant([UPLOADS], { task: "doomed", ttl }).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(failure).toMatchObject({ code: "upstream_failed", message: expect.stringMatching(says) });
      const { grants } = await broker.as("coder").call("listGrants", { query: { task: "doomed" } });
      expect(grants).toMatchObject([{ status: "ended", endedBy: "credential.failed" }]);
    },
  );

  it("tries again where AWS is throttling, and is gone where it keeps on", async () => {
    const { aws, broker, grant } = await open();
    let times = 2;
    const throttle = (): { status: number; code: string; message: string } => ({
      status: 400,
      code: "Throttling",
      message: "Rate exceeded",
    });
    aws.knobs.fail = ({ action }) => (action === "AssumeRole" && times-- > 0 ? throttle() : null);
    await grant();
    aws.knobs.fail = ({ action }) => (action === "AssumeRole" ? throttle() : null);
    await expect(grant([UPLOADS], { task: "doomed" })).rejects.toMatchObject({ code: "upstream_failed" });
    const types = (await readEvents(broker)).filter((event) => event["task"] === "doomed").map(({ type }) => type);
    expect(types.slice(0, 3)).toEqual(["grant.issued", "credential.ordered", "credential.failed"]);
  });

  it("ends what AWS may have made, where the answer was lost", async () => {
    const { aws, broker, grant } = await open();
    let lost = "";
    aws.knobs.fail = ({ action, parameters }) => {
      if (action !== "AssumeRole" || !parameters["RoleSessionName"]?.includes("_01")) return null;
      lost = parameters["RoleSessionName"];
      return "reset";
    };
    await expect(grant([UPLOADS], { task: "doomed" })).rejects.toMatchObject({ code: "upstream_timeout" });
    aws.knobs.fail = () => null;
    broker.clock.advance(21_000);
    const { grants } = await broker.as("coder").call("listGrants", { query: { task: "doomed" } });
    await deadOf(broker, grants[0]?.id ?? "");
    expect(aws.inlinePolicy("shop-agents", `${lost.slice(0, 12)}revoked`)).toContain(lost);
  });

  describe("the broker's own identity", () => {
    it("is its workload's, as AWS's SDKs find it", async () => {
      const opened = await open({ lines: [], before: (aws) => stubContainer(aws) });
      const { credential } = await opened.grant();
      expect(await read(s3Of(opened.aws, credential))).toBe("a letter");
    });

    it("is no static key that lies about in the environment", async () => {
      const { broker, grant } = await open({
        lines: [],
        before: (aws) => {
          vi.stubEnv("AWS_ACCESS_KEY_ID", aws.root.accessKeyId);
          vi.stubEnv("AWS_SECRET_ACCESS_KEY", aws.root.secretAccessKey);
        },
      });
      await expect(grant()).rejects.toMatchObject({ code: "secret_unavailable" });
      await vi.waitFor(() => expect(broker.log.join("\n")).toContain("a static AWS key in its environment"));
      // Nobody was asked for anything.
      expect(await unconfirmed(broker)).toEqual([]);
    });

    it("is a sealed key where there is no other way, with a warning at start", async () => {
      const { broker, grant } = await open();
      await grant();
      const restarted = await broker.restart();
      closing.push(() => restarted.close());
      await vi.waitFor(() => expect(restarted.log.join("\n")).toContain("uses a static key"));
      expect(JSON.stringify(await readEvents(restarted))).not.toMatch(/AKIA|ASIA/);
    });

    it("goes through other roles on the way", async () => {
      const { aws, grant } = await open({
        lines: [SEALED, 'through: [{ role: "arn:aws:iam::123456789012:role/hop", externalId: hop-1 }]'],
        before: (stand) => void stand.addRole("hop", ROLE_POLICY, { externalId: "hop-1" }),
        change: (policy) => policy,
        role: { trusts: ["arn:aws:iam::123456789012:role/hop"] },
      });
      const { credential } = await grant();
      expect(await read(s3Of(aws, credential))).toBe("a letter");
      const hops = aws.requests.filter(({ parameters }) => parameters["RoleArn"]?.endsWith("/hop") === true);
      expect(hops[0]?.parameters).toMatchObject({ RoleSessionName: "valetkey", ExternalId: "hop-1" });
    });
  });

  /** A container's, as ECS gives it: on loopback, for its token. */
  async function stubContainer({ own }: AwsStandIn): Promise<void> {
    const { accessKeyId, secretAccessKey, sessionToken } = own;
    const keys = { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken };
    const agent = createServer((req, res) => {
      res.writeHead(req.headers.authorization === "token-of-the-container" ? 200 : 403);
      res.end(JSON.stringify({ ...keys, Expiration: "2099-01-01T00:00:00Z" }));
    });
    await new Promise<void>((settle) => agent.listen(0, "127.0.0.1", settle));
    closing.push(() => new Promise((settle) => agent.close(settle)));
    // By the shape of Node's API.
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `http://127.0.0.1:${(agent.address() as AddressInfo).port}/`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token-of-the-container");
  }
});
