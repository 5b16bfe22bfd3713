// The agent of the demo: it asks the broker for grants, calls through the gateway, and keeps all that it ever hears.
// Writes its calls to the wire itself, since some of them are such as no well-behaved client would send.

import { type IncomingHttpHeaders, request } from "node:http";
import type { GrantAnswer } from "../api/grants.ts";
import type { Hold } from "../api/holds.ts";
import { type Permission, Problem } from "../api/values.ts";
import type { ApiClient, ApiClientOptions } from "../sdk/api-client.ts";
import { createApiClient } from "../sdk/api-client.ts";
import { refused } from "./failure.ts";

/** One call through the gateway; what is not said is a POST of JSON to the provider's own path. */
export interface AgentCall {
  readonly method?: string;
  /** The request-target, as it is to stand on the wire. */
  readonly target?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Other than the credential that it holds. */
  readonly credential?: string;
}

export interface CallAnswer {
  readonly status: number;
  /** Why the gateway refused; null where it did not. */
  readonly problem: Problem | null;
  /** Where the call waits; null where it does not. */
  readonly hold: string | null;
  readonly text: string;
}

export interface DemoAgent {
  /** Asks for a grant of these; the credential that it gets is used from then on. */
  request(...permissions: readonly Permission[]): Promise<GrantAnswer>;
  renew(): Promise<GrantAnswer>;
  call(call: AgentCall): Promise<CallAnswer>;
  /** What became of a call that was held, as this agent sees it. */
  readHold(id: string): Promise<Hold>;
  /** What the provider answered to it; the broker gives it once. */
  readOutcome(id: string): Promise<Pick<CallAnswer, "status" | "text">>;
  /** Heads and bodies of all answers that it ever got, of the broker's API and of the gateway. */
  readonly heard: readonly string[];
}

interface DemoAgentOptions extends Pick<ApiClientOptions, "name" | "key" | "clock"> {
  /** Of the broker. */
  readonly url: string;
  readonly task: string;
  /** Where the provider's API is at the gateway. */
  readonly target: string;
}

const CALL_TIMEOUT_MS = 5000;

export function createDemoAgent({ url, task, target, ...options }: DemoAgentOptions): DemoAgent {
  const heard: string[] = [];
  let held: GrantAnswer | null = null;
  const broker: ApiClient = createApiClient({
    ...options,
    url,
    fetch: async (...input) => {
      const response = await fetch(...input);
      heard.push(JSON.stringify([...response.headers]) + (await response.clone().text()));
      return response;
    },
  });
  function holding(): GrantAnswer {
    if (held === null) throw refused("the agent has no grant: an earlier step failed");
    return held;
  }
  const jwt = (): string => {
    const { credential } = holding();
    if (credential.kind !== "jwt") throw refused("no JWT: this upstream is behind the gateway");
    return credential.value;
  };
  return {
    heard,
    async request(...permissions) {
      const answer = await broker.call("requestGrant", { body: { task, permissions } });
      if (!("credential" in answer)) throw refused("no credential: the grant waits, or nothing was granted");
      held = answer;
      return answer;
    },
    async renew() {
      return broker.call("renewCredential", { params: { id: holding().grant.id } });
    },
    async call({ credential = jwt(), headers = {}, ...call }) {
      const all = { authorization: `Bearer ${credential}`, "content-type": "application/json", ...headers };
      const answer = await send(url, { target, ...call, headers: all });
      heard.push(JSON.stringify(answer.headers) + answer.text);
      const hold = answer.headers["valetkey-hold"];
      return {
        status: answer.status,
        problem: parseProblem(answer),
        hold: typeof hold === "string" ? hold : null,
        text: answer.text,
      };
    },
    async readHold(id) {
      return (await broker.call("readHold", { params: { id } })).hold;
    },
    async readOutcome(id) {
      const { status, body } = await broker.call("readOutcome", { params: { id } });
      const text = Buffer.from(body, "base64").toString();
      heard.push(text);
      return { status, text };
    },
  };
}

interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function send(url: string, call: Omit<AgentCall, "credential">): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const { method = "POST", target: path = "/", headers = {}, body } = call;
  return new Promise((settle, fail) => {
    // `agent: false`: a connection of its own for each call, so that none depends on what another left behind.
    const options = { hostname, port, method, path, headers, agent: false } as const;
    const sent = request({ ...options, signal: AbortSignal.timeout(CALL_TIMEOUT_MS) }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.once("error", fail).once("end", () => {
        settle({ status: answer.statusCode ?? 0, headers: answer.headers, text });
      });
    });
    sent.once("error", fail).end(body);
  });
}

/** The header tells the broker's refusal from an answer of the provider's. */
function parseProblem({ headers, text }: RawAnswer): Problem | null {
  return headers["valetkey-error"] === undefined ? null : Problem.parse(JSON.parse(text));
}
