// Asks as a session whether it is let in: one GET of the definition's, signed, of which only the status counts.

import { Readable } from "node:stream";
import { HttpRequest } from "@smithy/core/protocols";
import { SignatureV4 } from "@smithy/signature-v4";
import { BrokerError } from "../core/errors.ts";
import type { AwsProbe } from "../scopes/provider-upstreams.ts";
import type { AwsCalls, AwsPlace, Identity } from "./aws-calls.ts";

/** Throws where the answer says neither. */
export async function isLetIn(
  { name, region }: AwsPlace,
  { sts, http, call }: AwsCalls,
  { url, service }: AwsProbe,
  credentials: Identity,
): Promise<boolean> {
  const { protocol, hostname, host, port, pathname, searchParams } = new URL(url);
  const request = new HttpRequest({
    method: "GET",
    protocol,
    hostname,
    ...(port !== "" && { port: Number(port) }),
    path: pathname,
    query: Object.fromEntries(searchParams),
    headers: { host },
  });
  // S3 takes a path as it is; everybody else wants it escaped once more.
  const signer = new SignatureV4({
    credentials,
    region,
    service,
    sha256: sts.config.sha256,
    uriEscapePath: service !== "s3",
    applyChecksum: true,
  });
  const status = await call("the probe", async (abortSignal) => {
    const signed = await signer.sign(request);
    const { response } = await http.handle(HttpRequest.clone(signed), { abortSignal });
    // What it says is not read.
    if (response.body instanceof Readable) response.body.destroy();
    return response.statusCode;
  });
  if (status >= 200 && status < 300) return true;
  if (status === 403) return false;
  throw new BrokerError("upstream_failed", `upstream ${name}: the probe was answered ${status}, which says nothing`, {
    ...(status >= 500 && { retryAfterSeconds: 1 }),
  });
}
