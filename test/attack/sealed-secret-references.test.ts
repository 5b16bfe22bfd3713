// Mounted root credentials: a listed name must not lead out of its folder, to Valetkey's own files, or to something that
// is no file; what nobody listed is not there (semantics, rule 26).

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { createSecretReferences } from "../../src/secrets/secret-references.ts";

const API = "https://api.example.com";
const VALUE = "mounted-root-credential";
let root = "";
let folder = "";

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "valetkey-mounted-")));
  folder = join(root, "mounted");
  mkdirSync(folder);
  mkdirSync(join(root, "state"));
  writeFileSync(join(root, "state/master.key"), "the-master-key-of-32-bytes-......");
  writeFileSync(join(root, "outside"), VALUE);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const references = (names: readonly string[], ownFolders = [join(root, "state"), join(root, "not-there")]) =>
  createSecretReferences({
    env: [{ name: "STRIPE", origins: [API], value: new Secret(Buffer.from(VALUE)) }],
    files: { folder, names: names.map((name) => ({ name, origins: [API] })) },
    ownFolders,
  });
const open = async (name: string): Promise<string> =>
  Buffer.from((await references([name]).open(`file:${name}`)).reveal()).toString();
const put = (name: string, bytes: string | Uint8Array): void => writeFileSync(join(folder, name), bytes);
const refusal = async (name: string): Promise<string> => {
  const thrown: unknown = await open(name).then(
    () => null,
    (error: unknown) => error,
  );
  expect(thrown).toMatchObject({ code: "secret_unavailable" });
  const text = thrown instanceof Error ? thrown.message : "";
  expect(text).not.toContain(VALUE);
  expect(text).not.toContain(root);
  return text;
};

describe("a mounted file", () => {
  it("gives its bytes without one line end, read again at each use", async () => {
    for (const [text, value] of [
      [VALUE, VALUE],
      [`${VALUE}\n`, VALUE],
      [`${VALUE}\r\n`, VALUE],
      [`${VALUE}\n\n`, `${VALUE}\n`],
      [`-----BEGIN KEY-----\n${VALUE}\n-----END KEY-----\n`, `-----BEGIN KEY-----\n${VALUE}\n-----END KEY-----`],
    ] as const) {
      put("stripe", text);
      expect(await open("stripe")).toBe(value);
    }
  });

  it("is found through links that stay in the folder, as Kubernetes mounts them, also after it changed them", async () => {
    mkdirSync(join(folder, "..2026_1"));
    put("..2026_1/stripe", "the-first-value");
    symlinkSync("..2026_1", join(folder, "..data"));
    symlinkSync("..data/stripe", join(folder, "stripe"));
    expect(await open("stripe")).toBe("the-first-value");
    mkdirSync(join(folder, "..2026_2"));
    put("..2026_2/stripe", "the-second-value");
    unlinkSync(join(folder, "..data"));
    symlinkSync("..2026_2", join(folder, "..data"));
    expect(await open("stripe")).toBe("the-second-value");
  });

  it("is found in a folder that is a link itself", async () => {
    put("stripe", VALUE);
    symlinkSync(folder, join(root, "link"));
    folder = join(root, "link");
    expect(await open("stripe")).toBe(VALUE);
  });

  it.each(["../outside", "../state/master.key", "..", ".", "", "/etc/passwd", "a/../../outside"])(
    "is refused as %j, though it were listed",
    async (name) => {
      await refusal(name);
    },
  );

  it("is refused where a link leads out of the folder, directly or through a folder", async () => {
    symlinkSync(join(root, "outside"), join(folder, "direct"));
    symlinkSync("../outside", join(folder, "relative"));
    symlinkSync(root, join(folder, "away"));
    symlinkSync("away/outside", join(folder, "through"));
    for (const name of ["direct", "relative", "through"]) expect(await refusal(name)).toContain("a link out of");
  });

  it("is refused where the folder's name only begins like the folder", async () => {
    mkdirSync(`${folder}-other`);
    writeFileSync(join(`${folder}-other`, "stripe"), VALUE);
    symlinkSync(`../mounted-other/stripe`, join(folder, "stripe"));
    expect(await refusal("stripe")).toContain("a link out of");
  });

  it("is refused where it is one of Valetkey's own, by whatever links", async () => {
    put("broker.db", VALUE);
    symlinkSync(folder, join(root, "store"));
    const own = [join(root, "store")];
    await expect(references(["broker.db"], own).open("file:broker.db")).rejects.toThrow("Valetkey's own files");
    mkdirSync(join(folder, "keys"));
    put("keys/master.key", VALUE);
    symlinkSync("keys/master.key", join(folder, "stripe"));
    await expect(references(["stripe"], [join(folder, "keys")]).open("file:stripe")).rejects.toThrow("own files");
  });

  it("is refused where it is a folder, a pipe that nobody writes to, a device or a dead link", async () => {
    mkdirSync(join(folder, "folder"));
    execFileSync("mkfifo", [join(folder, "pipe")]);
    symlinkSync("/dev/zero", join(folder, "device"));
    symlinkSync("nowhere", join(folder, "dead"));
    symlinkSync("circle", join(folder, "circle"));
    expect(await refusal("folder")).toMatch(/not a regular file/);
    expect(await refusal("pipe")).toMatch(/not a regular file/);
    expect(await refusal("device")).toMatch(/a link out of/);
    expect(await refusal("dead")).toMatch(/ENOENT/);
    expect(await refusal("circle")).toMatch(/ELOOP/);
    expect(await refusal("missing")).toMatch(/ENOENT/);
  });

  it("is refused where it is too short, too long, empty or no text", async () => {
    put("long", "x".repeat(16_385));
    put("huge", Buffer.alloc(2_000_000, 120));
    put("fits", `${"x".repeat(16_384)}\r\n`);
    put("short", "1234567\n");
    put("empty", "");
    put("binary", Buffer.of(255, 254, 253, 252, 251, 250, 249, 248));
    put("zero", "12345678\0");
    for (const name of ["long", "huge"]) expect(await refusal(name)).toContain("more than 16384 bytes");
    expect(await open("fits")).toHaveLength(16_384);
    expect(await refusal("short")).toContain("less than 8 bytes");
    expect(await refusal("empty")).toContain("is empty");
    expect(await refusal("binary")).toContain("not UTF-8");
    expect(await refusal("zero")).toContain("zero byte");
  });
});

describe("a reference that the operator does not list", () => {
  it("is not there, whatever lies in the folder or in the environment", async () => {
    put("github", VALUE);
    const listed = references(["stripe"]);
    for (const reference of [
      "file:github",
      "env:HOME",
      "env:PATH",
      "env:stripe",
      "file:STRIPE",
      "STRIPE",
      "env:",
      "",
    ]) {
      expect(listed.originsOf(reference), reference).toBeNull();
      await expect(listed.open(reference), reference).rejects.toMatchObject({ code: "secret_unavailable" });
    }
    expect(listed.originsOf("file:stripe")).toEqual([API]);
    expect(Buffer.from((await listed.open("env:STRIPE")).reveal()).toString()).toBe(VALUE);
    const none = createSecretReferences({ env: [], files: null, ownFolders: [] });
    await expect(none.open("file:stripe")).rejects.toMatchObject({ code: "secret_unavailable" });
    expect(none.list()).toEqual([]);
  });
});
