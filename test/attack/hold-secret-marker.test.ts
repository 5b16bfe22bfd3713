// What waits is sealed: markers are planted in the root key, in a held call's answer and in a signature's surroundings;
// then everybody asks for everything about it, and answers, record, log and disk are searched, however they are written.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createHolding, type Holding, roleWith } from "../support/holding.ts";
import { type OddGateway, ROOT, startOddGateway } from "../support/odd-gateway.ts";
import { plain } from "../support/odd-upstream.ts";
import { readEvents } from "../support/read-events.ts";

const ANSWER = "answer-marker-6d1f0a2b-c3e4";
const HEADER = "header-marker-91b7-55aa";
const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] } }", "thing-worker")
  .replace("[volume:delete]", "[thing:read, thing:change]")
  .replace("{ upstream: railway, type: volume }", "{ type: thing }");
const PRINCIPALS = ["coder", "other-agent", "backup-1", "oncall-1", "dba-1", "security-1", "admin-1", "shop-verifier"];

function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const shifted = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64"));
  return [
    secret,
    // Whole groups only: what the neighbours make of the edges is not known.
    ...shifted.map((form) => form.slice(4, -4)),
    ...shifted.map((form) => form.slice(4, -4).replaceAll("+", "-").replaceAll("/", "_")),
    encodeURIComponent(secret),
    bytes.toString("hex"),
  ];
}
const found = (secret: string, text: string): readonly string[] =>
  formsOf(secret).filter((form) => text.includes(form));

let gateway: OddGateway;
let holding: Holding;
let id: string;
/** Everything that left the broker, but what its agent alone may read. */
const said: string[] = [];

async function askEverything(): Promise<void> {
  for (const name of PRINCIPALS) {
    const as = gateway.broker.as(name);
    const calls = [
      () => as.call("listHolds", { query: {} }),
      () => as.call("readHold", { params: { id }, query: {} }),
      () => as.call("listGrants", { query: {} }),
      () => as.call("readRecord", { query: {} }),
      ...(name === "coder" ? [] : [() => as.call("readOutcome", { params: { id } })]),
    ];
    for (const call of calls) {
      said.push(
        await call().then(
          (answer) => JSON.stringify(answer),
          (cause: unknown) => JSON.stringify(cause, Object.getOwnPropertyNames(cause)),
        ),
      );
    }
  }
}

beforeAll(async () => {
  gateway = await startOddGateway({ role: ROLE });
  holding = createHolding(gateway.broker);
  const { credential } = await gateway.grant();
  const answer = await gateway.get({ credential: credential.value });
  id = answer.headers.get("valetkey-hold") ?? "";
  said.push(await answer.text());
  await askEverything();
  gateway.behave(plain(`${ANSWER} by ${ROOT}`, [`X-Told: ${HEADER} ${ROOT}`]));
  await holding.sign("oncall-1", id);
  expect(await holding.ended(id)).toMatchObject({ state: "done", outcome: { readable: true } });
  await askEverything();
});
afterAll(() => gateway.close());

function filesOf(folder: string): readonly (readonly [string, string])[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name)).toString("latin1")]);
}

describe("of a held call", () => {
  it("the root key is in no answer, no entry of the record, no line of the log and no file", async () => {
    const record = JSON.stringify(await readEvents(gateway.broker));
    for (const text of [...said, record, gateway.broker.log.join("\n")]) expect(found(ROOT, text)).toEqual([]);
    const files = filesOf(gateway.broker.folder);
    expect(files.some(([name]) => /^(?:broker\.db|appendonly)/.test(name))).toBe(true);
    for (const [name, text] of files) expect(found(ROOT, text), name).toEqual([]);
  });

  it("the kept answer is sealed on disk and given to nobody but its agent", async () => {
    const record = JSON.stringify(await readEvents(gateway.broker));
    for (const secret of [ANSWER, HEADER]) {
      for (const text of [...said, record, gateway.broker.log.join("\n")]) expect(found(secret, text)).toEqual([]);
      for (const [name, text] of filesOf(gateway.broker.folder)) expect(found(secret, text), name).toEqual([]);
    }
  });

  it("its agent reads the answer once, without the root key, and then it is nowhere", async () => {
    const outcome = await gateway.broker.as("coder").call("readOutcome", { params: { id } });
    const body = Buffer.from(outcome.body, "base64").toString();
    expect(body).toContain(ANSWER);
    expect(JSON.stringify(outcome.headers)).toContain(HEADER);
    expect(found(ROOT, body + JSON.stringify(outcome))).toEqual([]);
    said.length = 0;
    await askEverything();
    const again = gateway.broker.as("coder").call("readOutcome", { params: { id } });
    await expect(again).rejects.toMatchObject({ code: "not_found" });
    for (const text of said) expect(found(ANSWER, text)).toEqual([]);
  });

  it("the search would find them: their forms are found where they are planted", () => {
    for (const secret of [ROOT, ANSWER, HEADER]) {
      const planted = [secret, `x${secret}`, `xy${secret}`].map((text) =>
        Buffer.from(`${text} and more`).toString("base64"),
      );
      for (const text of planted) expect(found(secret, text)).not.toEqual([]);
    }
  });
});
