// A stand-in of the broker's side of waiting, behind `fetch`: one hold and its grant, which each long poll moves on by one
// step of a script. The real broker is driven through the same client elsewhere.

import { createHash } from "node:crypto";
import type { Grant as GrantBody } from "../../src/api/grants.ts";
import type { Hold, OutcomeAnswer } from "../../src/api/holds.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { digestOfHold, type HoldDocument } from "../../src/core/hold-document.ts";
import { makeId } from "../../src/core/ids.ts";
import { makeClock } from "./signed-feed.ts";

export const ORIGIN = "https://broker.example";
export const GATEWAY = `${ORIGIN}/gateway/railway`;
const START = 1_800_000_000_000;
const PERMISSION = { action: "volume:delete", resource: "railway:volume/vol_1" } as const;
/** What the broker waits at most. */
const POLL_MS = 30_000;

export interface HeldBroker {
  readonly clock: ReturnType<typeof makeClock>;
  readonly fetch: typeof globalThis.fetch;
  readonly grant: GrantBody["id"];
  /** As the broker has it at this moment. */
  hold(): Hold;
  change(part: Partial<Hold>): void;
  /** Each request as `GET /v1/holds/{id}?wait=30`. */
  readonly calls: string[];
  /** What arrived at the gateway, or anywhere that is not the broker's API. */
  readonly outside: Request[];
  /** The answer to those; otherwise `200 fine`. */
  answerOutside: (request: Request) => Response;
  /** The next states; each long poll takes one. The last one stays. */
  steps: Partial<Hold>[];
  /** Answers to the next requests whose line starts so, before anything else. An error: the network fails. */
  fail(line: string, ...answers: (Response | Error)[]): void;
  outcome: OutcomeAnswer | null;
}

export function openHeldBroker(kind: "call" | "grant"): HeldBroker {
  const clock = makeClock(START);
  const grantId = makeId("grt", START, "0000000000000001");
  const id = makeId("hld", START, "0000000000000002");
  const failures = new Map<string, (Response | Error)[]>();
  let hold = holdBody(id, grantId, kind);
  let activeAt: number | null = kind === "call" ? START : null;
  let minted = 0;
  let released = false;

  const move = (part: Partial<Hold> = {}): void => {
    hold = { ...hold, ...part, version: hold.version + 1 };
    if (kind === "grant" && hold.state === "done") activeAt ??= clock.now();
  };
  const isLive = (): boolean => ["waiting", "ready", "firing"].includes(hold.state);

  const grant = (): GrantBody => ({
    id: grantId,
    agent: "coder",
    owner: "alice",
    task: "a task",
    role: "keeper",
    upstream: "railway",
    permissions: [{ ...PERMISSION, environments: ["staging"] }],
    environments: ["staging"],
    crossingFrom: null,
    status: released || (activeAt === null && !isLive()) ? "ended" : activeAt === null ? "held" : "active",
    endedBy: released ? "coder" : activeAt === null && !isLive() ? hold.endedBy : null,
    hold: kind === "grant" ? id : null,
    issuedAt: toTimestamp(START),
    endsAt: activeAt === null ? null : toTimestamp(activeAt + 900_000),
    ttlSeconds: 900,
    credentialTtlSeconds: 300,
    parents: [],
    policyDigest: "d",
    version: hold.version,
  });

  const granted = (): Response => {
    const audience = kind === "call" ? GATEWAY : "https://shop.example/api";
    const expiresAt = toTimestamp(clock.now() + 300_000);
    const credential = { id: "crd_x", kind: "jwt", value: `SECRET-${++minted}`, audience, expiresAt };
    return Response.json({ grant: grant(), credential }, { status: 201 });
  };

  const answer = (method: string, url: URL): Response => {
    const waits = url.searchParams.has("wait");
    const [, , noun, which, part] = url.pathname.split("/");
    if (which !== undefined && which !== grantId && which !== id) return problem(404, "not_found");
    switch (`${method} ${noun}/${part ?? ""}`) {
      case "POST grants/":
        return kind === "call" ? granted() : Response.json({ grant: grant(), hold }, { status: 202 });
      case "POST grants/credential":
        return grant().status === "active" ? granted() : problem(409, "conflict");
      case "DELETE grants/":
        released = true;
        return Response.json(grant());
      case "DELETE holds/":
        if (!isLive()) return problem(409, "conflict");
        move({ state: "cancelled", endedBy: "coder" });
        return Response.json(hold);
      case "GET holds/outcome":
        return takeOutcome();
      case "GET grants/":
      case "GET holds/":
        if (waits && isLive()) {
          move(held.steps.shift());
          // Nothing happened: it was held open for as long as it was asked to be.
          if (isLive()) clock.advance(POLL_MS);
        }
        return noun === "grants" ? Response.json(grant()) : Response.json(holdAnswer(hold));
      default:
        return problem(404, "not_found");
    }
  };

  const takeOutcome = (): Response => {
    const { outcome } = held;
    if (outcome === null) return problem(404, "not_found");
    held.outcome = null;
    return Response.json(outcome);
  };

  const held: HeldBroker = {
    clock,
    grant: grantId,
    hold: () => hold,
    change: move,
    calls: [],
    outside: [],
    answerOutside: () => new Response("fine"),
    steps: [],
    fail: (line, ...answers) => void failures.set(line, [...(failures.get(line) ?? []), ...answers]),
    outcome: null,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      // As a network does: timers and signals get their turn.
      await new Promise((resolve) => void setImmediate(resolve));
      request.signal.throwIfAborted();
      const url = new URL(request.url);
      if (url.origin !== ORIGIN || !url.pathname.startsWith("/v1/")) {
        held.outside.push(request);
        return held.answerOutside(request);
      }
      const line = `${request.method} ${url.pathname}${url.search}`;
      held.calls.push(line);
      const failing = [...failures].find(([start, answers]) => line.startsWith(start) && answers.length > 0);
      const failure = failing?.[1].shift();
      if (failure instanceof Error) throw failure;
      return failure ?? answer(request.method, url);
    },
  };
  return held;
}

