// The main thread's side of a worker: a bounded queue of calls, sent in batches, answered in order.
// Never loses a call: a worker that dies, or a store that is closed, rejects all that wait and all that come later.

import { Worker } from "node:worker_threads";
import { BrokerError } from "../../core/errors.ts";
import { toBrokerError } from "./failure.ts";
import { type Answer, type Call, CLOSE, type Greeting, type WorkerTask } from "./protocol.ts";

const MAX_WAITING = 10_000;
/**
 * Revocations are admitted beyond the bound, and go first: a flood of requests must not keep them out. So is what became
 * of calls that were begun: it must not be lost.
 */
const MAX_WAITING_BEYOND = 12_000;
const MAX_BATCH = 512;
/** Batches under way: one that runs, one that waits for it. */
const MAX_UNDER_WAY = 2;
/** What nobody waits for shares others' transactions; where none comes, it gets one of its own after this time. */
const LATER_MS = 10;

interface Pending {
  readonly call: Call;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: BrokerError) => void;
}

/** Methods by name, each with its argument and result. */
export type Calls<Methods> = {
  readonly [Name in keyof Methods]: { readonly argument: unknown; readonly result: unknown };
};

export type Turn = "first" | "soon" | "later";

export interface Thread<Methods extends Calls<Methods>> {
  readonly ready: unknown;
  call<Name extends keyof Methods & string>(
    method: Name,
    argument: Methods[Name]["argument"],
    turn?: Turn,
  ): Promise<Methods[Name]["result"]>;
  /** Why nothing is answered any more, or null. */
  gone(): BrokerError | null;
  /** Refuses at once what is asked from here on, answers what was asked before, and ends the worker after `last`. */
  close(last?: Promise<void>): Promise<void>;
}

/** A worker that loads while another one opens the file. */
export interface Starting<Methods extends Calls<Methods>> {
  /** Gives it its task. Rejects with the worker's start-up error, when it has ended. */
  begin(task: WorkerTask): Promise<Thread<Methods>>;
  /** For one that got no task. */
  abandon(): Promise<void>;
}

export function startThread<Methods extends Calls<Methods>>(url: URL): Starting<Methods> {
  const worker = new Worker(url);
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  return {
    async begin(task) {
      const ready = await greet(worker, task, exited);
      return createThread<Methods>(worker, ready, exited);
    },
    async abandon() {
      await worker.terminate();
    },
  };
}

function createThread<Methods extends Calls<Methods>>(
  worker: Worker,
  ready: unknown,
  exited: Promise<void>,
): Thread<Methods> {
  const queues: Readonly<Record<Turn, Pending[]>> = { first: [], soon: [], later: [] };
  const { first, soon, later } = queues;
  /** Batches that were sent and not answered, oldest first. */
  const sent: Pending[][] = [];
  let isScheduled = false;
  let isTimed = false;
  /** What came for later has waited long enough. */
  let isDue = false;
  let isClosing = false;
  let mayEnd = false;
  let gone: BrokerError | null = null;

  function die(detail: string): void {
    gone ??= new BrokerError("store_unavailable", detail);
    for (const pending of [...sent.splice(0).flat(), ...first.splice(0), ...soon.splice(0), ...later.splice(0)])
      pending.reject(gone);
  }

  function send(): void {
    isScheduled = false;
    while (sent.length < MAX_UNDER_WAY && first.length + soon.length + (isDue || mayEnd ? later.length : 0) > 0) {
      const batch = first.splice(0, MAX_BATCH);
      batch.push(...soon.splice(0, MAX_BATCH - batch.length));
      batch.push(...later.splice(0, MAX_BATCH - batch.length));
      if (later.length === 0) isDue = false;
      sent.push(batch);
      worker.postMessage(JSON.stringify(batch.map((pending) => pending.call)), []);
    }
    if (mayEnd && sent.length === 0) worker.postMessage(CLOSE, []);
  }

  /** After what the present turn of the event loop brings: callers that go on together share a batch. */
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(send);
  }

  function scheduleLater(): void {
    if (isTimed) return;
    isTimed = true;
    setTimeout(() => {
      isTimed = false;
      isDue = later.length > 0;
      send();
    }, LATER_MS);
  }

  worker.on("message", (text: string) => {
    // Only `worker.ts` writes to this port: whole batches, in the order in which they were sent.
    const answers = JSON.parse(text) as Answer[];
    let next = 0;
    while (next < answers.length) {
      const batch = sent.shift();
      // These were rejected when the store stopped.
      if (batch === undefined) return;
      for (const pending of batch) settle(pending, answers[next++]);
    }
    const last = answers.at(-1);
    if (last !== undefined && "failure" in last && last.failure.isFinal === true) die(last.failure.detail);
    schedule();
  });
  worker.once("error", () => die("the store's worker failed; restart the broker"));
  worker.once("exit", () => die("the store's worker ended; restart the broker"));

  return {
    ready,
    gone: () => gone,
    call(method, argument, turn = "soon") {
      if (gone !== null) return Promise.reject(gone);
      if (isClosing) return Promise.reject(new BrokerError("store_unavailable", "the store is closed"));
      const waiting = first.length + soon.length + later.length;
      if (waiting >= (turn === "soon" ? MAX_WAITING : MAX_WAITING_BEYOND)) {
        return Promise.reject(
          new BrokerError("store_unavailable", "the store has too much to do", { retryAfterSeconds: 1 }),
        );
      }
      return new Promise((resolve, reject) => {
        const pending = { call: [method, argument], resolve, reject } as const;
        queues[turn].push(pending);
        if (turn === "later") scheduleLater();
        else schedule();
      });
    },
    async close(last = Promise.resolve()) {
      isClosing = true;
      await last;
      mayEnd = true;
      schedule();
      await exited;
    },
  };
}

function settle(pending: Pending, answer: Answer | undefined): void {
  if (answer !== undefined && "value" in answer) pending.resolve(answer.value);
  else if (answer !== undefined) pending.reject(toBrokerError(answer.failure));
  else pending.reject(new BrokerError("store_unavailable", "the store's worker left a call without an answer"));
}

async function greet(worker: Worker, task: WorkerTask, exited: Promise<void>): Promise<unknown> {
  const greeting = await new Promise<Greeting>((resolve, reject) => {
    // Only `worker.ts` writes to this port, and this first.
    worker.once("message", (text: string) => resolve(JSON.parse(text) as Greeting));
    worker.once("error", (cause) =>
      reject(new BrokerError("store_unavailable", "the store's worker cannot start", { cause })),
    );
    worker.once("exit", () => reject(new BrokerError("store_unavailable", "the store's worker ended at once")));
    worker.postMessage(JSON.stringify(task), []);
  });
  if ("ready" in greeting) return greeting.ready;
  await exited;
  throw toBrokerError(greeting.failed);
}
