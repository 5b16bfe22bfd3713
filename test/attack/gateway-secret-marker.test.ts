// A marker is planted as a root credential and used; then every route is driven by everybody, calls good and bad go
// through the gateway, and all that left the broker or lies on its disk is searched for the marker, however it is written.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Route } from "../../src/api/route.ts";
import { ROUTES } from "../../src/api/routes.ts";
import { runCli } from "../cli/cli-run.ts";
import { type OddGateway, ROOT, startOddGateway } from "../support/odd-gateway.ts";
import { plain, resets } from "../support/odd-upstream.ts";
import { signProof } from "../support/raw-http.ts";
import { readEvents } from "../support/read-events.ts";

const bytes = Buffer.from(ROOT);
/** Ten characters from its middle tell it. */
const middleOf = (form: string): string => form.slice(Math.floor(form.length / 2) - 5, Math.floor(form.length / 2) + 5);
const base64 = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64"));
const FORMS: readonly string[] = [
  ROOT.slice(3, 20),
  ...base64.map(middleOf),
  ...base64.map((form) => middleOf(form.replaceAll("+", "-").replaceAll("/", "_"))),
  encodeURIComponent(ROOT).slice(3, 24),
  bytes.toString("hex").slice(10, 30),
  // As `inspect` prints bytes, and as JSON does.
  bytes
    .toString("hex")
    .replaceAll(/(..)(?=.)/g, "$1 ")
    .slice(0, 20),
  [...bytes].slice(0, 6).join(", "),
  [...bytes].slice(0, 6).join(","),
  [...bytes]
    .toReversed()
    .map((byte) => String.fromCodePoint(byte))
    .join("")
    .slice(0, 12),
  bytes.toString("utf16le").slice(0, 6),
];
const PRINCIPALS = ["coder", "other-agent", "oncall-1", "dba-1", "security-1", "admin-1", "shop-verifier"] as const;

function expectClean(what: string, text: string): void {
  expect(
    FORMS.filter((form) => text.includes(form)),
    what,
  ).toEqual([]);
}

function expectFilesClean(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const { parentPath, name } of files) {
    const content = readFileSync(join(parentPath, name));
    for (const encoding of ["latin1", "utf16le"] as const) expectClean(name, content.toString(encoding));
  }
  return files.length;
}

let gateway: OddGateway;
beforeAll(async () => {
  gateway = await startOddGateway();
});
afterAll(() => gateway.close());

async function textOf(answer: Response): Promise<string> {
  const head = JSON.stringify([answer.status, answer.statusText, ...answer.headers]);
  // A feed never ends by itself: its first message is enough.
  if (answer.headers.get("content-type")?.includes("event-stream") !== true) return head + (await answer.text());
  const reader = answer.body?.getReader();
  const first = await reader?.read();
  await reader?.cancel();
  const bytes: unknown = first?.value;
  return head + (bytes instanceof Uint8Array ? Buffer.from(bytes).toString("latin1") : "");
}

