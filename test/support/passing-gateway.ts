// The last two steps of the gateway alone, egress and passing on, behind a real HTTP server: what is judged before them
// has tests of its own. The credential to blot out is `root-credential`, unless a test says.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BrokerError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import { EgressError } from "../../src/gateway/egress-error.ts";
import { createEgress, type EgressUpstream } from "../../src/gateway/egress.ts";
import { passAnswer } from "../../src/gateway/pass-answer.ts";
import { createScrubber } from "../../src/gateway/scrub.ts";
import type { OddUpstream } from "./odd-upstream.ts";

const ROOT = Buffer.from("root-credential");

type Passed = Awaited<ReturnType<typeof passAnswer>>;

export interface PassingGateway extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** What became of each call that was answered by the upstream, or why none was. */
  readonly outcomes: readonly (Passed | BrokerError)[];
  /** The next outcome. */
  outcome(): Promise<Passed | BrokerError>;
  /** Ends the calls that are under way, as a revocation does. */
  cut(): void;
}

export function upstreamAt(
  origin: string,
  change: Partial<EgressUpstream> & { readonly timeoutMs?: number; readonly responseBytes?: number } = {},
): EgressUpstream {
  const { timeoutMs = 5000, responseBytes = 1_048_576, ...rest } = change;
  return {
    name: "odd",
    origins: [origin],
    addresses: ["127.0.0.1/32"],
    ca: null,
    limits: { requestBytes: 1_048_576, responseBytes, timeoutMs },
    ...rest,
  };
}

export async function openPassingGateway(
  upstream: OddUpstream,
  change: Parameters<typeof upstreamAt>[1] = {},
  secret: Buffer = ROOT,
): Promise<PassingGateway> {
  const to = upstreamAt(upstream.origin, change);
  const egress = createEgress(to);
  const outcomes: (Passed | BrokerError)[] = [];
  const waiting: ((outcome: Passed | BrokerError) => void)[] = [];
  const controllers = new Set<AbortController>();
  const note = (outcome: Passed | BrokerError): void => {
    outcomes.push(outcome);
    waiting.shift()?.(outcome);
  };
  const server = createServer((request, response) => {
    const controller = new AbortController();
    controllers.add(controller);
    response.on("close", () => {
      if (!response.writableFinished) controller.abort();
    });
    const { method = "", url = "" } = request;
    const { signal } = controller;
    egress
      .send({ origin: to.origins[0], method, path: url, headers: [], body: null }, signal)
      .then((answer) =>
        passAnswer(answer, response, {
          scrubber: createScrubber(new Secret(secret)),
          maxBytes: to.limits.responseBytes,
          signal,
        }),
      )
      .then(note, (thrown: unknown) => {
        const error = thrown instanceof EgressError ? thrown.error : thrown;
        if (!(error instanceof BrokerError)) throw error;
        note(error);
        if (!response.destroyed) response.writeHead(error.status).end(error.detail);
      })
      .finally(() => controllers.delete(controller));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A server that listens on a port has an address with a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    outcomes,
    outcome: () => new Promise((resolve) => waiting.push(resolve)),
    cut: () => {
      for (const controller of controllers) controller.abort();
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await egress.close();
    },
  };
}
