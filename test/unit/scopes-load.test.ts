// A folder into a set: what is read, what is refused, and that the sample is in order.

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toResource } from "../../src/scopes/catalogue.ts";
import { emitSchemas } from "../../src/scopes/documents.ts";
import { loadScopes, type LoadResult } from "../../src/scopes/load.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import { baseFiles, newKey } from "../support/scopes-text.ts";

let root: string;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "scopes-"));
  folder = join(root, "scopes");
  mkdirSync(folder);
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function writeBase(): void {
  for (const { path, text } of baseFiles()) write(path.replace("scopes/", ""), text);
}

const problemsOf = (result: LoadResult) => ("problems" in result ? result.problems.map(formatProblem) : []);

function setOf(result: LoadResult) {
  if ("problems" in result) throw new Error(problemsOf(result).join("\n"));
  return result.set;
}

const environment = (name: string) => `kind: Environment\nname: ${name}\n`;

describe("loadScopes", () => {
  it("reads .yaml and .yml, sub-folders and symbolic links, and nothing else", async () => {
    writeBase();
    mkdirSync(join(folder, "a/b/c/d"), { recursive: true });
    write("a/b/c/d/deep.yml", environment("deep"));
    write("README.md", "not: [yaml");
    write(".hidden.yaml", "not: [yaml");
    mkdirSync(join(folder, ".git"));
    write(".git/x.yaml", "not: [yaml");
    writeFileSync(join(root, "elsewhere.yaml"), environment("linked"));
    symlinkSync(join(root, "elsewhere.yaml"), join(folder, "link.yaml"));
    const set = setOf(await loadScopes(folder));
    expect([...set.environments.keys()].toSorted()).toEqual(["deep", "linked", "production", "staging"]);
  });

  it("refuses the whole set for one bad file among forty, and names it", async () => {
    for (let i = 0; i < 39; i++) write(`e${i}.yaml`, environment(`e${i}`));
    const bad = write("e39.yaml", "kind: Environment\nname: E39\n");
    expect(problemsOf(await loadScopes(folder))).toEqual([
      expect.stringContaining(`${bad}:2:7: name: expected a name`),
    ]);
  });

  it.each([
    ["missing", () => rmSync(folder, { recursive: true }), "found nothing: make it, or set VALETKEY_SCOPES"],
    [
      "a file",
      () => (rmSync(folder, { recursive: true }), writeFileSync(folder, "")),
      "expected a folder that can be read, found a file",
    ],
    ["empty", () => undefined, "expected at least one .yaml file, found none"],
    ["without a document", () => void write("a.yaml", "# nothing\n---\n"), "expected at least one document"],
    ["too deep", () => mkdirSync(join(folder, "a/b/c/d/e"), { recursive: true }), "at most 4 deep"],
    ["not UTF-8", () => void write("a.yaml", Uint8Array.of(0x6b, 0xff)), "expected UTF-8"],
    [
      "a folder named like a file that is a dangling link",
      () => symlinkSync("nowhere", join(folder, "a.yaml")),
      "expected a regular file",
    ],
    ["a link to itself", () => symlinkSync("a.yaml", join(folder, "a.yaml")), "expected a regular file"],
  ])("refuses a folder that is %s", async (_rule, prepare, message) => {
    prepare();
    const problems = problemsOf(await loadScopes(folder));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });

  // Root reads everything: the rule can only be seen by somebody else.
  it.skipIf(process.getuid?.() === 0)("refuses a file or folder that may not be read", async () => {
    chmodSync(write("a.yaml", environment("a")), 0o000);
    expect(problemsOf(await loadScopes(folder))[0]).toContain("no permission to read it");
    chmodSync(folder, 0o000);
    expect(problemsOf(await loadScopes(folder))[0]).toContain("no permission to read it");
    chmodSync(folder, 0o700);
  });

  it("reads key files beside the folder, refuses broken ones, and says on which files the set depends", async () => {
    writeBase();
    write(
      "agent.yaml",
      "kind: Agent\nname: x\nlabels: { environment: staging }\nkeys: [{ file: ../keys/x.pub.jwk }]\n",
    );
    const key = join(root, "keys/x.pub.jwk");
    const missing = await loadScopes(folder);
    expect(missing.namedFiles).toEqual([key]);
    expect(setOf(missing).principals.get("x")?.keys).toEqual([]);
    mkdirSync(join(root, "keys"));
    writeFileSync(key, newKey());
    const present = setOf(await loadScopes(folder));
    expect(present.principals.get("x")?.keys).toHaveLength(1);
    expect(present.digest).not.toBe(setOf(missing).digest);
    writeFileSync(key, "{");
    expect(problemsOf(await loadScopes(folder))[0]).toContain("agent.yaml:4:16: expected a public JWK in JSON");
    rmSync(key);
    mkdirSync(key);
    expect(problemsOf(await loadScopes(folder))[0]).toContain("expected a regular file");
  });
});

describe("the sample", () => {
  it("loads without a problem, and warns of nothing but keys that are not made yet", async () => {
    const set = setOf(await loadScopes("scopes"));
    expect([...set.roles.keys()]).toEqual(["domain-editor", "volume-keeper", "volume-reader"]);
    expect([...set.principals.keys()].toSorted()).toEqual([
      "admin-1",
      "backup-1",
      "coder",
      "dba-1",
      "oncall-1",
      "security-1",
      "shop-verifier",
    ]);
    expect(set.resources.get("shop-staging:volume/shared")?.environments).toEqual(["staging", "production"]);
    expect(set.warnings.filter((warning) => !warning.includes("cannot authenticate with"))).toEqual([]);
  });

  it("holds the deletion of a volume for backups that its attestor can attest, of Railway's volumes too", async () => {
    const { resources, roles, principals } = setOf(await loadScopes("scopes"));
    const keeper = roles.get("volume-keeper")?.permissions.find(({ actions }) => actions.has("volume:delete"));
    const attestor = principals.get("backup-1");
    if (attestor?.kind !== "Agent") throw new Error("expected the attestor");
    const places = keeper?.requires?.backup?.separateFrom ?? [];
    expect(places).not.toEqual([]);
    const volumes = [...resources.values()].filter(({ labels }) => labels["type"]?.includes("volume"));
    expect(volumes).not.toEqual([]);
    for (const volume of volumes) {
      expect(keeper?.coversResource(volume)).toBe(true);
      expect(attestor.attests?.(volume)).toBe(true);
      for (const place of places) expect(volume.labels[place], `${volume.id} ${place}`).toHaveLength(1);
    }
    const railways = toResource({ kind: "Resource", id: "railway:volume/x", labels: { environment: "staging" } });
    expect(keeper?.coversResource(railways)).toBe(true);
    expect(attestor.attests?.(railways)).toBe(true);
    const service = resources.get("shop-staging:service/web");
    expect(service === undefined || attestor.attests?.(service)).toBe(false);
  });
});

describe("docs/schemas", () => {
  it("are those that the code emits", () => {
    for (const [name, schema] of Object.entries(emitSchemas())) {
      expect(JSON.parse(readFileSync(join("docs/schemas", name), "utf8"))).toEqual(JSON.parse(JSON.stringify(schema)));
    }
  });
});