describe("a marker that is planted as a root credential", () => {
  it("is seen by the upstream alone, and would be found by this search", async () => {
    const answer = await gateway.read();
    expect([answer.status, gateway.upstream.headers()["authorization"]]).toEqual([200, `Bearer ${ROOT}`]);
    const found = [
      ROOT,
      ...base64,
      inspect(bytes),
      JSON.stringify([...bytes]),
      encodeURIComponent(ROOT),
      bytes.toString("hex"),
    ];
    for (const text of found) expect(() => expectClean("canary", text)).toThrow("canary");
  });

  it("is in no answer of the gateway, to good calls and bad, and whatever the upstream echoes", async () => {
    const { credential } = await gateway.grant();
    const url = `${gateway.broker.url}/gateway/odd`;
    const bearer = { authorization: `Bearer ${credential.value}` };
    const answers: string[] = [];
    for (const [behaviour, path, init] of [
      [plain("hello"), "/things/1", { headers: bearer }],
      [plain(`you sent Bearer ${ROOT}`, [`X-Echo: ${ROOT}`, `ETag: "${base64[0]}"`]), "/things/1", { headers: bearer }],
      [plain(`{"error":"${ROOT}"}`, [], "401 Unauthorized"), "/things/1", { headers: bearer }],
      [plain(ROOT, [`Location: https://evil.example/?${ROOT}`], "302 Found"), "/things/1", { headers: bearer }],
      [plain(ROOT, [`Content-Encoding: ${middleOf(ROOT)}`]), "/things/1", { headers: bearer }],
      [resets, "/things/1", { headers: bearer }],
      [plain("hello"), "/things/1", {}],
      [plain("hello"), "/things/1", { headers: { authorization: `Bearer ${ROOT}` } }],
      [plain("hello"), "/things/1", { headers: { ...bearer, "x-key": ROOT } }],
      [plain("hello"), "/things/1", { method: "DELETE", headers: bearer }],
      [plain("hello"), "/things/1", { method: "POST", headers: bearer, body: "x".repeat(2_000_000) }],
    ] as const) {
      gateway.behave(behaviour);
      answers.push(await textOf(await fetch(url + path, init)));
    }
    expect(answers).toHaveLength(11);
    answers.forEach((answer, n) => expectClean(`answer ${n}`, answer));
  });

  it("is in no answer of any route to anybody", async () => {
    const { grant, credential } = await gateway.grant();
    const bodies: Readonly<Record<string, readonly unknown[]>> = {
      requestGrant: [{ task: "t", permissions: [{ action: "thing:read", resource: "odd:thing/1" }] }, { task: ROOT }],
      endGrant: [{}],
      decide: [{ agent: "coder", permissions: [{ action: "thing:read", resource: "odd:thing/1" }] }],
      revoke: [{ target: { task: "another" }, reason: "test" }],
      reopen: [{ reason: "test" }],
      freeze: [{ reason: "test" }],
      unfreeze: [{ reason: "test" }],
      rotateKeys: [{}],
      putSecret: [
        { value: ROOT, origins: [gateway.upstream.origin] },
        { value: ROOT, origins: ["https://evil.example"] },
        { value: `${ROOT}\0`, origins: [gateway.upstream.origin] },
        { value: ROOT, origins: [ROOT] },
        { value: [ROOT] },
      ],
      addCanary: [{ like: "railway", note: "planted" }],
    };
    const params: Readonly<Record<string, string>> = { id: grant.id, name: "odd-root" };
    let driven = 0;
    for (const [name, route] of Object.entries<Route>(ROUTES)) {
      const path = route.path.replaceAll(/\{([a-z]+)\}/g, (_match, key: string) =>
        key === "name" && name.endsWith("freeze") ? "other-agent" : (params[key] ?? ""),
      );
      const proofs = [
        ...PRINCIPALS.map((who) => () => signProof(gateway.broker, who)),
        () => null,
        () => credential.value,
      ];
      for (const body of [...(bodies[name] ?? [null]), ...(name.endsWith("Secret") ? [ROOT] : [])]) {
        for (const prove of proofs) {
          const proof = await prove();
          const headers = {
            ...(proof === null ? {} : { authorization: `Bearer ${proof}` }),
            ...(body === null ? {} : { "content-type": "application/json" }),
          };
          const sent = body === null ? {} : { body: JSON.stringify(body) };
          const answer = await fetch(gateway.broker.url + path, { method: route.method, headers, ...sent });
          expectClean(name, await textOf(answer));
          expect(answer.status, name).toBeLessThan(500);
          driven += 1;
        }
      }
    }
    expect(driven).toBeGreaterThanOrEqual(Object.keys(ROUTES).length * (PRINCIPALS.length + 2));
    // The paths of secrets that somebody takes for a place of values.
    for (const who of ["admin-1", "coder"]) {
      const headers = { authorization: `Bearer ${await signProof(gateway.broker, who)}` };
      const answer = await fetch(`${gateway.broker.url}/v1/secrets/odd-root`, { headers });
      expectClean("reading a secret", await textOf(answer));
      expect(answer.status).toBe(404);
    }
  });

  it("is not in what commands print, the export among them", async () => {
    const options = { cwd: gateway.broker.folder, env: { VALETKEY_URL: gateway.broker.url } };
    const exported = ["audit", "export", "--as", "security-1"];
    for (const argv of [
      exported,
      ["doctor"],
      ["doctor", "--json"],
      ["secrets", "list", "--as", "admin-1"],
      ["scopes", "check"],
    ]) {
      const { code, stdout, stderr } = await runCli(argv, options);
      expectClean(argv.join(" "), stdout + stderr);
      expect({ argv, code, stderr }).toMatchObject({ code: argv[0] === "doctor" ? expect.any(Number) : 0 });
    }
  });

  it("is in no event and no line of the log", async () => {
    const events = await readEvents(gateway.broker);
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(["secret.sealed", "call.forwarded", "call.refused", "call.unknown"]),
    );
    for (const event of events) expectClean(String(event["type"]), JSON.stringify(event));
    expect(gateway.broker.log.length).toBeGreaterThan(0);
    expectClean("log", gateway.broker.log.join("\n"));
  });

  it("is in no object of the broker's that can be reached", () => {
    const { broker } = gateway.broker;
    for (const customInspect of [true, false]) {
      const options = { depth: Infinity, showHidden: true, maxStringLength: null, maxArrayLength: null, customInspect };
      expectClean("broker", inspect(broker, options));
      expectClean("policy", inspect(broker.policy, options));
    }
  });

  it("is in no file of the broker's, while it runs and afterwards", async () => {
    expect(expectFilesClean(gateway.broker.folder)).toBeGreaterThan(10);
    const restarted = await gateway.broker.restart();
    expect(expectFilesClean(gateway.broker.folder)).toBeGreaterThan(10);
    await restarted.broker.close();
  });
});

it.each([
  ["a segment of a path that is not listed", `/${encodeURIComponent(ROOT)}/things`],
  ["the id of a resource", `/things/${ROOT.replaceAll(/[^a-z0-9]/g, "")}`],
  ["the name of a query parameter", `/things/1?${encodeURIComponent(ROOT)}=a`],
  ["the value of a query parameter", `/things/1?key=${encodeURIComponent(ROOT)}`],
])("a caller that found it and sends it as %s does not bring it into answer, record or log", async (_where, path) => {
  // The id of a resource takes no other characters; keys of many providers have no others.
  const key = path.startsWith("/things/r") ? path.slice("/things/".length) : ROOT;
  const own = await startOddGateway();
  try {
    const body = { value: key, origins: [own.upstream.origin] };
    await own.broker.as("admin-1").call("putSecret", { params: { name: "odd-root" }, body });
    const { credential } = await own.grant();
    const headers = { authorization: `Bearer ${credential.value}` };
    const answer = await textOf(await fetch(`${own.broker.url}/gateway/odd${path}`, { headers }));
    const texts = [answer, JSON.stringify(await readEvents(own.broker)), own.broker.log.join("\n")];
    for (const form of [key.slice(3, 20), encodeURIComponent(key).slice(3, 24)]) {
      expect(texts.map((text) => text.includes(form))).toEqual([false, false, false]);
    }
    expect(own.upstream.requests).toEqual([]);
  } finally {
    await own.close();
  }
});
