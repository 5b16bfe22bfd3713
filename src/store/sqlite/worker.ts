// The thread that holds a connection: the writer or the reader of a store, told by its task.
// Takes all calls that waited while it was busy and answers them together; that is the group of a group commit.

import { parentPort, receiveMessageOnPort } from "node:worker_threads";
import { toFailure } from "./failure.ts";
import { type Call, CLOSE, type Greeting, type Handler, type WorkerTask } from "./protocol.ts";
import { openReader } from "./reader.ts";
import { openWriter } from "./writer.ts";

/** More would make the first of them wait too long for the last. */
const MAX_CALLS = 512;

function serve(port: NonNullable<typeof parentPort>, handler: Handler): void {
  port.on("message", (first: string) => {
    let calls: Call[] = [];
    let isClosing = false;
    for (let text: string | undefined = first; text !== undefined; text = takeWaiting(port)) {
      if (text === CLOSE) {
        isClosing = true;
        break;
      }
      // Only `thread.ts` writes to this port.
      calls.push(...(JSON.parse(text) as Call[]));
      if (calls.length < MAX_CALLS) continue;
      port.postMessage(JSON.stringify(handler.answer(calls)));
      calls = [];
    }
    if (calls.length > 0) port.postMessage(JSON.stringify(handler.answer(calls)));
    if (!isClosing) return;
    try {
      handler.close();
    } finally {
      port.close();
    }
  });
}

function takeWaiting(port: NonNullable<typeof parentPort>): string | undefined {
  // Only `thread.ts` writes to this port, and only text.
  const waiting: { readonly message: string } | undefined = receiveMessageOnPort(port);
  return waiting?.message;
}

function start(port: NonNullable<typeof parentPort>, task: WorkerTask): void {
  let greeting: Greeting;
  try {
    const handler = task.role === "writer" ? openWriter(task.file) : openReader(task.file);
    serve(port, handler);
    greeting = { ready: handler.ready };
  } catch (error) {
    greeting = { failed: toFailure(error) };
  }
  port.postMessage(JSON.stringify(greeting));
}

if (parentPort === null) throw new Error("this file is a worker thread's; start it through openSqliteStore");
const port = parentPort;
// The first message of `thread.ts` is the task.
port.once("message", (text: string) => start(port, JSON.parse(text) as WorkerTask));
