// Row 6: how long after a revocation's answer something still accepts what it ended: a verifier in another process, which
// hears of it by the feed, and the broker itself, which is asked for renewals the moment after.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { JWK } from "jose";
import { type BenchBroker, makeBenchFolder, startBroker } from "./broker.ts";
import { serverScript } from "./child.ts";
import type { SignAssertion } from "./presign.ts";
import type { Bench, Section } from "./report.ts";
import { median } from "./stats.ts";
import { type MintedCredential, mintCredentials } from "./verify.ts";

export interface WatcherSetup {
  readonly issuer: string;
  /** Where it follows the feed, if not at the issuer. */
  readonly url?: string;
  readonly key: JWK & { readonly sub: string };
  /** Between two looks; 0: none. Many on few processors must leave each other some. */
  readonly pauseMs?: number;
}

export type WatcherReport =
  | { readonly kind: "ready" | "accepted" }
  | { readonly kind: "refused"; readonly code: string; readonly atNanos: string };

const REVOCATIONS = 20;
/** With 20 revocations fewer than the refusals that one agent has a minute: what is measured is the cut-off. */
const RENEWALS_AFTER = 2;
const MAX_MS = 250;
const WAIT_MS = 15_000;

export async function benchRevocation({ main, effort, say }: Bench): Promise<readonly Section[]> {
  const folder = await makeBenchFolder();
  try {
    const broker = await startBroker(main, folder);
    try {
      return [await measure(broker, effort.quick ? 5 : REVOCATIONS, say)];
    } finally {
      await broker.end();
    }
  } finally {
    folder.remove();
  }
}

async function measure(broker: BenchBroker, count: number, say: (text: string) => void): Promise<Section> {
  const minted = await mintCredentials(broker, count, (index) => `task ${index}`);
  const setup: WatcherSetup = {
    issuer: broker.url,
    key: { ...broker.folder.keyOf("shop-verifier"), sub: "shop-verifier" },
  };
  const watcher = startWatcher(setup);
  try {
    await nextReport(watcher, "ready");
    const security = await broker.signer("security-1");
    const agent = await broker.signer("coder");
    const lateMs: number[] = [];
    let acceptedAfter = 0;
    say(`${count} revocations`);
    for (const [index, credential] of minted.entries()) {
      const accepted = nextReport(watcher, "accepted");
      watcher.send(credential.jwt);
      await accepted;
      const refused = nextReport(watcher, "refused");
      const answeredAt = await revoke(
        broker,
        security,
        index % 2 === 0 ? { grant: credential.grant } : { task: credential.task },
      );
      acceptedAfter += await countRenewals(broker, agent, credential);
      const report = await refused;
      if (report.kind !== "refused" || report.code !== "cut_off")
        throw new Error(`expected the verifier to refuse as cut off, found ${JSON.stringify(report)}`);
      lateMs.push(Number(BigInt(report.atNanos) - answeredAt) / 1e6);
    }
    return describe(lateMs, acceptedAfter, count);
  } finally {
    await endWatcher(watcher);
  }
}

export function startWatcher(setup: WatcherSetup): ChildProcess {
  const env = { PATH: process.env["PATH"], NODE_ENV: "production", WATCHER_SETUP: JSON.stringify(setup) };
  return fork(serverScript("watcher"), { env, execArgv: [] });
}

export async function endWatcher(watcher: ChildProcess): Promise<void> {
  watcher.disconnect();
  if (watcher.exitCode === null) await once(watcher, "exit");
}

function describe(lateMs: readonly number[], acceptedAfter: number, count: number): Section {
  const slowest = Math.max(...lateMs);
  return {
    title: `Revoking: ${count} revocations, by grant and by task in turn`,
    lines: [
      {
        what: "from the answer until a verifier in another process refuses (negative: it refused before)",
        measured: `median ${median(lateMs).toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms`,
        target: `≤ ${MAX_MS} ms`,
        met: slowest <= MAX_MS,
      },
      {
        what: `renewals that the broker accepted after its answer, of ${count * RENEWALS_AFTER}`,
        measured: String(acceptedAfter),
        target: "0",
        met: acceptedAfter === 0,
      },
    ],
  };
}

/** The instant at which the answer was here, by the clock that the watcher uses too. */
export async function revoke(
  broker: BenchBroker,
  sign: SignAssertion,
  target: Readonly<Record<string, string>>,
): Promise<bigint> {
  const response = await fetch(`${broker.url}/v1/revocations`, {
    method: "POST",
    headers: { Authorization: `Bearer ${sign()}`, "Content-Type": "application/json" },
    body: JSON.stringify({ target, reason: "measure a revocation" }),
  });
  const answeredAt = process.hrtime.bigint();
  const text = await response.text();
  if (response.status !== 201)
    throw new Error(`expected the revocation to be answered with 201, found ${response.status}: ${text.slice(0, 300)}`);
  return answeredAt;
}

async function countRenewals(broker: BenchBroker, sign: SignAssertion, { grant }: MintedCredential): Promise<number> {
  const answers = await Promise.all(
    Array.from({ length: RENEWALS_AFTER }, async () => {
      const response = await fetch(`${broker.url}/v1/grants/${grant}/credential`, {
        method: "POST",
        headers: { Authorization: `Bearer ${sign()}` },
      });
      const text = await response.text();
      if (response.status !== 201 && response.status !== 403)
        throw new Error(`expected a renewal or a refusal, found ${response.status}: ${text.slice(0, 300)}`);
      return response.status;
    }),
  );
  return answers.filter((status) => status === 201).length;
}

export async function nextReport(watcher: ChildProcess, kind: WatcherReport["kind"]): Promise<WatcherReport> {
  const signal = AbortSignal.timeout(WAIT_MS);
  for (;;) {
    const [report] = (await once(watcher, "message", { signal })) as [WatcherReport];
    if (report.kind === kind) return report;
    if (report.kind === "refused") throw new Error(`the verifier refused too early: ${JSON.stringify(report)}`);
  }
}
