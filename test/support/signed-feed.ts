// A stand-in for the broker's side of verification: key sets, a signed feed and minted credentials, all with real keys
// over a real socket, and able to misbehave on purpose. The real broker is tested elsewhere, through the same client.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  calculateJwkThumbprint,
  type CryptoKey,
  decodeJwt,
  exportJWK,
  generateKeyPair,
  type JWK,
  jwtVerify,
  type JWTHeaderParameters,
  SignJWT,
} from "jose";
import { FEED_TYPE } from "../../src/api/revocations.ts";
import type { Clock } from "../../src/core/clock.ts";
import { drawRandomPart, makeId } from "../../src/core/ids.ts";

export interface SigningPair {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
}

export async function makePair(kid: string): Promise<SigningPair> {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  return { kid, privateKey, publicKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" } };
}

/** A caller's private JWK with its name, as `valetkey key new` writes it. */
export async function makeCallerKey(name: string, alg: "ES256" | "EdDSA" = "ES256"): Promise<JWK & { sub: string }> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), sub: name };
}

/** A clock that only tests move: `advance` moves both readings, `jump` the wall clock alone. */
export function makeClock(start: number = Date.now()): Clock & { advance(ms: number): void; jump(ms: number): void } {
  let now = start;
  let jumped = 0;
  return {
    now: () => now + jumped,
    monotonic: () => now - 1000,
    advance: (ms) => void (now += ms),
    jump: (ms) => void (jumped += ms),
  };
}

export interface RunningServer {
  readonly url: string;
  close(): Promise<void>;
}

export async function listen(handler: RequestListener): Promise<RunningServer> {
  const server: Server = createServer(handler);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  // A TCP server's address is never a pipe's.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export const AUDIENCE = "https://shop.staging.example";

export interface FeedStandIn extends RunningServer {
  readonly serviceKey: JWK;
  readonly credentialKey: SigningPair;
  readonly recordKey: SigningPair;
  /** What the key set answers; tests may add to it. */
  readonly published: JWK[];
  /** Requests per path. */
  readonly hits: Map<string, number>;
  readonly proofs: string[];
  /** What a new connection is sent first; null: nothing. */
  greeting: (() => Promise<string>) | null;
  number: number;
  connections(): number;
  drop(): void;
  /** Signs and sends with the next or the given number. */
  cutOff(target: Record<string, unknown>, before?: number, overrides?: Record<string, unknown>): Promise<void>;
  retireKey(keyId: string): Promise<void>;
  /** As after a restored backup: what has a higher number never was, and everybody connects again. */
  restore(number: number): void;
  heartbeat(overrides?: Record<string, unknown>): Promise<void>;
  sign(claims: Record<string, unknown>, header?: Partial<JWTHeaderParameters>, pair?: SigningPair): Promise<string>;
  send(data: string): void;
  mint(claims?: Record<string, unknown>, header?: Record<string, unknown>, pair?: SigningPair): Promise<string>;
  /** Claims that are right in all respects. */
  claims(overrides?: Record<string, unknown>): Record<string, unknown>;
}

export async function startFeedStandIn(clock: Clock): Promise<FeedStandIn> {
  const [credentialKey, recordKey, serviceKey] = await Promise.all([
    makePair("key_credential"),
    makePair("key_record"),
    makeCallerKey("shop"),
  ]);
  const open = new Set<ServerResponse>();
  const hits = new Map<string, number>();
  const proofs: string[] = [];
  const published: JWK[] = [credentialKey.publicJwk];
  let cutOffs: { readonly number: number }[] = [];
  let retiredKeys: { readonly number: number; readonly keyId: string }[] = [];

  async function admits(request: IncomingMessage): Promise<boolean> {
    const proof = request.headers.authorization?.replace(/^Bearer /, "") ?? "";
    const options = {
      issuer: "shop",
      audience: server.url,
      typ: "client-authentication+jwt",
      currentDate: new Date(clock.now()),
    };
    const { kty, crv, x, y } = serviceKey;
    const verified = await jwtVerify(proof, { kty, crv, x, y } as JWK, options).catch(() => null);
    const unused = !proofs.some((used) => decodeJwt(used).jti === verified?.payload.jti);
    if (verified !== null) proofs.push(proof);
    return verified !== null && unused && verified.protectedHeader.kid === (await calculateJwkThumbprint(serviceKey));
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    hits.set(path, (hits.get(path) ?? 0) + 1);
    if (path === "/.well-known/jwks.json") return void response.end(JSON.stringify({ keys: published }));
    if (path === "/.well-known/record-jwks.json")
      return void response.end(JSON.stringify({ keys: [recordKey.publicJwk] }));
    if (path !== "/v1/revocations/stream" || !(await admits(request))) return void response.writeHead(401).end();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    if (self.greeting !== null) response.write(`event: snapshot\ndata: ${await self.greeting()}\n\n`);
    open.add(response);
    response.on("close", () => open.delete(response));
  }

  const server = await listen((request, response) => void answer(request, response));
  const common = () => ({ iss: server.url, at: clock.now(), number: self.number });

  const self: FeedStandIn = {
    ...server,
    serviceKey,
    credentialKey,
    recordKey,
    published,
    hits,
    proofs,
    number: 0,
    greeting: () =>
      self.sign({ kind: "snapshot", ...common(), cutOffs, retiredKeys: retiredKeys.map(({ keyId }) => keyId) }),
    connections: () => open.size,
    drop: () => {
      for (const response of open) response.destroy();
      open.clear();
    },
    sign: (claims, header = {}, pair = recordKey) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "ES256", typ: FEED_TYPE, kid: pair.kid, ...header })
        .sign(pair.privateKey),
    send: (data) => {
      for (const response of open) response.write(`data: ${data}\n\n`);
    },
    cutOff: async (target, before = clock.now(), overrides = {}) => {
      self.number++;
      const cutOff = { id: makeId("rev", clock.now(), drawRandomPart()), number: self.number, target, before };
      cutOffs.push(cutOff);
      self.send(await self.sign({ kind: "cut_off", ...common(), cutOff, ...overrides }));
    },
    retireKey: async (keyId) => {
      self.number++;
      retiredKeys.push({ number: self.number, keyId });
      self.send(await self.sign({ kind: "key_retired", ...common(), keyId }));
    },
    restore: (number) => {
      self.number = number;
      cutOffs = cutOffs.filter((cutOff) => cutOff.number <= number);
      retiredKeys = retiredKeys.filter((key) => key.number <= number);
      self.drop();
    },
    heartbeat: async (overrides = {}) => self.send(await self.sign({ kind: "heartbeat", ...common(), ...overrides })),
    claims: (overrides = {}) => {
      const iat = Math.floor(clock.now() / 1000);
      return {
        iss: server.url,
        sub: "coder",
        aud: AUDIENCE,
        client_id: "coder",
        iat,
        exp: iat + 300,
        jti: makeId("crd", clock.now(), drawRandomPart()),
        authorization_details: [{ type: "capability", actions: ["volume:read"], identifier: "shop:volume/vol_1" }],
        grants: [makeId("grt", clock.now(), drawRandomPart())],
        task: "fix staging credentials",
        role: "volume-reader",
        environment: ["staging"],
        ...overrides,
      };
    },
    mint: (claims = {}, header = {}, pair = credentialKey) =>
      new SignJWT(self.claims(claims))
        .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: pair.kid, ...header })
        .sign(pair.privateKey),
  };
  return self;
}
