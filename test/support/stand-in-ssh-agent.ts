// A stand-in of an SSH agent that answers bytes of the test's choosing, and the encodings to make them of, written here a
// second time on purpose. It ends with the test.

import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Removed when the test is over. */
export async function makeSocketFolder(): Promise<string> {
  // Short: the path of a socket has at most 107 bytes.
  const folder = await mkdtemp(join(tmpdir(), "vk-ssh-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Answers every whole request with these bytes; null: says nothing, `"close"`: hangs up. */
export async function startStandInAgent(answer: (request: Buffer) => Uint8Array | null | "close"): Promise<{
  readonly socket: string;
  /** The most requests that waited for their answers at one time. */
  mostAtOnce(): number;
}> {
  const socket = join(await makeSocketFolder(), "agent");
  let waiting = 0;
  let most = 0;
  const server = createServer((connection) => {
    let received = Buffer.alloc(0);
    connection.on("error", () => undefined);
    connection.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4 || received.length < 4 + received.readUInt32BE()) return;
      most = Math.max(most, ++waiting);
      // Some turns later, so that requests that were sent together are seen together.
      let turns = 20;
      const reply = (): void => {
        if (--turns > 0) return void setImmediate(reply);
        waiting--;
        const said = answer(received.subarray(4));
        if (said === "close") connection.destroy();
        else if (said !== null) connection.write(said);
      };
      reply();
    });
  });
  await new Promise<void>((settle) => void server.listen(socket, settle));
  onTestFinished(() => void server.close());
  return { socket, mostAtOnce: () => most };
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function sshText(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

export function framed(...parts: readonly Uint8Array[]): Buffer {
  return sshText(Buffer.concat(parts));
}

/** The shortest form of a number that is not negative. */
export function mpint(bytes: Uint8Array): Buffer {
  const digits = Buffer.from(bytes)
    .toString("hex")
    .replace(/^(?:00)+/, "");
  return sshText(Buffer.from(/^[89a-f]/.test(digits) ? `00${digits}` : digits, "hex"));
}
