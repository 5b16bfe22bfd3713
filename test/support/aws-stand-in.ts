// A small stand-in of AWS's STS, IAM and S3 on one port of loopback: it holds each request to AWS's documented limits and
// answers with AWS's names for what is wrong. What policies mean is in aws-policy.ts. No data but objects of text.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parsePolicy, type PolicyDocument, says } from "./aws-policy.ts";
import { readSignature } from "./aws-signature.ts";

export interface StandInRequest {
  readonly service: string;
  readonly action: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly accessKeyId: string;
}

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

type Failure = { readonly status: number; readonly code: string; readonly message: string } | "reset" | "hang";

export interface AwsStandIn {
  readonly url: string;
  readonly account: string;
  /** A static key of the broker's user. */
  readonly root: Keys;
  /** A session of the broker's own, as an instance has it. */
  readonly own: Required<Keys>;
  addRole(name: string, policy: PolicyDocument, options?: RoleOptions): string;
  putObject(bucket: string, key: string, body: string): void;
  hasObject(bucket: string, key: string): boolean;
  /** A policy of the bucket's own that lets this session read. */
  addBucketGrant(bucket: string, sessionArn: string): void;
  inlinePolicy(role: string, name: string): string | null;
  /** As somebody else does who may. */
  putRolePolicy(role: string, name: string, text: string): void;
  readonly requests: readonly StandInRequest[];
  readonly knobs: {
    /** So much later a role's changed policy is heeded. */
    propagationMs: number;
    /** So far its clock is ahead. */
    clockOffsetMs: number;
    denyIam: boolean;
    /** Of inline policies of the role that somebody else wrote. */
    otherInlineCharacters: number;
    fail: (request: StandInRequest) => Failure | null;
  };
  close(): Promise<void>;
}

export interface RoleOptions {
  /** Only who has one of these ARNs; left out: the broker's. */
  readonly trusts?: readonly string[];
  readonly externalId?: string;
  readonly maxSessionSeconds?: number;
  readonly letsTag?: boolean;
  readonly letsSetSourceIdentity?: boolean;
}

interface Role extends Required<Omit<RoleOptions, "externalId">> {
  readonly name: string;
  readonly arn: string;
  readonly externalId: string | null;
  readonly policy: PolicyDocument;
  readonly inline: Map<string, string>;
  /** Inline policies as they are heeded, from a moment on. */
  readonly heeded: { readonly from: number; readonly policies: readonly PolicyDocument[] }[];
}

interface Caller extends Keys {
  readonly arn: string;
  /** Of a session that came by AssumeRole. */
  readonly session: {
    readonly role: Role;
    readonly name: string;
    readonly policy: PolicyDocument | null;
    readonly issuedAt: number;
    readonly expiresAt: number;
  } | null;
}

const ACCOUNT = "123456789012";
const SKEW_MS = 300_000;
const MAX_BODY = 1_000_000;
const MAX_ROLE_POLICIES = 10_240;
/** AWS does not say how it packs; what is longer than this together is too large here. */
const MAX_PACKED = 4096;
const NAME = /^[\w+=,.@-]{2,64}$/;
const TAG_TEXT = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    [this.status, this.code] = [status, code];
  }
}

