// What travels between the main thread and a worker of the store: JSON text, which is quicker to pass than objects.
// Answers come in the order of the calls, so that nothing needs a number.

import type { Failure } from "./failure.ts";

/** One call: the method's name and its one argument. */
export type Call = readonly [method: string, argument: unknown];

export type Answer = { readonly value: unknown } | { readonly failure: Failure };

/** The first message to a worker. */
export interface WorkerTask {
  readonly role: "writer" | "reader";
  readonly file: string;
}

/** A worker's first message; every later one is the text of an array of answers. */
export type Greeting = { readonly ready: unknown } | { readonly failed: Failure };

/** The message that asks a worker to finish what it has, close its files and end. */
export const CLOSE = "close";

/** What a worker does with the calls that waited while it was busy. */
export interface Handler {
  readonly ready: unknown;
  answer(calls: readonly Call[]): Answer[];
  close(): void;
}
