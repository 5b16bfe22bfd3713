// An upstream that cannot prove who it is: no byte of a request, and so no credential, reaches it. The certificates are
// made for the test.

import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { EgressError } from "../../src/gateway/egress-error.ts";
import { createEgress } from "../../src/gateway/egress.ts";
import { type Certificate, makeCertificate } from "../support/make-certificate.ts";
import { openOddUpstream, plain, type OddUpstream } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";

let authority: Certificate;
let good: Certificate;
const undo: (() => Promise<void>)[] = [];

beforeAll(() => {
  authority = makeCertificate(["DNS:authority.test"]);
  good = makeCertificate(["IP:127.0.0.1", "DNS:api.example.test"], { issuer: authority });
});
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

async function openTls(tls: Certificate): Promise<OddUpstream> {
  const server = await openOddUpstream(plain("hello"), { tls });
  undo.push(() => server.close());
  return server;
}

async function ask(server: OddUpstream, ca: string | null, host = "127.0.0.1"): Promise<number | EgressError> {
  const origin = `https://${host}:${server.port}`;
  const egress = createEgress(upstreamAt(origin, { ca }), {
    lookup: (_name, _options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
  });
  undo.push(() => egress.close());
  try {
    const headers = [["authorization", "Bearer root-credential"]] as const;
    const request = { origin, method: "GET", path: "/", headers, body: null };
    const { status, body } = await egress.send(request, new AbortController().signal);
    body.resume();
    return status;
  } catch (thrown) {
    if (thrown instanceof EgressError) return thrown;
    throw thrown;
  }
}

function expectRefused(answer: number | EgressError, why: RegExp): void {
  expect(answer).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
  expect(answer).toMatchObject({ error: { detail: expect.stringMatching(why) } });
}

describe("an upstream's certificate", () => {
  it("is accepted when the definition's own authority signed it for this name or address", async () => {
    const server = await openTls(good);
    expect(await ask(server, authority.cert)).toBe(200);
    expect(await ask(server, authority.cert, "api.example.test")).toBe(200);
    expect(server.requests).toHaveLength(2);
  });

  it("is refused when the system does not know who signed it", async () => {
    const server = await openTls(good);
    expectRefused(await ask(server, null), /certificate is not acceptable \(UNABLE_TO_/);
    expect(server.requests).toEqual([]);
  });

  it("is refused when it is signed by its own key", async () => {
    const server = await openTls(makeCertificate(["IP:127.0.0.1"]));
    expectRefused(await ask(server, null), /certificate is not acceptable \(DEPTH_ZERO_SELF_SIGNED_CERT\)/);
    expectRefused(await ask(server, authority.cert), /certificate is not acceptable/);
    expect(server.requests).toEqual([]);
  });

  it("is refused when another authority signed it", async () => {
    const other = makeCertificate(["DNS:authority.test"]);
    const server = await openTls(makeCertificate(["IP:127.0.0.1"], { issuer: other }));
    expectRefused(await ask(server, authority.cert), /certificate is not acceptable/);
    expect(server.requests).toEqual([]);
  });

  it("is refused when it is for another name", async () => {
    const server = await openTls(makeCertificate(["DNS:elsewhere.test"], { issuer: authority }));
    expectRefused(await ask(server, authority.cert), /ERR_TLS_CERT_ALTNAME_INVALID/);
    expectRefused(await ask(server, authority.cert, "api.example.test"), /ERR_TLS_CERT_ALTNAME_INVALID/);
    expect(server.requests).toEqual([]);
  });

  it("is refused when it has expired", async () => {
    const server = await openTls(makeCertificate(["IP:127.0.0.1"], { issuer: authority, isExpired: true }));
    expectRefused(await ask(server, authority.cert), /CERT_HAS_EXPIRED/);
    expect(server.requests).toEqual([]);
  });

  it("is demanded also where the environment tells Node not to", async () => {
    const server = await openTls(makeCertificate(["IP:127.0.0.1"]));
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      expectRefused(await ask(server, null), /certificate is not acceptable/);
    } finally {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    }
    expect(server.requests).toEqual([]);
  });

  it("is checked on each connection, not once", async () => {
    const first = await openTls(good);
    expect(await ask(first, authority.cert)).toBe(200);
    const { port } = first;
    await first.close();
    const second = await openOddUpstream(plain("hello"), { tls: makeCertificate(["IP:127.0.0.1"]), port });
    undo.push(() => second.close());
    expectRefused(await ask(second, authority.cert), /certificate is not acceptable/);
    expect(second.requests).toEqual([]);
  });

  it("cannot be left out by speaking plain HTTP where TLS is expected", async () => {
    const server = await openOddUpstream(plain("hello"));
    undo.push(() => server.close());
    expectRefused(await ask(server, authority.cert), /TLS could not be agreed on|could not be connected to/);
    expect(server.requests).toEqual([]);
  });
});
