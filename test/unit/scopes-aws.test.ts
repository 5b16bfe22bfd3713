// Upstreams of type aws: what their definitions may not say, and what of AWS a grant stands for: no more than it has.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_SESSION_POLICY, sessionPolicy } from "../../src/core/aws-policy.ts";
import { deriveProviderPolicy } from "../../src/policy/provider-policy.ts";
import type { ScopeSet } from "../../src/scopes/scope-set.ts";
import { findActionFault } from "../../src/scopes/aws-actions.ts";
import { buildWith, problemsOf, resourceText, roleText } from "../support/scopes-text.ts";

const ROLE = "arn:aws:iam::123456789012:role/shop-agents";
const MAPPINGS = `
  - { action: object:read, resource: "bucket/{bucket}", allow: [s3:GetObject, s3:GetObjectTagging], on: ["arn:aws:s3:::{bucket}/*"] }
  - { action: object:read, resource: "object/{bucket}/{key+}", allow: [s3:GetObject], on: ["arn:aws:s3:::{bucket}/{key}"] }
  - { action: object:delete, resource: "object/{bucket}/{key+}", allow: [s3:DeleteObject], on: ["arn:aws:s3:::{bucket}/{key}"] }
  - { action: queue:send, resource: "queue/{name}", allow: [sqs:SendMessage], on: ["arn:aws:sqs:eu-central-1:123456789012:{name}"] }`;

