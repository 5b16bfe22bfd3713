// A client of the SSH agent protocol (draft-ietf-sshm-ssh-agent) over the agent's socket: lists keys, has one sign.
// Written here because the package that speaks it has an install script. It never sees a private key, believes no answer
// that is not exactly in form, and hands out no signature that it has not verified.

import { createPublicKey, hash, verify } from "node:crypto";
import { connect } from "node:net";
import { thumbprint } from "../core/thumbprint.ts";
import { ValetkeyError } from "./errors.ts";
import type { PublicKeyMembers, Signer, SignerAlgorithm } from "./signer.ts";
import { createSshReader, readKeyType, readPublicKey, readSignature, sshString, sshUint32 } from "./ssh-wire.ts";

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
/** Also what a locked agent answers. */
const FAILURE = 5;

const LENGTH_BYTES = 4;
const MAX_ANSWER_BYTES = 262_144;
const ANSWER_MS = 5_000;
/** An agent may ask a person before it signs (`ssh-add -c`). Within the life of a proof. */
const SIGN_MS = 45_000;

export interface SshKey {
  /** `SHA256:…`, as `ssh-add -l` prints it. */
  readonly fingerprint: string;
  /** `ssh-ed25519`. */
  readonly type: string;
  /** What its owner called it; any text at all. */
  readonly comment: string;
  readonly blob: Uint8Array;
  /** Null for a kind that cannot sign here. */
  readonly usable: { readonly alg: SignerAlgorithm; readonly publicJwk: PublicKeyMembers } | null;
}

export interface SshAgent {
  /** In the agent's order. A locked agent says that it has none. Throws ValetkeyError. */
  keys(): Promise<readonly SshKey[]>;
  /** Signs with this key, as long as the agent has it. Throws ValetkeyError where the kind cannot sign here. */
  signerOf(key: SshKey): Signer;
}

/** `socket`: the value of SSH_AUTH_SOCK. Nothing is opened before it is needed, and nothing stays open. */
export function createSshAgent({
  socket,
  answerMs = ANSWER_MS,
  signMs = SIGN_MS,
}: {
  readonly socket: string;
  readonly answerMs?: number;
  readonly signMs?: number;
}): SshAgent {
  let last: Promise<unknown> = Promise.resolve();
  /** One at a time: agents answer in turn, and two questions to a person at once confuse. */
  function ask(request: Uint8Array, limitMs: number): Promise<Uint8Array> {
    const answer = last.then(() => exchange(socket, request, limitMs));
    last = answer.catch(() => undefined);
    return answer;
  }

  return {
    keys: async () => readIdentities(await ask(Buffer.of(REQUEST_IDENTITIES), answerMs)),
    signerOf: ({ fingerprint, type, blob, usable }) => {
      if (usable === null)
        throw new ValetkeyError(
          `the key ${fingerprint} is ${type}: expected Ed25519 or ECDSA P-256, see ssh-keygen -t`,
        );
      const { alg, publicJwk } = usable;
      const publicKey = createPublicKey({ key: { ...publicJwk }, format: "jwk" });
      return {
        name: null,
        alg,
        publicJwk,
        kid: thumbprint(publicJwk),
        sign: async (bytes) => {
          const flags = sshUint32(0);
          const request = Buffer.concat([Buffer.of(SIGN_REQUEST), sshString(blob), sshString(bytes), flags]);
          const signature = readSigned(await ask(request, signMs), alg, fingerprint);
          const isGood =
            alg === "ES256"
              ? verify("sha256", bytes, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)
              : verify(null, bytes, publicKey, signature);
          if (!isGood) throw new ValetkeyError(`the SSH agent answered a signature that is not by ${fingerprint}`);
          return signature;
        },
      };
    },
  };
}

/** `SHA256:…` of a public key, as ssh-keygen and ssh-add print it. */
export function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${hash("sha256", blob, "base64").replace(/=+$/, "")}`;
}

function readIdentities(answer: Uint8Array): readonly SshKey[] {
  const reader = createSshReader(answer);
  const kind = reader.byte();
  if (kind === FAILURE) throw new ValetkeyError("the SSH agent does not list its keys: is it locked? see ssh-add -X");
  if (kind !== IDENTITIES_ANSWER) throw unexpected(kind);
  const keys: SshKey[] = [];
  // Every key has bytes, so that a count that is not true ends at the end of the answer.
  for (let left = reader.uint32(); left > 0; left--) {
    const blob = reader.string();
    const comment = Buffer.from(reader.string()).toString();
    keys.push({
      fingerprint: sshFingerprint(blob),
      type: readKeyType(blob),
      comment,
      blob,
      usable: readPublicKey(blob),
    });
  }
  reader.end();
  return keys;
}

function readSigned(answer: Uint8Array, alg: SignerAlgorithm, fingerprint: string): Uint8Array {
  const reader = createSshReader(answer);
  const kind = reader.byte();
  if (kind === FAILURE) {
    throw new ValetkeyError(
      `the SSH agent does not sign with ${fingerprint}: it is locked (ssh-add -X), the key was removed, or a person said no`,
    );
  }
  if (kind !== SIGN_RESPONSE) throw unexpected(kind);
  const signature = reader.string();
  reader.end();
  return readSignature(signature, alg);
}

function unexpected(kind: number): ValetkeyError {
  return new ValetkeyError(`the SSH agent answered with a message of type ${kind}: is SSH_AUTH_SOCK an SSH agent's?`);
}

/** One request and its one answer, on a connection of its own. */
function exchange(path: string, request: Uint8Array, limitMs: number): Promise<Uint8Array> {
  return new Promise((settle, fail) => {
    const socket = connect({ path });
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      finish();
    };
    const give = (message: string): void => end(() => fail(new ValetkeyError(message)));
    const timer = setTimeout(() => give(`the SSH agent did not answer within ${limitMs} ms`), limitMs);
    let received = Buffer.alloc(0);
    socket.on("error", (cause: NodeJS.ErrnoException) =>
      give(
        `cannot speak with the SSH agent at ${path} (${cause.code ?? "unknown"}): is it running, and SSH_AUTH_SOCK right?`,
      ),
    );
    socket.on("close", () => give("the SSH agent closed the connection before it had answered"));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < LENGTH_BYTES) return;
      const length = received.readUInt32BE();
      if (length === 0 || length > MAX_ANSWER_BYTES)
        return give(`the SSH agent announced an answer of ${length} bytes: expected 1 to ${MAX_ANSWER_BYTES}`);
      if (received.length > LENGTH_BYTES + length) return give("the SSH agent answered more than it announced");
      if (received.length === LENGTH_BYTES + length) {
        const answer = received.subarray(LENGTH_BYTES);
        end(() => settle(answer));
      }
    });
    socket.write(sshString(request));
  });
}