/** What the gateway answers to a call that must wait. */
export function held202(id: string, headers: Record<string, string> = {}): Response {
  return new Response('{"errors":[{"message":"it waits"}]}', {
    status: 202,
    headers: { "valetkey-hold": id, location: "https://evil.example/", ...headers },
  });
}

export function outcomeOf(hold: string, body: string | Uint8Array, more: Partial<OutcomeAnswer> = {}): OutcomeAnswer {
  const bytes = Buffer.from(body);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const headers: [string, string][] = [["content-type", "application/json"]];
  // The template is what the schema promises; what is made here is a hold's id.
  return { hold: hold as OutcomeAnswer["hold"], status: 200, headers, body: bytes.toString("base64"), sha256, ...more };
}

/** What the hold says of it. */
export function recordOf({ status, body, sha256 }: OutcomeAnswer): NonNullable<Hold["outcome"]> {
  return { status, body: { sha256, bytes: Buffer.from(body, "base64").length }, readable: true };
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  const body = { type: "about:blank", title: "t", status, code, detail: `answered ${status}`, reasons: [] };
  return Response.json(body, { status, headers: { "content-type": "application/problem+json", ...headers } });
}

function holdBody(id: Hold["id"], grant: Hold["grant"], kind: Hold["kind"]): Hold {
  return {
    id,
    kind,
    state: "waiting",
    endedBy: null,
    why: null,
    agent: "coder",
    owner: "alice",
    task: "a task",
    role: "keeper",
    upstream: "railway",
    grant,
    operation: kind === "call" ? "mutation volumeDelete" : "grant",
    permissions: [{ ...PERMISSION, environments: ["staging"] }],
    reason: null,
    digest: digestOfHold(documentOf(id, grant)),
    requestedAt: toTimestamp(START),
    firesAt: null,
    expiresAt: toTimestamp(START + 7 * 86_400_000),
    endedAt: null,
    missing: [{ kind: "delay", message: "a delay of 48h", until: null, delaySeconds: 172_800 }],
    approvals: [],
    outcome: null,
    version: 1,
  };
}

function documentOf(hold: Hold["id"], grant: Hold["grant"]): HoldDocument {
  return {
    type: "valetkey-hold/1",
    issuer: ORIGIN,
    hold,
    grant,
    agents: [{ name: "coder", owner: "alice" }],
    task: "a task",
    role: "keeper",
    upstream: "railway",
    permissions: [{ ...PERMISSION, labels: { environment: ["staging"] } }],
    demands: [],
    reason: null,
    subject: {
      kind: "grant",
      credential: "jwt",
      ttlSeconds: 900,
      credentialTtlSeconds: 300,
      crossingFrom: null,
      providerPolicy: null,
      cnf: null,
    },
  };
}

function holdAnswer(hold: Hold): unknown {
  const others = { grants: [], holds: [], more: false };
  return {
    hold,
    document: documentOf(hold.id, hold.grant),
    body: null,
    backups: [],
    others,
    ineligible: null,
    policyChanged: false,
  };
}
