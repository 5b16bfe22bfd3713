// A marker value is planted as a root credential, sealed and mounted, and looked for in everything that the secrets room
// gives away: what it exposes, throws, answers, stores and writes to the record; plain, encoded, and in any object's depth.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { readServerConfig } from "../../src/config.ts";
import { Secret } from "../../src/core/secret.ts";
import { createSecretHandlers } from "../../src/http/secret-handlers.ts";
import { createSecretReferences } from "../../src/secrets/secret-references.ts";
import { makeGatewayUpstream, openRootSecrets, personCall, policyOf } from "../support/root-secrets-fixture.ts";

const MARKER = "mk_live_5f1d0c_marker_91ab";
const API = "https://api.example.com";
const EVIL = "https://evil.example";

const folder = mkdtempSync(join(tmpdir(), "valetkey-marker-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FORMS = [
  MARKER,
  Buffer.from(MARKER).toString("hex"),
  Buffer.from(MARKER).toString("base64").slice(0, 30),
  // As `inspect` prints bytes.
  Buffer.from(MARKER)
    .toString("hex")
    .replaceAll(/(..)(?=.)/g, "$1 ")
    .slice(0, 40),
  [...Buffer.from(MARKER)].slice(0, 6).join(", "),
  JSON.stringify([...Buffer.from(MARKER)].slice(0, 6)).slice(1, -1),
];

function expectClean(what: string, value: unknown): void {
  const texts = [
    inspect(value, { depth: Infinity, showHidden: true, maxStringLength: null, maxArrayLength: null }),
    inspect(value, { depth: Infinity, showHidden: true, customInspect: false, maxArrayLength: null }),
    JSON.stringify(value) ?? "",
    String(value),
    ...(value instanceof Error ? [value.message, value.stack ?? "", inspect(value.cause)] : []),
  ];
  for (const text of texts) for (const form of FORMS) expect(text.includes(form), `${what}: ${form}`).toBe(false);
}

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("nothing was thrown");
}

describe("a marker that is planted as a root credential", () => {
  it("would be found: the search sees it in an object, in bytes and in an error", () => {
    for (const value of [{ a: [MARKER] }, Buffer.from(MARKER), new Error(MARKER), [...Buffer.from(MARKER)]])
      expect(() => expectClean("canary", value)).toThrow("canary");
  });

  it("is in nothing that the room exposes, answers, stores or writes to the record", async () => {
    writeFileSync(join(folder, "mounted"), `${MARKER}\n`);
    writeFileSync(join(folder, "binary"), Buffer.concat([Buffer.from(MARKER), Buffer.of(0, 255)]));
    const config = readServerConfig(
      {
        MARKED: MARKER,
        VALETKEY_SECRETS_ENV: `MARKED=${API}`,
        VALETKEY_SECRETS_FILES: `${folder} mounted=${API} binary=${API}`,
      },
      "/srv/valetkey",
    );
    expectClean("config", config);
    const policy = policyOf(makeGatewayUpstream("shop", "sealed", [API]));
    const { secrets, port } = await openRootSecrets({ policy, listed: config.secretReferences });
    const call = personCall();
    const answers = [
      await secrets.put(personCall(), "sealed", { value: MARKER, origins: [API] }),
      await secrets.put(call, "other", { value: MARKER, origins: [API] }),
    ];
    const references = createSecretReferences(config.secretReferences);
    const opened = [
      await secrets.open("sealed", API),
      await secrets.open("env:MARKED", API),
      await secrets.open("file:mounted", API),
      await references.open("file:mounted"),
    ];
    for (const secret of opened) expect(Buffer.from(secret.reveal()).toString()).toBe(MARKER);
    const errors = [
      await thrownBy(() => secrets.open("sealed", EVIL)),
      await thrownBy(() => secrets.open("env:MARKED", EVIL)),
      await thrownBy(() => secrets.open("file:binary", API)),
      await thrownBy(() => secrets.put(personCall(), "sealed", { value: MARKER, origins: [EVIL] })),
      await thrownBy(() => secrets.put(personCall(), "sealed", { value: `${MARKER}\0`, origins: [API] })),
      await thrownBy(() => secrets.put(personCall(), MARKER.toUpperCase(), { value: MARKER, origins: [API] })),
      await thrownBy(() => secrets.put(call, "other", { value: MARKER, origins: [API] })),
    ];
    port.loseNextAnswer();
    errors.push(await thrownBy(() => secrets.put(personCall(), "other", { value: MARKER, origins: [API] })));
    expectClean("secrets", secrets);
    expectClean("references", references);
    expectClean("opened", opened);
    expectClean("answers", answers);
    expectClean("list", secrets.list());
    expectClean("check", secrets.check(policyOf(makeGatewayUpstream("shop", "sealed", [EVIL]))));
    errors.forEach((error, index) => expectClean(`error ${index}`, error));
    expectClean("commands", port.commands);
    expectClean("rows", port.rows);
    answers.push(await secrets.remove(personCall(), "sealed"));
    expectClean("answers", answers);
    for (const { sealedKey, sealedValue } of port.rows.values())
      for (const bytes of [sealedKey, sealedValue]) expect(Buffer.from(bytes).includes(MARKER)).toBe(false);
  });

  it("is in no answer of the routes", async () => {
    const { secrets } = await openRootSecrets();
    const handlers = createSecretHandlers({ secrets });
    const { proof, request } = personCall();
    const caller = {
      principal: { kind: "Person", name: "admin-1", keys: [], powers: new Set(["administer"]), teams: [] },
      proof,
    } as const;
    const incoming = { caller, params: { name: "sealed" }, query: null, request };
    // The handlers look at nothing else of what the endpoint gives them.
    const put = await handlers.putSecret({ ...incoming, body: { value: MARKER, origins: [API] } } as never);
    const list = await handlers.listSecrets({ ...incoming, body: null } as never);
    expect([put, list]).toMatchObject([{ status: 200 }, { json: { secrets: [{ name: "sealed", version: 1 }] } }]);
    expectClean("answers", [put, list]);
    const anonymous = { ...incoming, caller: null, body: { value: MARKER, origins: [API] } };
    expectClean("error", await thrownBy(() => handlers.putSecret(anonymous as never)));
  });

  it("is in no problem of the configuration, wherever it was put by mistake", async () => {
    for (const env of [
      { VALETKEY_SECRETS_ENV: MARKER },
      { VALETKEY_SECRETS_ENV: `STRIPE=${MARKER}` },
      { VALETKEY_SECRETS_ENV: `STRIPE=${API},${MARKER}` },
      { VALETKEY_SECRETS_ENV: `STRIPE=${API} ${MARKER}=${API}` },
      { VALETKEY_SECRETS_ENV: `STRIPE=${API}`, STRIPE: `${MARKER}\0` },
      { VALETKEY_SECRETS_FILES: `/mounted ${MARKER}` },
      { VALETKEY_SECRETS_FILES: `/mounted stripe=${MARKER}` },
      { VALETKEY_SECRETS_FILES: MARKER },
      { VALETKEY_GATEWAY_LISTEN: `${MARKER}=x` },
      { VALETKEY_GATEWAY_LISTEN: `stripe=${MARKER}` },
    ])
      expectClean("config error", await thrownBy(() => readServerConfig(env, "/srv")));
  });

  it("is masked by the type that holds it", () => {
    expectClean("secret", new Secret(Buffer.from(MARKER)));
  });
});
