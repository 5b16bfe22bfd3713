// A resource server in a process of its own: verifies what it is sent without pause, and says the instant at which it
// refused for the first time. Instants are of the machine's monotonic clock, which all processes share.

import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import { createVerifier, VerificationError } from "../../../src/sdk/verify.ts";
import { ACTION, AUDIENCE, ENVIRONMENT, RESOURCE } from "../broker.ts";
import type { WatcherReport, WatcherSetup } from "../revocation.ts";

const GIVE_UP_MS = 10_000;

// `revocation.ts` wrote it with `JSON.stringify` from this type.
const { issuer, url, key, pauseMs = 0 } = JSON.parse(process.env["WATCHER_SETUP"] ?? "{}") as WatcherSetup;
const verifier = createVerifier({ issuer, url, audience: AUDIENCE, environment: ENVIRONMENT, key });

function report(message: WatcherReport): void {
  process.send?.(message);
}

async function watch(jwt: string): Promise<void> {
  const deadline = performance.now() + GIVE_UP_MS;
  for (let accepted = 0; performance.now() < deadline; accepted++) {
    try {
      await verifier.verify(jwt, { action: ACTION, resource: RESOURCE });
      if (accepted === 0) report({ kind: "accepted" });
    } catch (cause) {
      const code = cause instanceof VerificationError ? cause.code : "unknown";
      return report({ kind: "refused", code, atNanos: process.hrtime.bigint().toString() });
    }
    await (pauseMs === 0 ? nextTurn() : wait(pauseMs));
  }
  report({ kind: "refused", code: "never", atNanos: "0" });
}

process.on("message", (jwt: string) => void watch(jwt));
process.on("disconnect", () => process.exit(0));
await verifier.ready();
report({ kind: "ready" });
