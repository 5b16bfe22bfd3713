// The endpoint from which AWS's own clients read credentials when AWS_CONTAINER_CREDENTIALS_FULL_URI names it: on loopback,
// for whoever has its token, and the same session as long as that is good. Reads no body, and answers nothing else.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { drawRandomPart } from "../core/ids.ts";
import { GrantEndedError } from "../sdk/errors.ts";
import type { AwsCredentialProvider } from "../sdk/grant-handle.ts";
import { messageOf, systemCodeOf, wrongUse } from "./failure.ts";

export interface ContainerEndpoint {
  readonly url: string;
  /** The secret that a client sends as `Authorization`. */
  readonly token: string;
  close(): Promise<void>;
}

const HOST = "127.0.0.1";
const PATH = "/credentials";
const TIMEOUT_MS = 5000;
const MAX_CONNECTIONS = 64;
const LIMITS = { headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS, keepAliveTimeout: 1000, maxHeaderSize: 8192 };

/** `port` 0: any. Throws CommandFailure (exit 2) where it is taken. `onEnded`: the grant is over. */
export async function openContainerEndpoint(
  provide: AwsCredentialProvider,
  port: number,
  onEnded: (why: string) => void,
): Promise<ContainerEndpoint> {
  const token = drawRandomPart() + drawRandomPart();
  const server = createServer(LIMITS, (req, res) => {
    // A body is not read: whoever sends one is not a client of AWS's.
    void answer(req, res).catch(() => res.destroy());
  });
  server.maxConnections = MAX_CONNECTIONS;

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { port: own } = portOf(server.address());
    // By its address alone: a name that a page in a browser lets lead here is not it.
    if (req.headers.host !== `${HOST}:${own}` || req.url !== PATH || req.method !== "GET")
      return say(res, 404, { Code: "NotFound", Message: `there is nothing here but GET ${PATH}` });
    // Not 401: clients would try it five times.
    if (!isSame(req.headers.authorization ?? "", token))
      return say(res, 403, {
        Code: "AccessDenied",
        Message: "expected the token of AWS_CONTAINER_AUTHORIZATION_TOKEN",
      });
    try {
      const { accessKeyId, secretAccessKey, sessionToken, expiration } = await provide();
      say(res, 200, {
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        Token: sessionToken,
        Expiration: `${expiration.toISOString().slice(0, 19)}Z`,
      });
    } catch (thrown) {
      const isEnded = thrown instanceof GrantEndedError;
      say(res, isEnded ? 410 : 502, { Code: isEnded ? "GrantEnded" : "BrokerFailed", Message: messageOf(thrown) });
      if (isEnded) onEnded(messageOf(thrown));
    }
  }

  await new Promise<void>((settle, fail) => {
    server.once("error", (error) =>
      fail(systemCodeOf(error) === "EADDRINUSE" ? wrongUse(`--port: ${HOST}:${port} is taken`) : error),
    );
    server.listen(port, HOST, settle);
  });
  return {
    url: `http://${HOST}:${portOf(server.address()).port}${PATH}`,
    token,
    close: () =>
      new Promise((settle) => {
        server.close(() => settle());
        server.closeAllConnections();
      }),
  };
}

function portOf(address: AddressInfo | string | null): AddressInfo {
  if (typeof address !== "object" || address === null) throw new TypeError("not a server on TCP");
  return address;
}

function say(res: ServerResponse, status: number, body: Readonly<Record<string, string>>): void {
  const headers = { "Content-Type": "application/json", "Cache-Control": "no-store", Connection: "close" };
  res.writeHead(status, headers).end(JSON.stringify(body));
}

/** In the same time wherever they differ. */
function isSame(one: string, other: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(one), hash(other));
}
