// A real broker with the shipped Railway pack, pointed at a stand-in of that provider on loopback, its root key sealed.
// What a test needs to send calls through the gateway and to see what reached the provider.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openProvider, type Provider } from "../../src/cli/demo-provider.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { startTestBroker, type TestBroker } from "./broker.ts";
import { type Granted, grantedOf } from "./jwt-of.ts";

export const ROOT_KEY = "rw_root_7f3a9c51-0d2e-4b86-93aa-5e1c2d4f6b70";
export const TASK = "fix staging credentials";
const { environments, services } = PROVIDER;

/** Resources of the stand-in, as the pack names them. */
export const RESOURCES = {
  stagingService: `railway:service/${environments.staging}/${services.web}`,
  productionService: `railway:service/${environments.production}/${services.web}`,
  stagingVolume: `railway:volume/${PROVIDER.volumes.staging}`,
  productionVolume: `railway:volume/${PROVIDER.volumes.production}`,
  sharedVolume: `railway:volume/${PROVIDER.volumes.shared}`,
} as const;

export interface GatewayAnswer {
  readonly status: number;
  /** The header `Valetkey-Error`, or null. */
  readonly error: string | null;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export interface TestGateway {
  readonly broker: TestBroker;
  readonly provider: Provider;
  /** Where clients of the provider's API point. */
  readonly endpoint: string;
  /** A grant of `coder` for these, with its credential. */
  grant(permissions: readonly { action: string; resource: string }[], task?: string): Promise<Granted>;
  /** One POST to the endpoint; an object is sent as JSON. */
  post(
    credential: string,
    body: string | Uint8Array<ArrayBuffer> | object,
    headers?: Record<string, string>,
  ): Promise<GatewayAnswer>;
  /** Requests that reached the provider, without the broker's own look-ups. */
  reached(): readonly string[];
  close(): Promise<void>;
}

/** The shipped pack with the provider's address in place of the real ones. */
function railwayPack(origin: string, more = ""): string {
  const pack = readFileSync(join(import.meta.dirname, "../../scopes/upstreams/railway.yaml"), "utf8");
  return pack
    .replace(/^origins: .*$/m, `origins: [${origin}]\naddresses: [127.0.0.1/32]\n${more}`)
    .replace(/^ {2}\S+: staging$/m, `  ${environments.staging}: staging`)
    .replace(/^ {2}\S+: production$/m, `  ${environments.production}: production`);
}

export async function startTestGateway(
  options: { scopes?: Record<string, string>; pack?: string; env?: Record<string, string> } = {},
): Promise<TestGateway> {
  const provider = await openProvider({ rootToken: ROOT_KEY });
  const pack = railwayPack(provider.url, options.pack);
  // Attacks are many here; strikes have tests of their own.
  const settings = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
  const scopes = { "upstreams/railway.yaml": pack, "settings.yaml": settings, ...options.scopes };
  const broker = await startTestBroker({ scopes, ...(options.env === undefined ? {} : { env: options.env }) });
  await broker.as("admin-1").call("putSecret", {
    params: { name: "railway-root" },
    body: { value: ROOT_KEY, origins: [provider.url] },
  });
  const endpoint = `${broker.url}/gateway/railway/graphql/v2`;
  return {
    broker,
    provider,
    endpoint,
    async grant(permissions, task = TASK) {
      const body = { task, permissions: [...permissions] };
      return grantedOf(await broker.as("coder").call("requestGrant", { body }));
    },
    async post(credential, body, headers = {}) {
      return readAnswer(
        await fetch(endpoint, {
          method: "POST",
          headers: { authorization: `Bearer ${credential}`, "content-type": "application/json", ...headers },
          body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
        }),
      );
    },
    reached: () =>
      provider.calls
        .filter(({ body }) => !body.startsWith('{"query":"query($'))
        .map(({ method, body }) => `${method} ${body}`),
    async close() {
      await broker.close();
      await provider.close();
    },
  };
}

export async function readAnswer(response: Response): Promise<GatewayAnswer> {
  const text = await response.text();
  let json: unknown = {};
  try {
    json = JSON.parse(text);
  } catch {
    // Not every answer is JSON.
  }
  return {
    status: response.status,
    error: response.headers.get("valetkey-error"),
    headers: response.headers,
    text,
    json: typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {},
  };
}