function text(lines: Readonly<Record<string, string>> = {}): string {
  const keys = {
    kind: "Upstream",
    name: "cloud",
    type: "aws",
    environment: "staging",
    region: "eu-central-1",
    role: ROLE,
    actions:
      "{ object:read: { risk: read }, object:delete: { risk: destructive }, queue:send: { risk: write }, idle:act: { risk: read } }",
    mappings: MAPPINGS,
    ...lines,
  };
  return Object.entries(keys)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}: ${value}`)
    .join("\n");
}

function load(): ScopeSet {
  const built = buildWith([text(), resourceText("cloud:bucket/uploads", "{ environment: staging }")].join("\n---\n"));
  if (!("set" in built)) throw new Error(problemsOf(built).join("\n"));
  return built.set;
}

const mapping = (fields: Readonly<Record<string, string>>): { readonly mappings: string } => {
  const all = {
    action: "object:read",
    resource: '"bucket/{b}"',
    allow: "[s3:GetObject]",
    on: '["arn:aws:s3:::{b}/*"]',
  };
  const written = Object.entries({ ...all, ...fields }).map(([key, value]) => `${key}: ${value}`);
  return { mappings: `[{ ${written.join(", ")} }]` };
};
const probe = (fields: Readonly<Record<string, string>>): { readonly probe: string } => {
  const all = { url: "https://s3.amazonaws.com/b", service: "s3", allow: "s3:ListBucket", on: "arn:aws:s3:::b" };
  const written = Object.entries({ ...all, ...fields }).map(([key, value]) => `${key}: ${value}`);
  return { probe: `{ ${written.join(", ")} }` };
};

describe("an upstream of type aws", () => {
  const long = "x".repeat(200);
  const refused: readonly (readonly [what: string, lines: Readonly<Record<string, string>>, message: string])[] = [
    ["no role", { role: "" }, "role"],
    ["a role by its name", { role: "shop-agents" }, "expected a role's ARN"],
    ["a user's ARN", { role: "arn:aws:iam::123456789012:user/me" }, "expected a role's ARN"],
    ["a quote in its role", { role: `'${ROLE}"'` }, "expected a role's ARN"],
    ["a line end in its role", { role: `"${ROLE}\\n"` }, "expected a role's ARN"],
    ["letters beyond ASCII in its role", { role: `${ROLE}-größe` }, "expected a role's ARN"],
    ["a role's name of 200 characters", { role: `${ROLE}${long}` }, "expected a role's ARN"],
    ["no account in its role", { role: "arn:aws:iam:::role/shop-agents" }, "the account's twelve digits"],
    ["a wildcard for a role", { role: "arn:aws:iam::123456789012:role/*" }, "expected a role's ARN"],
    ["an environment that is not there", { environment: "nowhere" }, 'found "nowhere"'],
    ["a region that is none", { region: "Frankfurt!" }, "expected a region"],
    ["no mappings", { mappings: "[]" }, "expected at least 1 items"],
    ["any action", mapping({ allow: '["s3:*"]' }), "no wildcards"],
    ["every action", mapping({ allow: '["*"]' }), "no wildcards"],
    ["an action that assumes", mapping({ allow: "[sts:AssumeRole]" }), "no action of sts"],
    ["an action of IAM's", mapping({ allow: "[iam:PassRole]" }), "no action of iam"],
    ["a deletion that it calls a reading", mapping({ allow: "[s3:DeleteObject]" }), "is destructive"],
    ["a lifecycle that it calls a reading", mapping({ allow: "[s3:PutLifecycleConfiguration]" }), "is destructive"],
    ["a writing that it calls a reading", mapping({ allow: "[s3:PutObject]" }), "is write"],
    ["a secret's value", mapping({ allow: "[secretsmanager:GetSecretValue]" }), "is mints-credentials"],
    ["the same in other letters", mapping({ allow: "[secretsmanager:getsecretvalue]" }), "is mints-credentials"],
    ["everything there is", mapping({ on: '["*"]' }), "expected an ARN"],
    ["all buckets", mapping({ on: '["arn:aws:s3:::*"]' }), "expected"],
    ["whatever account, or service", mapping({ on: '["arn:aws:s3::{b}:x", "arn:aws:{b}:::x"]' }), "expected an ARN"],
    ["a wildcard in the middle", mapping({ on: '["arn:aws:s3:::*/{b}"]' }), "expected an ARN"],
    ["a wildcard for the rest of a name", mapping({ on: '["arn:aws:s3:::{b}*"]' }), "expected an ARN"],
    ["a question mark", mapping({ on: '["arn:aws:s3:::{b}/?"]' }), "expected an ARN"],
    ["a variable of IAM's", mapping({ on: '["arn:aws:s3:::{b}/${aws:username}"]' }), "expected an ARN"],
    ["an ARN wider than its resource", mapping({ resource: '"object/{b}/{k+}"' }), 'expected "{k}" in it'],
    ["an ARN that knows more", mapping({ on: '["arn:aws:s3:::{b}/{k}"]' }), "placeholders of `resource`"],
    ["an account that agents choose", mapping({ on: '["arn:aws:sqs:eu-central-1:{b}:q"]' }), "expected an ARN"],
    ["a resource with its upstream", mapping({ resource: '"cloud:bucket/{b}"' }), "expected a path"],
    ["an action that it does not declare", mapping({ action: "object:drop" }), 'found "object:drop"'],
    ["less than AWS gives", { maxSession: "5m" }, "expected at least 15m"],
    ["more than AWS gives", { maxSession: "13h" }, "expected at most 12h"],
    [
      "a long session by way of a role",
      { maxSession: "2h", through: `[{ role: "${ROLE}" }]` },
      "expected at most 1h: AWS gives no longer session",
    ],
    ["a probe without TLS", probe({ url: "http://example.com/" }), "expected an https URL"],
    ["a probe that deletes", probe({ allow: "s3:DeleteBucket" }), "is destructive"],
    ["a probe of any bucket", probe({ on: '"arn:aws:s3:::{b}"' }), "without placeholders"],
    ["a key in place of its name", { credential: "{ secret: 0123456789abcdef0123456789abcdef }" }, "never the secret"],
    ["a key of its own", { accessKeyId: "AKIA" }, "expected only the keys"],
    [
      "an endpoint without TLS",
      { endpoints: "{ sts: 'http://a.example', iam: 'https://a.example' }" },
      "expected an origin",
    ],
  ];
  it.each(refused)("is refused with %s", (_, lines, message) => {
    expect(problemsOf(buildWith(text(lines))).join("\n")).toContain(message);
  });

  it("is in one environment, and warns of an action that no mapping has", () => {
    const elsewhere = resourceText("cloud:bucket/uploads", "{ environment: production }");
    expect(problemsOf(buildWith(`${text()}\n---\n${elsewhere}`)).join("\n")).toContain('with "staging"');
    expect(load().warnings.join("\n")).toContain("declares idle:act, and no mapping has it");
  });

  it("takes no `uses`, which only the gateway can count", () => {
    const role = `${roleText({ name: "reader", permissions: "[{ actions: [object:read], resources: { upstream: cloud } }]" })}\nlimits: { uses: 5 }`;
    expect(problemsOf(buildWith(`${text()}\n---\n${role}`)).join("\n")).toContain("expected no `uses`");
  });

  it("takes a role without an account where it is not AWS", () => {
    const endpoints = "{ sts: 'https://ceph.example', iam: 'https://ceph.example' }";
    const lines = { role: "arn:aws:iam:::role/shop-agents", endpoints };
    expect(problemsOf(buildWith(text(lines)))).toEqual([]);
  });
});

describe("an action of AWS", () => {
  it.each([
    ["read", "s3:GetObject s3:ListBucket ec2:DescribeKeyPairs s3:GetBucketPolicy dynamodb:Query sqs:ReceiveMessage"],
    ["write", "s3:PutObject kms:Decrypt dynamodb:PutItem lambda:InvokeFunction sqs:SendMessage ec2:RunInstances"],
    [
      "destructive",
      "s3:DeleteObject s3:DeleteBucket ec2:TerminateInstances kms:ScheduleKeyDeletion s3:PutLifecycleConfiguration " +
        "s3:PutBucketPolicy s3:PutObjectAcl kms:PutKeyPolicy kms:CreateGrant lambda:AddPermission logs:PutRetentionPolicy " +
        "rds-data:ExecuteStatement ssm:SendCommand ssm:StartSession dynamodb:BatchWriteItem sqs:PurgeQueue " +
        "s3:BypassGovernanceRetention s3:AbortMultipartUpload ec2:DeleteKeyPair s3:deleteobject s3:putbucketpolicy",
    ],
    [
      "mints-credentials",
      "secretsmanager:GetSecretValue secretsmanager:BatchGetSecretValue ec2:GetPasswordData ec2:CreateKeyPair " +
        "ecr:GetAuthorizationToken redshift:GetClusterCredentials rds-db:connect dsql:DbConnectAdmin " +
        "sagemaker:CreatePresignedDomainUrl ec2-instance-connect:SendSSHPublicKey cognito-identity:GetOpenIdToken " +
        "lakeformation:GetTemporaryGlueTableCredentials connect:GetFederationToken secretsmanager:getsecretvalue",
    ],
  ] as const)("is at least %s by its name, and cannot be called less", (risk, actions) => {
    const ranks = ["read", "write", "destructive", "mints-credentials"] as const;
    for (const action of actions.split(" ")) {
      const taken = ranks.filter((each) => findActionFault(action, each) === null);
      expect([action, taken]).toEqual([action, ranks.slice(ranks.indexOf(risk))]);
    }
  });

  it("that hands out rights or sessions stands for nothing at all", () => {
    for (const action of ["sts:AssumeRole", "iam:PassRole", "organizations:DescribeAccount", "sso:GetRoleCredentials"])
      expect(findActionFault(action, "mints-credentials")).toContain("hands out rights or sessions");
  });
});

describe("what a grant stands for at AWS", () => {
  const scopes = load();
  const derive = (...asked: readonly (readonly [action: string, path: string])[]) =>
    deriveProviderPolicy(
      "cloud",
      asked.map(([action, path]) => ({ action, resource: { id: `cloud:${path}` } })),
      scopes,
    );

  it("is exactly what its mappings say, for its resources", () => {
    expect(derive(["object:read", "bucket/uploads"]).policy).toEqual({
      kind: "aws",
      address: ROLE,
      region: "eu-central-1",
      statements: [{ actions: ["s3:GetObject", "s3:GetObjectTagging"], resources: ["arn:aws:s3:::uploads/*"] }],
    });
    expect(
      derive(["object:read", "object/uploads/a/b.png"], ["object:delete", "object/uploads/x"]).policy,
    ).toMatchObject({
      statements: [
        { actions: ["s3:DeleteObject"], resources: ["arn:aws:s3:::uploads/x"] },
        { actions: ["s3:GetObject"], resources: ["arn:aws:s3:::uploads/a/b.png"] },
      ],
    });
  });

  it("is nothing where a permission maps to nothing, and says so", () => {
    for (const asked of [
      ["queue:send", "bucket/x"],
      ["object:delete", "bucket/x"],
      ["idle:act", "bucket/x"],
    ] as const) {
      const { policy, reasons } = derive(["object:read", "bucket/uploads"], asked);
      expect([policy, reasons.map(({ code }) => code)]).toEqual([null, ["operation_unlisted"]]);
    }
  });

  it("never joins what two permissions have into more: same actions alone", () => {
    const { policy } = derive(
      ["object:read", "object/a/x"],
      ["object:read", "object/b/y"],
      ["object:delete", "object/c/z"],
    );
    expect(policy).toMatchObject({
      statements: [
        { actions: ["s3:DeleteObject"], resources: ["arn:aws:s3:::c/z"] },
        { actions: ["s3:GetObject"], resources: ["arn:aws:s3:::a/x", "arn:aws:s3:::b/y"] },
      ],
    });
  });

  it("fits what AWS takes to the character, and one more is refused", () => {
    const asked = (count: number, lastLength: number) =>
      derive(
        ...Array.from({ length: count }, (_, i) => ["object:read", `object/uploads/${i}-${"k".repeat(90)}`] as const),
        ["object:read", `object/uploads/${"x".repeat(lastLength)}`],
      );
    const sizeOf = ({ policy }: ReturnType<typeof asked>): number =>
      policy?.kind === "aws" ? sessionPolicy(policy.statements, 0).length : Number.NaN;
    let count = 1;
    while (sizeOf(asked(count, 1)) < MAX_SESSION_POLICY - 120) count++;
    const length = 1 + MAX_SESSION_POLICY - sizeOf(asked(count, 1));
    expect(sizeOf(asked(count, length))).toBe(2048);
    const { policy, reasons } = asked(count, length + 1);
    expect([policy, reasons.map(({ code }) => code)]).toEqual([null, ["too_large"]]);
    expect(reasons[0]?.message).toContain("is 2049 characters long, and AWS takes 2048: ask for fewer");
  });

  it("has no wildcard but those of the definition, whatever a resource is called", () => {
    const segment = fc.stringMatching(/^[A-Za-z0-9._~@+=-]{1,20}$/).filter((one) => one !== "." && one !== "..");
    fc.assert(
      fc.property(segment, fc.array(segment, { minLength: 1, maxLength: 5 }), (bucket, keys) => {
        const { policy } = derive(["object:read", `object/${bucket}/${keys.join("/")}`]);
        expect(policy).toMatchObject({
          statements: [{ actions: ["s3:GetObject"], resources: [`arn:aws:s3:::${bucket}/${keys.join("/")}`] }],
        });
        expect(JSON.stringify(policy)).not.toMatch(/[*?$]/);
      }),
    );
  });
});
