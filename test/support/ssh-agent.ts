// A real ssh-agent of its own for one test, with a folder for keys (Debian: openssh-client). It ends with the test.

import { execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";
import { makeSocketFolder } from "./stand-in-ssh-agent.ts";

const run = promisify(execFile);
const PROGRAMS = ["ssh-agent", "ssh-add", "ssh-keygen"];

const missing = PROGRAMS.filter(
  (name) => !(process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, name))),
);
if (missing.length > 0 && process.env["CI"] === "true")
  throw new Error(`${missing.join(", ")} not found in PATH: install openssh-client`);
if (missing.length > 0)
  process.stderr.write(`left out, for want of ${missing.join(", ")} (openssh-client): tests with an SSH agent\n`);

/** False where this machine has none; with CI=true that is an error. */
export const hasSshAgent = missing.length === 0;

export interface TestAgent {
  readonly socket: string;
  readonly folder: string;
  /** Makes a key in the folder, adds it; answers the path of its public file. */
  add(type: "ed25519" | "ecdsa" | "rsa", comment: string, ...options: readonly string[]): Promise<string>;
  /** Locks it (`-x`), or unlocks it (`-X`). */
  lock(option: "-x" | "-X"): Promise<void>;
  remove(publicFile: string): Promise<void>;
}

/** `confirms`: what a person answers whom it asks, for keys that were added with `-c`. */
export async function startSshAgent(confirms: boolean = false): Promise<TestAgent> {
  const folder = await makeSocketFolder();
  const socket = join(folder, "agent");
  const path = process.env["PATH"] ?? "";
  const asked = { SSH_ASKPASS: confirms ? "/bin/true" : "/bin/false", SSH_ASKPASS_REQUIRE: "force" };
  const env = { PATH: path, ...asked };
  const child = spawn("ssh-agent", ["-D", "-a", socket], { env, stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  // It prints how to reach it when it listens.
  await new Promise<void>((settle, fail) => {
    child.once("error", fail).once("close", () => fail(new Error("ssh-agent ended at its start")));
    child.stdout.once("data", () => settle());
  });
  const sshAdd = async (argv: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<void> => {
    await run("ssh-add", argv, { env: { PATH: path, SSH_AUTH_SOCK: socket, ...more } });
  };
  let count = 0;
  return {
    socket,
    folder,
    lock: async (option) => {
      const password = join(folder, "password");
      await writeFile(password, "#!/bin/sh\necho letmein\n", { mode: 0o700 });
      await sshAdd([option], { SSH_ASKPASS: password, SSH_ASKPASS_REQUIRE: "force" });
    },
    remove: (publicFile) => sshAdd(["-q", "-d", publicFile]),
    add: async (type, comment, ...options) => {
      const file = join(folder, `key-${++count}`);
      await run("ssh-keygen", ["-q", "-t", type, ...sizeOf(type), "-N", "", "-C", comment, "-f", file], {
        env: { PATH: path },
      });
      await sshAdd(["-q", ...options, file]);
      return `${file}.pub`;
    },
  };
}

function sizeOf(type: "ed25519" | "ecdsa" | "rsa"): readonly string[] {
  switch (type) {
    case "ed25519":
      return [];
    case "ecdsa":
      return ["-b", "256"];
    case "rsa":
      return ["-b", "2048"];
  }
}
