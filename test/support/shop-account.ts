// The upstream of docs/aws.md as it is printed there, led to a server of the tests, and an agent that talks to its S3.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import type { AwsCredential } from "../../src/api/grants.ts";
import type { AwsPolicy } from "../../src/core/hold-document.ts";
import type { PolicyDocument } from "./aws-policy.ts";
import type { AwsSession } from "../../src/credentials/credential-system.ts";

export const BUCKET = "shop-uploads";
export const OTHER_BUCKET = "shop-secrets";
export const KEY = "letters/a.txt";

/** What the role of the tests may do at most: more than any grant. */
export const ROLE_POLICY: PolicyDocument = {
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Action: ["s3:*"], Resource: ["arn:aws:s3:::*"] }],
};

/** Reads objects of the bucket, and nothing else. */
export const READING: AwsPolicy = {
  kind: "aws",
  address: "unused",
  region: "us-east-1",
  statements: [{ actions: ["s3:GetObject"], resources: [`arn:aws:s3:::${BUCKET}/*`] }],
};

export function probeAt(endpoint: string) {
  const url = `${endpoint}/${BUCKET}?list-type=2&max-keys=1`;
  return { url, service: "s3", allow: "s3:ListBucket", on: `arn:aws:s3:::${BUCKET}` };
}

/** The page's definition for this server, and roles that give what it maps to `coder`. */
export function accountPolicy(place: {
  endpoint: string;
  region: string;
  role: string;
  lines?: readonly string[];
}): string {
  const page = readFileSync(join(import.meta.dirname, "../../docs/aws.md"), "utf8");
  const [, upstream = ""] = /^```yaml\n(.*?)^```/ms.exec(page) ?? [];
  const { endpoint, region, role, lines = [] } = place;
  const more = [`endpoints: { sts: "${endpoint}", iam: "${endpoint}" }`, "addresses: [127.0.0.1/32]", ...lines];
  return `${upstream
    .replace(/^region: .*$/m, `region: ${region}\n${more.join("\n")}`)
    .replace(/^role: .*$/m, `role: ${role}`)
    .replace(/^ {2}url: .*$/m, `  url: ${probeAt(endpoint).url}`)}---
kind: Role
name: uploads-worker
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [object:read, object:write]
    resources: { upstream: shop-aws }
ttl: { default: 10m, max: 30m }
---
kind: Role
name: uploads-cleaner
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [object:delete]
    resources: { upstream: shop-aws }
    requires: { approvals: { count: 1, from: [oncall] }, reason: true }
`;
}

/** As an agent does it, unmodified but for where AWS is. */
export function openS3(endpoint: string, region: string, credentials: AwsSession | AwsCredential): S3Client {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey, sessionToken },
    forcePathStyle: true,
    maxAttempts: 1,
  });
}

/** Rejects where it is refused. */
export async function read(s3: S3Client, bucket = BUCKET, key = KEY): Promise<string> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  return (await Body?.transformToString()) ?? "";
}

export async function write(s3: S3Client, bucket = BUCKET, key = "new.txt"): Promise<void> {
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: "new" }));
}

/** False where it is refused; anything else that goes wrong is the test's. */
export async function isAllowed(act: Promise<unknown>): Promise<boolean> {
  try {
    await act;
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && thrown.name === "AccessDenied") return false;
    throw thrown;
  }
}
