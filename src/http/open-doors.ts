// All that listens, opened to callers at once: the front door, and the upstreams that have a listener of their own.

import type { RequestListener } from "node:http";
import { createGatewayListener, createUpstreamListener, type Entrance } from "./gateway-listener.ts";
import { type Listener, openListener } from "./listener.ts";

interface Dependencies {
  readonly front: Listener;
  readonly api: RequestListener;
  readonly entrance: Entrance;
  readonly listeners: readonly { readonly upstream: string; readonly host: string; readonly port: number }[];
  /** Called with each that was opened here. */
  readonly onOpen: (listener: Listener) => void;
}

/** Rejects with StartError where an address cannot be had. */
export async function openDoors({ front, api, entrance, listeners, onOpen }: Dependencies): Promise<void> {
  for (const { upstream, host, port } of listeners) {
    const own = await openListener({ host, port });
    onOpen(own);
    own.serve(createUpstreamListener(entrance, upstream));
    entrance.log("info", `upstream ${upstream} has a listener of its own on ${own.url}`);
  }
  front.serve(createGatewayListener(entrance, api));
}
