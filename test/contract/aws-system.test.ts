// Runs the contract of credentials, and what sessions of AWS are beside it, against a small stand-in of STS, IAM and S3;
// test/aws runs it on a real one. Here too what only AWS does: room for policies that others use, names of errors, limits.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_ROLE_POLICIES, NO_DENIALS, printDenials, withDenied } from "../../src/credentials/aws-denials.ts";
import type { Login } from "../../src/credentials/credential-system.ts";
import { type AwsStandIn, startAwsStandIn } from "../support/aws-stand-in.ts";
import { BUCKET, isAllowed, KEY, openS3, OTHER_BUCKET, read, READING, ROLE_POLICY } from "../support/shop-account.ts";
import { describeAwsSessions, openAws, sessionOf } from "./aws-sessions-contract.ts";
import { ENDS_IN_MS, orderOf } from "./credential-systems-contract.ts";

describe("AWS's stand-in", { timeout: 60_000 }, () => {
  let aws: AwsStandIn;
  let role: string;
  const region = "us-east-1";
  const server = () => {
    return { endpoint: aws.url, region, role, key: `${aws.root.accessKeyId}:${aws.root.secretAccessKey}` };
  };

  beforeAll(async () => {
    aws = await startAwsStandIn();
    role = aws.addRole("shop-agents", ROLE_POLICY);
    for (const bucket of [BUCKET, OTHER_BUCKET])
      for (const key of [KEY, "letters/b.txt"]) aws.putObject(bucket, key, "a letter");
  });
  afterAll(() => aws.close());

  describeAwsSessions("AWS's stand-in", server);

  it("denies the whole role also where others have used up the room for its policies", async () => {
    const arn = aws.addRole("crowded", ROLE_POLICY);
    const system = openAws({ ...server(), role: arn });
    const asked = orderOf(READING);
    const { login } = await system.make(asked);
    aws.knobs.otherInlineCharacters = 10_200;
    try {
      // Not even that fits: it is said, and nothing is called dead.
      await expect(system.end(asked.handle, ENDS_IN_MS)).rejects.toThrow("LimitExceeded");
      aws.knobs.otherInlineCharacters = 9500;
      const handles = Array.from({ length: 30 }, () => orderOf(READING).handle.padEnd(47, "x"));
      const also = await Promise.all([asked.handle, ...handles].map((handle) => system.end(handle, ENDS_IN_MS)));
      expect(also.some((said) => said !== null)).toBe(true);
    } finally {
      aws.knobs.otherInlineCharacters = 0;
    }
    expect(await isAllowed(read(openS3(aws.url, region, sessionOf(login))))).toBe(false);
  });

  it("is sent no policy of a role that is larger than it takes", () => {
    const sizes = aws.requests
      .filter(({ action }) => action === "PutRolePolicy")
      .map(({ parameters }) => (parameters["PolicyDocument"] ?? "").length);
    expect(sizes.length).toBeGreaterThan(2);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10_240);
  });

  it("begins no session that would be cut off with the whole role", async () => {
    const system = openAws({ ...server(), role: aws.addRole("cut", ROLE_POLICY) });
    // Room for one.
    const [first, second] = [orderOf(READING), orderOf(READING)].map(({ handle }) => handle.padEnd(47, "x"));
    const denials = withDenied(NO_DENIALS, first ?? "", Date.now());
    aws.knobs.otherInlineCharacters = MAX_ROLE_POLICIES - printDenials(denials).length;
    const made = Promise.withResolvers<Login>();
    // As soon as the moment is on its way to AWS.
    aws.knobs.fail = ({ parameters }) => {
      if (!(parameters["PolicyDocument"] ?? "").includes("aws:TokenIssueTime")) return null;
      aws.knobs.fail = () => null;
      void system.make(orderOf(READING)).then(({ login }) => made.resolve(login), made.reject);
      return null;
    };
    try {
      expect(await system.end(first ?? "", ENDS_IN_MS)).toBeNull();
      expect(await system.end(second ?? "", ENDS_IN_MS)).toMatch(/^every session/);
      expect(await isAllowed(read(openS3(aws.url, region, sessionOf(await made.promise))))).toBe(true);
    } finally {
      aws.knobs.otherInlineCharacters = 0;
      aws.knobs.fail = () => null;
    }
  });

  it("denies a session also where another broker wrote at the same moment", async () => {
    const system = openAws({ ...server(), role: aws.addRole("shared", ROLE_POLICY) });
    const asked = orderOf(READING);
    const { login } = await system.make(asked);
    let other: "to come" | "on its way" | "done" = "to come";
    // After the broker has written, and before it looks.
    aws.knobs.fail = ({ action }) => {
      if (action === "PutRolePolicy" && other === "to come") other = "on its way";
      else if (action === "GetRolePolicy" && other === "on its way") {
        other = "done";
        aws.putRolePolicy(
          "shared",
          "vk_00000000_revoked",
          printDenials({ before: null, names: new Map([["vk_2", 0]]) }),
        );
      }
      return null;
    };
    try {
      expect(await system.end(asked.handle, ENDS_IN_MS)).toBeNull();
    } finally {
      aws.knobs.fail = () => null;
    }
    expect(other).toBe("done");
    expect(await isAllowed(read(openS3(aws.url, region, sessionOf(login))))).toBe(false);
  });

  it("is denied what another broker has let go, by none that has left it to that", async () => {
    const system = openAws({ ...server(), role: aws.addRole("left", ROLE_POLICY) });
    const [first, second] = [orderOf(READING), orderOf(READING)];
    await system.end(first.handle, ENDS_IN_MS);
    await system.examine([], false);
    aws.putRolePolicy("left", "vk_00000000_revoked", printDenials({ before: null, names: new Map([["vk_2", 0]]) }));
    await system.end(second.handle, ENDS_IN_MS);
    const written = aws.inlinePolicy("left", "vk_00000000_revoked");
    expect(written).toContain(second.handle);
    expect(written).not.toContain(first.handle);
  });

  it("is sent no tag that is longer than it takes", async () => {
    const asked = orderOf(READING);
    const count = aws.requests.length;
    const made = openAws(server()).make({ ...asked, subject: { ...asked.subject, task: "x".repeat(257) } });
    await expect(made).rejects.toThrow("the session tag task would be 257 characters long, and AWS takes 256");
    expect(aws.requests).toHaveLength(count);
  });

  it("is believed no key that is none", async () => {
    const keys = "<SecretAccessKey>a\nb</SecretAccessKey><SessionToken>c</SessionToken>";
    const until = new Date(Date.now() + 900_000).toISOString();
    const given = `<Credentials><AccessKeyId>ASIA</AccessKeyId>${keys}<Expiration>${until}</Expiration></Credentials>`;
    const odd = createServer((_req, res) => {
      res.end(`<AssumeRoleResponse><AssumeRoleResult>${given}</AssumeRoleResult></AssumeRoleResponse>`);
    });
    odd.listen(0, "127.0.0.1");
    await once(odd, "listening");
    // Of a server that listens on a port.
    const { port } = odd.address() as AddressInfo;
    const made = openAws({ ...server(), endpoint: `http://127.0.0.1:${port}` }).make(orderOf(READING));
    await expect(made).rejects.toThrow("AWS answered without a credential");
    odd.closeAllConnections();
    odd.close();
  });

  it("is connected to at no private address that its definition does not name", async () => {
    const system = openAws(server(), { addresses: [] });
    await expect(system.make(orderOf(READING))).rejects.toThrow("leads to a private or special address");
  });

  it("is told by its own words when it refuses, in one line of bounded length", async () => {
    aws.knobs.fail = () => ({ status: 400, code: "Odd", message: `no\n\u001b[31m ${"x".repeat(5000)}` });
    try {
      const failure = await openAws(server())
        .make(orderOf(READING))
        .catch((thrown: unknown) => thrown);
      const text = failure instanceof Error ? failure.message : "";
      expect(text).toMatch(/^upstream shop-aws: AWS refused sts:AssumeRole: Odd: no \[31m x+$/);
      expect(text.length).toBeLessThan(600);
    } finally {
      aws.knobs.fail = () => null;
    }
  });

  it("reads no more of an answer than it could be", async () => {
    const message = "x".repeat(2 * 1024 * 1024);
    aws.knobs.fail = () => ({ status: 400, code: "Odd", message });
    try {
      await expect(openAws(server()).make(orderOf(READING))).rejects.toThrow("its answer is too large");
    } finally {
      aws.knobs.fail = () => null;
    }
  });

  it("never has its answer for longer than the time of a call", async () => {
    aws.knobs.fail = () => "hang";
    try {
      const timeout = { code: "upstream_timeout", retryAfterSeconds: 5 };
      await expect(openAws(server()).make(orderOf(READING))).rejects.toMatchObject(timeout);
    } finally {
      aws.knobs.fail = () => null;
    }
  });

  it("is not asked for longer than the time of a call while the broker's own identity is looked for", async () => {
    const system = openAws(server(), { openKey: () => new Promise(() => undefined) });
    await expect(system.make(orderOf(READING))).rejects.toMatchObject({ code: "upstream_timeout" });
  });

  describe("holds requests to AWS's limits", () => {
    const policy = JSON.stringify(ROLE_POLICY);
    const fit = { RoleSessionName: "vk_1", DurationSeconds: 900, Policy: policy, SourceIdentity: "coder" };
    it.each([
      ["14 minutes", { DurationSeconds: 899 }, "ValidationError"],
      ["longer than the role", { DurationSeconds: 3601 }, "ValidationError"],
      ["a name of one letter", { RoleSessionName: "x" }, "ValidationError"],
      ["a name of 65", { RoleSessionName: "x".repeat(65) }, "ValidationError"],
      ["a name with a space", { RoleSessionName: "vk 1" }, "ValidationError"],
      ["a policy of 2049 characters", { Policy: policy.padEnd(2049) }, "ValidationError"],
      ["a policy that is none", { Policy: "{}" }, "MalformedPolicyDocumentException"],
      ["a tag's value of 257", { Tags: [{ Key: "k", Value: "v".repeat(257) }] }, "ValidationError"],
      ["a tag with a quote", { Tags: [{ Key: "k", Value: '"' }] }, "ValidationError"],
      ["a tag of AWS's", { Tags: [{ Key: "aws:k", Value: "v" }] }, "ValidationError"],
      ["a source identity of one letter", { SourceIdentity: "x" }, "ValidationError"],
      ["a role that is not there", { RoleArn: "arn:aws:iam::123456789012:role/none" }, "AccessDenied"],
      [
        "too much when it is packed",
        {
          Policy: policy.padEnd(2048),
          Tags: Array.from({ length: 10 }, (_, i) => ({ Key: `k${i}`, Value: "v".repeat(256) })),
        },
        "PackedPolicyTooLargeException",
      ],
    ])("and refuses %s", async (_, changes, name) => {
      const sts = new STSClient({ endpoint: aws.url, region, credentials: aws.root, maxAttempts: 1 });
      await expect(sts.send(new AssumeRoleCommand({ RoleArn: role, ...fit }))).resolves.toBeDefined();
      const sent = sts.send(new AssumeRoleCommand({ RoleArn: role, ...fit, ...changes }));
      await expect(sent).rejects.toMatchObject({ name });
    });

    it("and who does not have the key", async () => {
      const credentials = { ...aws.root, secretAccessKey: "wrong" };
      const sts = new STSClient({ endpoint: aws.url, region, credentials, maxAttempts: 1 });
      const sent = sts.send(new AssumeRoleCommand({ RoleArn: role, ...fit }));
      await expect(sent).rejects.toMatchObject({ name: "SignatureDoesNotMatch" });
    });
  });
});
