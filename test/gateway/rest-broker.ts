// A real broker with one of the shipped REST packs, pointed at its stand-ins, and its root key sealed. Also finds a
// secret in what a client was given, however deep, in clear or in base64.

import { readAnswer, type GatewayAnswer } from "../support/gateway.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { jwtOf } from "../support/jwt-of.ts";

export interface RestBroker extends AsyncDisposable {
  readonly broker: TestBroker;
  /** Where clients of the provider's API point. */
  readonly url: string;
  /** The origin of the upstream's own listener, for clients that allow no base path. */
  readonly listener: string;
  /** A credential of `coder` for these actions on the resource. */
  credential(resource: string, actions: readonly string[]): Promise<string>;
  /** One request below `url`, byte for byte as it is given. */
  send(path: string, init: RequestInit & { readonly credential: string }): Promise<GatewayAnswer>;
}

export async function startRestBroker(
  upstream: "github" | "stripe",
  options: {
    readonly pack: string;
    readonly roles: string;
    readonly rootKey: string;
    readonly origins: readonly string[];
  },
): Promise<RestBroker> {
  const broker = await startTestBroker({
    scopes: {
      [`upstreams/${upstream}.yaml`]: options.pack,
      "test-roles.yaml": options.roles,
      // Refusals are many here; strikes have tests of their own.
      "settings.yaml": "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n",
    },
    env: { VALETKEY_GATEWAY_LISTEN: `${upstream}=127.0.0.1:0` },
  });
  const body = { value: options.rootKey, origins: [...options.origins] };
  await broker.as("admin-1").call("putSecret", { params: { name: `${upstream}-root` }, body });
  const url = `${broker.url}/gateway/${upstream}`;
  const told = broker.log.join("\n");
  const listener = new RegExp(`upstream ${upstream} has a listener of its own on (\\S+)`).exec(told)?.[1];
  if (listener === undefined) throw new Error("the broker does not say where the upstream's own listener is");
  return {
    broker,
    url,
    listener,
    async credential(resource, actions) {
      const permissions = actions.map((action) => ({ action, resource }));
      const answer = await broker.as("coder").call("requestGrant", { body: { task: "try real clients", permissions } });
      if (!("credential" in answer)) throw new Error("no grant was given");
      return jwtOf(answer.credential).value;
    },
    async send(path, { credential, headers, ...init }) {
      const all = { authorization: `Bearer ${credential}`, ...Object.fromEntries(new Headers(headers)) };
      return readAnswer(await fetch(`${url}${path}`, { ...init, headers: all }));
    },
    [Symbol.asyncDispose]: () => broker.close(),
  };
}

/** Whether the secret stands anywhere in the value: its strings, names, and what these are in base64. */
export function holds(value: unknown, secret: string, seen = new Set<unknown>()): boolean {
  if (typeof value === "string") {
    return [value, Buffer.from(value, "base64").toString("latin1")].some((text) => text.includes(secret));
  }
  if (typeof value !== "object" || value === null || seen.has(value)) return false;
  seen.add(value);
  if (value instanceof Headers || value instanceof Map) return holds([...value.entries()], secret, seen);
  // Errors keep their message in a property that does not show itself.
  return Object.getOwnPropertyNames(value).some((name) => {
    return name.includes(secret) || holds(Object.getOwnPropertyDescriptor(value, name)?.value, secret, seen);
  });
}
