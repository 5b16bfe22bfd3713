// The demo's resource server: one deployment of the shop's own service, made for this demo. It verifies our JWTs
// as any real service would, through the SDK's verifier, and never asks the broker about a call.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createVerifier } from "../sdk/verify.ts";
import { VerificationError } from "../sdk/verification-error.ts";

interface ShopAnswer {
  readonly status: number;
  readonly text: string;
}

export interface Shop {
  /** One call with a credential, over HTTP. */
  call(credential: string): Promise<ShopAnswer>;
  close(): Promise<void>;
}

export interface ShopOptions {
  readonly issuer: string;
  readonly audience: string;
  readonly environment: string;
  /** The private JWK of the service that may follow the feed. */
  readonly keyFile: string;
  /** What a call to this service demands. */
  readonly demanded: { readonly action: string; readonly resource: string };
}

const CALL_TIMEOUT_MS = 2000;
const READY_MS = 5000;

/** Listens on loopback, on a port of the system's choice, once its verifier follows the feed. */
export async function openShop(options: ShopOptions): Promise<Shop> {
  const { issuer, audience, environment, keyFile, demanded } = options;
  const verifier = createVerifier({ issuer, audience, environment, key: keyFile });
  const server = createServer((request, response) => {
    const credential = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    verifier
      .verify(credential, demanded)
      .then(
        (): ShopAnswer => ({ status: 200, text: "domain added" }),
        (error: unknown): ShopAnswer => describeRefusal(error),
      )
      .then(({ status, text }) => response.writeHead(status, { "content-type": "text/plain" }).end(text))
      .catch(() => response.destroy());
  });
  async function close(): Promise<void> {
    verifier.close();
    server.closeAllConnections();
    await new Promise<void>((settle) => server.close(() => settle()));
  }
  try {
    await new Promise<void>((settle, fail) => server.once("error", fail).listen(0, "127.0.0.1", settle));
    await verifier.ready(READY_MS);
  } catch (error) {
    await close();
    throw error;
  }
  // A TCP server's address is an object; only pipes have text.
  const { port } = server.address() as AddressInfo;
  return {
    async call(credential) {
      const response = await fetch(`http://127.0.0.1:${port}/domains`, {
        method: "POST",
        headers: { authorization: `Bearer ${credential}` },
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
      return { status: response.status, text: await response.text() };
    },
    close,
  };
}

function describeRefusal(error: unknown): ShopAnswer {
  if (!(error instanceof VerificationError)) return { status: 500, text: "the service failed" };
  return { status: error.code === "permission_missing" ? 403 : 401, text: `${error.code}: ${error.message}` };
}
