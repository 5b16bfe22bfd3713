// `valetkey doctor --health`: is the broker of this container alive? For a health check that runs every few seconds,
// so it loads nothing but Node's own http client and prints only when something is wrong.

import { get } from "node:http";
import { EXIT, type ExitCode } from "./failure.ts";
import type { OutputStream, Variables } from "./surroundings.ts";

const TIMEOUT_MS = 2000;
const DEFAULT_PORT = 8420;

/** Asks `/healthz` on loopback, at the port that the broker listens on. */
export function checkHealth(env: Variables, stderr: OutputStream): Promise<ExitCode> {
  const port = Number(/:([0-9]{1,5})$/.exec(env["VALETKEY_LISTEN"] ?? "")?.[1] ?? DEFAULT_PORT);
  return new Promise((settle) => {
    const fail = (why: string): void => {
      stderr.write(`valetkey: no healthy broker at 127.0.0.1:${port}: ${why}\n`);
      settle(EXIT.refused);
    };
    const request = get({ host: "127.0.0.1", port, path: "/healthz", timeout: TIMEOUT_MS }, (response) => {
      response.resume();
      if (response.statusCode === 200) settle(EXIT.done);
      else fail(`status ${response.statusCode ?? 0}`);
    });
    request.on("timeout", () => request.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    request.on("error", (error) => fail(error.message));
  });
}
