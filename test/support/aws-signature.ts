// AWS's Signature Version 4 of a request's headers, for the stand-in of AWS: who says to have signed it, and whether a secret
// is the one that did.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html

import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";

interface Signed {
  readonly accessKeyId: string;
  readonly service: string;
  /** When, in milliseconds. */
  readonly at: number;
  isBy(secretAccessKey: string): boolean;
}

const HEADER =
  /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

/** Null where it is not signed so, or not with this body. */
export function readSignature(req: IncomingMessage, body: Buffer): Signed | null {
  const found = HEADER.exec(req.headers.authorization ?? "");
  const [, accessKeyId = "", date = "", region = "", service = "", names = "", signature = ""] = found ?? [];
  const sent = headerOf(req, "x-amz-content-sha256");
  if (found === null || !names.split(";").includes("host")) return null;
  if (/^[0-9a-f]{64}$/.test(sent) && sent !== sha256(body)) return null;
  const stamp = headerOf(req, "x-amz-date");
  return {
    accessKeyId,
    service,
    at: Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z")),
    isBy: (secretAccessKey) => {
      const { pathname, searchParams } = new URL(req.url ?? "/", "http://x");
      // S3 takes a path as it is; everybody else escapes it once more.
      const path = service === "s3" ? pathname : pathname.split("/").map(encode).join("/");
      const query = [...searchParams].map(([key, value]) => `${encode(key)}=${encode(value)}`).toSorted();
      const headers = names.split(";").map((name) => `${name}:${headerOf(req, name).trim().replaceAll(/ +/g, " ")}\n`);
      const hash = sent === "" ? sha256(body) : sent;
      const canonical = [req.method, path, query.join("&"), headers.join(""), names, hash].join("\n");
      const scope = [date, region, service, "aws4_request"];
      const text = ["AWS4-HMAC-SHA256", stamp, scope.join("/"), sha256(canonical)].join("\n");
      const key = scope.reduce<Buffer>(hmac, Buffer.from(`AWS4${secretAccessKey}`));
      return hmac(key, text).toString("hex") === signature;
    },
  };
}

function headerOf(req: IncomingMessage, name: string): string {
  return [req.headers[name] ?? ""].flat().join(",");
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
