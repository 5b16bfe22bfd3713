// The load generator: keep-alive connections on 127.0.0.1, one request in flight on each, requests rendered beforehand.
// It does as little as it can, so that what is measured is the server. Never sends more than it is given, never to
// another address, and never goes on after its time.

import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface Load {
  readonly port: number;
  /** Complete requests, sent once each. */
  readonly requests: readonly Buffer[];
  /** How many are in flight, each on a connection of its own. */
  readonly inFlight: number;
  /** Any other status ends the run with an error. */
  readonly status: number;
  readonly onBody?: (body: string, index: number) => void;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

const TIMEOUT_MS = 30_000;
const HEADER_END = "\r\n\r\n";

export async function runLoad(load: Load): Promise<LoadResult> {
  const { requests, inFlight, port } = load;
  const sockets = await Promise.all(Array.from({ length: inFlight }, () => openSocket(port)));
  const latenciesMs: number[] = [];
  let next = 0;
  const take = (): number | null => (next < requests.length ? next++ : null);
  const deadline = setTimeout(() => {
    for (const socket of sockets) socket.destroy(new Error(`the load did not end within ${TIMEOUT_MS} ms`));
  }, TIMEOUT_MS);
  try {
    const started = performance.now();
    await Promise.all(sockets.map((socket) => drive(socket, load, take, latenciesMs)));
    const seconds = (performance.now() - started) / 1000;
    return { perSecond: requests.length / seconds, latenciesMs };
  } finally {
    clearTimeout(deadline);
    for (const socket of sockets) socket.destroy();
  }
}

async function openSocket(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  await once(socket, "connect");
  return socket;
}

/** Sends and reads on one connection until there is nothing more to take. */
function drive(socket: Socket, load: Load, take: () => number | null, latenciesMs: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let index: number | null = null;
    let sentAt = 0;
    let pending: Buffer | null = null;
    const send = (): void => {
      index = take();
      const bytes = index === null ? undefined : load.requests[index];
      if (bytes === undefined) return resolve();
      sentAt = performance.now();
      socket.write(bytes);
    };
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the server closed a connection in the middle of the run")));
    socket.on("data", (chunk) => {
      pending = pending === null ? chunk : Buffer.concat([pending, chunk]);
      try {
        const answer = readAnswer(pending);
        if (answer === null || index === null) return;
        pending = null;
        latenciesMs.push(performance.now() - sentAt);
        if (answer.status !== load.status) {
          throw new Error(
            `expected status ${load.status}, found ${answer.status}: ${answer.body.toString().slice(0, 300)}`,
          );
        }
        load.onBody?.(answer.body.toString(), index);
        send();
      } catch (cause) {
        reject(cause instanceof Error ? cause : new Error("an answer could not be read"));
      }
    });
    send();
  });
}

/** Null while bytes are missing. Servers under test state the length of what they answer. */
function readAnswer(bytes: Buffer): Answer | null {
  const end = bytes.indexOf(HEADER_END);
  if (end < 0) return null;
  const head = bytes.toString("latin1", 0, end);
  const [, length] = /\r\ncontent-length: (\d+)/i.exec(head) ?? [];
  if (length === undefined) throw new Error("expected an answer that states its length");
  const bodyStart = end + HEADER_END.length;
  if (bytes.length < bodyStart + Number(length)) return null;
  return { status: Number(head.slice(9, 12)), body: bytes.subarray(bodyStart) };
}