export async function startAwsStandIn(): Promise<AwsStandIn> {
  const knobs: AwsStandIn["knobs"] = {
    propagationMs: 0,
    clockOffsetMs: 0,
    denyIam: false,
    otherInlineCharacters: 0,
    fail: () => null,
  };
  const now = (): number => Date.now() + knobs.clockOffsetMs;
  const roles = new Map<string, Role>();
  const objects = new Map<string, string>();
  const bucketGrants = new Map<string, Set<string>>();
  const callers = new Map<string, Caller>();
  const requests: StandInRequest[] = [];

  const draw = (prefix: string, isSession: boolean): Keys => ({
    accessKeyId: `${prefix}${randomBytes(8).toString("hex").toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString("base64"),
    ...(isSession && { sessionToken: randomBytes(120).toString("base64") }),
  });
  const admit = (keys: Keys, arn: string, session: Caller["session"] = null): Keys => {
    callers.set(keys.accessKeyId, { ...keys, arn, session });
    return keys;
  };
  const root = admit(draw("AKIA", false), `arn:aws:iam::${ACCOUNT}:user/valetkey`);
  const own = admit(draw("ASIA", true), `arn:aws:sts::${ACCOUNT}:assumed-role/valetkey-broker/i-1`);

  function authenticate(req: IncomingMessage, body: Buffer): { caller: Caller; service: string } {
    const signed = readSignature(req, body);
    const caller = callers.get(signed?.accessKeyId ?? "");
    if (signed === null || caller === undefined)
      throw new Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    const isS3 = signed.service === "s3";
    if (!(Math.abs(signed.at - now()) <= SKEW_MS))
      throw new Refusal(403, isS3 ? "RequestTimeTooSkewed" : "SignatureDoesNotMatch", "Signature expired");
    if (!signed.isBy(caller.secretAccessKey))
      throw new Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.");
    if ((caller.sessionToken ?? "") !== String(req.headers["x-amz-security-token"] ?? ""))
      throw new Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    if (caller.session !== null && now() >= caller.session.expiresAt)
      throw new Refusal(isS3 ? 400 : 403, "ExpiredToken", "The security token included in the request is expired");
    return { caller, service: signed.service };
  }

  function assumeRole(caller: Caller, given: Readonly<Record<string, string>>): string {
    const invalid = (what: string): never => {
      throw new Refusal(400, "ValidationError", what);
    };
    const denied = (action: string): never => {
      throw new Refusal(
        403,
        "AccessDenied",
        `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${given["RoleArn"]}`,
      );
    };
    const role = roles.get(given["RoleArn"] ?? "") ?? denied("sts:AssumeRole");
    const { RoleSessionName: name = "", DurationSeconds = "3600", Policy, SourceIdentity, ExternalId } = given;
    const seconds = Number(DurationSeconds);
    if (!NAME.test(name))
      invalid("1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint");
    if (!(seconds >= 900 && seconds <= 43_200)) invalid("1 validation error detected: Value at 'durationSeconds'");
    if (seconds > role.maxSessionSeconds)
      invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
    if (caller.session !== null && seconds > 3600)
      invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining");
    if (Policy !== undefined && (Policy.length < 1 || Policy.length > 2048))
      invalid("Value at 'policy' failed: length less than or equal to 2048");
    if (SourceIdentity !== undefined && !NAME.test(SourceIdentity))
      invalid("Value at 'sourceIdentity' failed to satisfy constraint");
    if (ExternalId !== undefined && !/^[\w+=,.@:/-]{2,1224}$/.test(ExternalId)) invalid("Value at 'externalId' failed");
    const tags = tagsOf(given);
    const keys = tags.map(([key]) => key.toLowerCase());
    if (tags.length > 50 || new Set(keys).size !== keys.length) invalid("Value at 'tags' failed to satisfy constraint");
    for (const [key, value] of tags) {
      const isFit =
        key.length >= 1 && key.length <= 128 && value.length <= 256 && TAG_TEXT.test(key) && TAG_TEXT.test(value);
      if (!isFit || key.startsWith("aws:")) invalid(`Value at 'tags' failed to satisfy constraint: ${key}`);
    }
    const policy = Policy === undefined ? null : parsePolicy(Policy);
    if (Policy !== undefined && policy === null)
      throw new Refusal(400, "MalformedPolicyDocument", "This policy contains invalid Json");
    const packed = (Policy ?? "").length + tags.flat().join("").length;
    if (packed > MAX_PACKED) throw new Refusal(400, "PackedPolicyTooLarge", "Serialized token too large for session");
    const isTrusted = role.trusts.some((arn) => caller.arn === arn || caller.session?.role.arn === arn);
    if (!isTrusted || (role.externalId !== null && role.externalId !== ExternalId)) denied("sts:AssumeRole");
    if (tags.length > 0 && !role.letsTag) denied("sts:TagSession");
    if (SourceIdentity !== undefined && !role.letsSetSourceIdentity) denied("sts:SetSourceIdentity");
    const issuedAt = Math.floor(now() / 1000) * 1000;
    const [session, arn] = [draw("ASIA", true), `arn:aws:sts::${ACCOUNT}:assumed-role/${role.name}/${name}`];
    const expiresAt = issuedAt + seconds * 1000;
    admit(session, arn, { role, name, policy, issuedAt, expiresAt });
    return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>${session.accessKeyId}</AccessKeyId><SecretAccessKey>${session.secretAccessKey}</SecretAccessKey><SessionToken>${session.sessionToken}</SessionToken><Expiration>${new Date(expiresAt).toISOString().slice(0, 19)}Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROA${role.name}:${name}</AssumedRoleId><Arn>${arn}</Arn></AssumedRoleUser><PackedPolicySize>${Math.ceil((100 * packed) / MAX_PACKED)}</PackedPolicySize></AssumeRoleResult></AssumeRoleResponse>`;
  }

  function iam(caller: Caller, action: string, given: Readonly<Record<string, string>>): string {
    const { RoleName = "", PolicyName = "", PolicyDocument: text = "" } = given;
    const role = [...roles.values()].find(({ name }) => name === RoleName);
    if (knobs.denyIam || caller.session?.role === role)
      throw new Refusal(
        403,
        "AccessDenied",
        `User: ${caller.arn} is not authorized to perform: iam:${action} on resource: role ${RoleName}`,
      );
    if (role === undefined) throw new Refusal(404, "NoSuchEntity", `The role with name ${RoleName} cannot be found.`);
    if (!/^[\w+=,.@-]{1,128}$/.test(PolicyName))
      throw new Refusal(400, "ValidationError", "Value at 'policyName' failed");
    if (action === "GetRolePolicy") {
      const found = role.inline.get(PolicyName);
      if (found === undefined)
        throw new Refusal(404, "NoSuchEntity", `The role policy with name ${PolicyName} cannot be found.`);
      return `<GetRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRolePolicyResult><RoleName>${RoleName}</RoleName><PolicyName>${PolicyName}</PolicyName><PolicyDocument>${encodeURIComponent(found)}</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>`;
    }
    if (action !== "PutRolePolicy") throw new Refusal(400, "InvalidAction", `${action} is no action of the stand-in`);
    if (parsePolicy(text) === null) throw new Refusal(400, "MalformedPolicyDocument", "Syntax errors in policy.");
    const all = new Map([...role.inline, [PolicyName, text]]);
    const size = [...all.values()].join("").replaceAll(/\s/g, "").length + knobs.otherInlineCharacters;
    if (size > MAX_ROLE_POLICIES)
      throw new Refusal(409, "LimitExceeded", `Maximum policy size of 10240 bytes exceeded for role ${RoleName}`);
    writeInline(role, PolicyName, text);
    return `<PutRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"/>`;
  }

  function writeInline(role: Role, name: string, text: string): void {
    role.inline.set(name, text);
    const policies = [...role.inline.values()].flatMap((each) => parsePolicy(each) ?? []);
    role.heeded.push({ from: Date.now() + knobs.propagationMs, policies });
  }

  function mayDo({ session, arn }: Caller, action: string, resource: string): boolean {
    if (session === null) return false;
    const { role, name, policy, issuedAt } = session;
    const heeded = role.heeded.findLast(({ from }) => Date.now() >= from)?.policies ?? [];
    const keys = { "aws:CurrentTime": now(), "aws:TokenIssueTime": issuedAt, "aws:userid": `AROA${role.name}:${name}` };
    const asked = { action, resource, keys };
    if ([role.policy, ...heeded, ...(policy === null ? [] : [policy])].some((each) => says("Deny", each, asked)))
      return false;
    const bucket = /^arn:aws:s3:::([^/]+)/.exec(resource)?.[1] ?? "";
    // What a resource's policy gives a session by name it gives whatever the session's policy does not say.
    if (action === "s3:GetObject" && bucketGrants.get(bucket)?.has(arn) === true) return true;
    const isAllowed = [role.policy, ...heeded].some((each) => says("Allow", each, asked));
    return isAllowed && (policy === null || says("Allow", policy, asked));
  }

  function s3(caller: Caller, { action, resource, body }: Aimed): { status: number; body: string } {
    if (!mayDo(caller, `s3:${action}`, resource)) throw new Refusal(403, "AccessDenied", "Access Denied");
    const name = resource.slice("arn:aws:s3:::".length);
    if (action === "PutObject") objects.set(name, body.toString("utf8"));
    if (action === "DeleteObject") return { status: objects.delete(name) ? 204 : 204, body: "" };
    if (action === "ListBucket")
      return { status: 200, body: `<ListBucketResult><Name>${name}</Name></ListBucketResult>` };
    const found = objects.get(name);
    if (found === undefined) throw new Refusal(404, "NoSuchKey", "The specified key does not exist.");
    return { status: 200, body: action === "GetObject" ? found : "" };
  }

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await readBody(req);
    const isForm = req.headers["content-type"]?.startsWith("application/x-www-form-urlencoded") === true;
    const form = isForm ? Object.fromEntries(new URLSearchParams(body.toString("utf8"))) : null;
    const aimed = form === null ? aim(req, body) : null;
    let isS3 = form === null;
    try {
      const { caller, service } = authenticate(req, body);
      isS3 = service === "s3";
      const action = form?.["Action"] ?? aimed?.action ?? "";
      const request = { service, action, parameters: form ?? {}, accessKeyId: caller.accessKeyId };
      requests.push(request);
      const failure = knobs.fail(request);
      if (failure === "reset") return void req.socket.destroy();
      if (failure === "hang") return;
      if (failure !== null) throw new Refusal(failure.status, failure.code, failure.message);
      if (aimed !== null) {
        const answer = s3(caller, aimed);
        answerWith(res, answer.status, answer.body);
      } else
        answerWith(
          res,
          200,
          action === "AssumeRole" ? assumeRole(caller, form ?? {}) : iam(caller, action, form ?? {}),
        );
    } catch (thrown) {
      const refusal = thrown instanceof Refusal ? thrown : new Refusal(500, "StandInFailed", String(thrown));
      const error = `<Error><Type>Sender</Type><Code>${refusal.code}</Code><Message>${refusal.message.replaceAll("<", "&lt;")}</Message></Error>`;
      answerWith(res, refusal.status, isS3 ? error : `<ErrorResponse>${error}<RequestId>1</RequestId></ErrorResponse>`);
    }
  }
  function answerWith(res: ServerResponse, status: number, body: string): void {
    res.writeHead(status, { Date: new Date(now()).toUTCString(), "Content-Type": "text/xml" }).end(body);
  }

  const server = createServer((req, res) => {
    handle(req, res).catch(() => res.destroy());
  });
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  // By the shape of Node's API.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    account: ACCOUNT,
    root,
    own: { ...own, sessionToken: own.sessionToken ?? "" },
    requests,
    knobs,
    addRole: (name, policy, options = {}) => {
      const arn = `arn:aws:iam::${ACCOUNT}:role/${name}`;
      const {
        trusts = [...callers.values()].slice(0, 2).map((each) => each.arn),
        externalId = null,
        maxSessionSeconds = 3600,
      } = options;
      const { letsTag = true, letsSetSourceIdentity = true } = options;
      const facts = { trusts, externalId, maxSessionSeconds, letsTag, letsSetSourceIdentity };
      roles.set(arn, { name, arn, policy, inline: new Map(), heeded: [], ...facts });
      return arn;
    },
    putObject: (bucket, key, text) => void objects.set(`${bucket}/${key}`, text),
    hasObject: (bucket, key) => objects.has(`${bucket}/${key}`),
    addBucketGrant: (bucket, arn) => void bucketGrants.set(bucket, new Set([...(bucketGrants.get(bucket) ?? []), arn])),
    putRolePolicy: (name, policy, text) => {
      const role = [...roles.values()].find((each) => each.name === name);
      if (role !== undefined) writeInline(role, policy, text);
    },
    inlinePolicy: (role, name) => [...roles.values()].find((each) => each.name === role)?.inline.get(name) ?? null,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

interface Aimed {
  readonly action: string;
  readonly resource: string;
  readonly body: Buffer;
}

/** What of S3 a request with its bucket in the path asks for. */
function aim(req: IncomingMessage, body: Buffer): Aimed {
  const { pathname } = new URL(req.url ?? "/", "http://x");
  const path = decodeURIComponent(pathname.slice(1));
  const methods: Readonly<Record<string, string>> = {
    GET: "GetObject",
    HEAD: "GetObject",
    PUT: "PutObject",
    DELETE: "DeleteObject",
  };
  const action = path.includes("/") ? (methods[req.method ?? ""] ?? "Unknown") : "ListBucket";
  return { action, resource: `arn:aws:s3:::${path}`, body };
}

async function readBody(req: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of req) {
    const buffer = Buffer.from(part as Uint8Array);
    bytes += buffer.length;
    if (bytes > MAX_BODY) throw new Error("too large for the stand-in");
    parts.push(buffer);
  }
  return Buffer.concat(parts);
}

/** `Tags.member.1.Key` and so on. */
function tagsOf(given: Readonly<Record<string, string>>): readonly (readonly [key: string, value: string])[] {
  const numbers = Object.keys(given).flatMap((name) => /^Tags\.member\.(\d+)\.Key$/.exec(name)?.[1] ?? []);
  return numbers.map((n) => [given[`Tags.member.${n}.Key`] ?? "", given[`Tags.member.${n}.Value`] ?? ""]);
}
