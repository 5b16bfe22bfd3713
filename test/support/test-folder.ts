// A folder with the shipped sample scopes, more of them, and fresh keys: what a broker needs to start.

import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, type JWK } from "jose";

const SAMPLE = join(import.meta.dirname, "../../scopes");
/** The sample's principals, a second agent, which the tests add to its policy, and spare names that a test may use. */
const NAMES = "coder backup-1 oncall-1 dba-1 security-1 admin-1 shop-verifier"
  .concat(" other-agent spare-agent spare-attestor oncall-2 dba-2")
  .split(" ");

/** A second agent, of another owner. */
const OTHER_AGENT = `kind: Agent
name: other-agent
owner: security-1
labels: { environment: staging, team: platform }
keys: [{ file: ../.valetkey/keys/other-agent.pub.jwk }]
`;

export interface TestFolder {
  readonly path: string;
  keyOf(name: string): JWK;
  /** Writes or replaces one file of the scopes folder. */
  writeScopes(file: string, text: string): void;
  remove(): void;
}

const made = new Map<string, Promise<JWK>>();

/** Key pairs are made once a test file: making them is slow, and they are all alike. */
function keyPairOf(name: string): Promise<JWK> {
  const known = made.get(name);
  if (known !== undefined) return known;
  const fresh = generateKeyPair("ES256", { extractable: true }).then((pair) => exportJWK(pair.privateKey));
  made.set(name, fresh);
  return fresh;
}

export async function makeTestFolder(scopes: Readonly<Record<string, string>> = {}): Promise<TestFolder> {
  const path = mkdtempSync(join(tmpdir(), "valetkey-test-"));
  cpSync(SAMPLE, join(path, "scopes"), { recursive: true });
  mkdirSync(join(path, ".valetkey/keys"), { recursive: true, mode: 0o700 });
  const keys = new Map<string, JWK>();
  for (const name of NAMES) {
    const key = await keyPairOf(name);
    keys.set(name, key);
    const { d: _private, ...publicJwk } = key;
    writeFileSync(join(path, `.valetkey/keys/${name}.pub.jwk`), JSON.stringify(publicJwk));
    writeFileSync(join(path, `.valetkey/keys/${name}.jwk`), JSON.stringify({ ...key, sub: name }), { mode: 0o600 });
  }
  const writeScopes = (file: string, text: string): void => writeFileSync(join(path, "scopes", file), text);
  writeScopes("test.yaml", OTHER_AGENT);
  for (const [file, text] of Object.entries(scopes)) writeScopes(file, text);
  return {
    path,
    keyOf: (name) => {
      const key = keys.get(name);
      if (key === undefined) throw new Error(`the test folder has no key for ${name}`);
      return key;
    },
    writeScopes,
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
