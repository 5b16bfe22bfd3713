// Which key of the caller's SSH agent is meant by `--ssh-key`: a fingerprint, a public key file or a comment. Exactly one
// key, or an error that lists what there is. Never reads a private key file.

import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type { Signer } from "../sdk/signer.ts";
import { createSshAgent, type SshAgent, sshFingerprint, type SshKey } from "../sdk/ssh-agent.ts";
import { messageOf, wrongUse } from "./failure.ts";
import type { Surroundings } from "./surroundings.ts";

/** Longer files are no public key. */
const MAX_PUBLIC_FILE_BYTES = 16_384;

/** Throws CommandFailure (exit 2) where the environment names no agent. */
export function openSshAgent({ env }: Pick<Surroundings, "env">): SshAgent {
  const socket = env["SSH_AUTH_SOCK"] ?? "";
  if (socket === "")
    throw wrongUse("SSH_AUTH_SOCK is not set: start an agent with eval $(ssh-agent), then add a key with ssh-add");
  return createSshAgent({ socket });
}

/** Throws CommandFailure (exit 2) where no key, or more than one, is meant. */
export async function findSshSigner(surroundings: Pick<Surroundings, "env" | "cwd">, which: string): Promise<Signer> {
  const agent = openSshAgent(surroundings);
  const wanted = which.endsWith(".pub") ? await readFingerprint(resolve(surroundings.cwd, which)) : which;
  const keys = distinct(await agent.keys());
  const found = keys.filter(
    ({ fingerprint, comment }) => (wanted.startsWith("SHA256:") ? fingerprint : comment) === wanted,
  );
  const [key, another] = found;
  if (key === undefined || another !== undefined) {
    const what =
      key === undefined ? `the SSH agent has no key ${which}` : `the SSH agent has ${found.length} keys ${which}`;
    throw wrongUse(`${what}: expected SHA256:…, a .pub file or a comment that only one key has; ${listed(keys)}`);
  }
  if (key.usable === null)
    throw wrongUse(
      `${key.fingerprint} is ${key.type}: expected an Ed25519 or ECDSA P-256 key, see ssh-keygen -t ed25519`,
    );
  return agent.signerOf(key);
}

/** An agent may have a key from a file and from a token: it is one key. */
function distinct(keys: readonly SshKey[]): readonly SshKey[] {
  return [...new Map(keys.map((key) => [key.fingerprint, key])).values()];
}

function listed(keys: readonly SshKey[]): string {
  if (keys.length === 0) return "it has none (is it locked? see ssh-add -X)";
  return "see valetkey key ssh";
}

/** Of the one line of a public key file: type, base64, comment. */
async function readFingerprint(path: string): Promise<string> {
  const [, encoded = ""] = (await readPublicFile(path)).trim().split(/\s+/);
  const blob = Buffer.from(encoded, "base64");
  if (blob.length === 0 || blob.toString("base64") !== encoded)
    throw wrongUse(`${path} is not an SSH public key: expected one line such as 'ssh-ed25519 AAAA… comment'`);
  return sshFingerprint(blob);
}

async function readPublicFile(path: string): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_PUBLIC_FILE_BYTES), 0, MAX_PUBLIC_FILE_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } catch (error) {
    throw wrongUse(`cannot read ${path}: ${messageOf(error)}`);
  }
}
