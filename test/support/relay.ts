// A TCP relay before a server on loopback, which can do what a network does: cut, keep silent, keep the answers back, refuse.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Relay {
  readonly port: number;
  /** Every connection ends at once; new ones are taken. */
  cut(): void;
  /** No byte passes, either way or (`answers`) from the server; none is lost. */
  pause(what?: "all" | "answers"): void;
  resume(): void;
  /** Nothing listens any more, until `accept`. What is connected stays. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** New connections go there from here on, as when a name gets another address. */
  lead(target: number): void;
  close(): Promise<void>;
}

export async function startRelay(first: number): Promise<Relay> {
  let target = first;
  const pairs = new Set<{ readonly near: Socket; readonly far: Socket }>();
  let paused: "all" | "answers" | null = null;
  const set = (near: Socket, far: Socket): void => {
    if (paused === "all") near.pause();
    else near.resume();
    if (paused === null) far.resume();
    else far.pause();
  };
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    const pair = { near, far };
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => near.write(bytes));
    set(near, far);
  });
  const listen = async (port: number): Promise<number> => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    // Of a server that listens on a port.
    return (server.address() as AddressInfo).port;
  };
  const setAll = (what: "all" | "answers" | null): void => {
    paused = what;
    for (const { near, far } of pairs) set(near, far);
  };
  const cut = (): void => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  };
  const refuse = async (): Promise<void> => {
    if (!server.listening) return;
    // It closes once the last connection has ended, but listens no more from here on.
    server.close();
  };
  const port = await listen(0);
  return {
    port,
    cut,
    pause: (what = "all") => setAll(what),
    resume: () => setAll(null),
    refuse,
    lead: (next) => void (target = next),
    accept: async () => void (await listen(port)),
    close: async () => {
      await refuse();
      cut();
    },
  };
}
