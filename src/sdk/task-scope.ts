// A task's grants, released together when the task ends, also when the work or a single release failed. Releasing a
// grant that is still held cancels it: nothing waits for people on behalf of work that is over.

import { ValetkeyError } from "./errors.ts";
import type { Grant } from "./grant-handle.ts";
import type { RequestOptions } from "./request-options.ts";

export interface TaskScope extends AsyncDisposable {
  readonly task: string;
  /** As `client.request`, for this task. Throws ValetkeyError when the scope has ended. */
  request(options: Omit<RequestOptions, "task">): Promise<Grant>;
  /** Releases every grant of this scope; tries all, then throws what failed. Can be called again to retry those. */
  release(): Promise<void>;
}

export function createTaskScope(task: string, request: (options: RequestOptions) => Promise<Grant>): TaskScope {
  /** Requests under way too: a grant that arrives after the end must not be forgotten. */
  const grants = new Set<Promise<Grant>>();
  let ended = false;

  async function requestInScope(options: Omit<RequestOptions, "task">): Promise<Grant> {
    if (ended) throw new ValetkeyError("this task scope has ended: open another for more work");
    const asked = request({ ...options, task });
    grants.add(asked);
    try {
      return await asked;
    } catch (cause) {
      grants.delete(asked);
      throw cause;
    }
  }

  async function releaseAll(): Promise<void> {
    ended = true;
    const failures: unknown[] = [];
    await Promise.all(
      [...grants].map(async (asked) => {
        // A request that failed was told to its caller and left nothing to release.
        const grant = await asked.catch(() => null);
        try {
          await grant?.release();
          grants.delete(asked);
        } catch (failure) {
          failures.push(failure);
        }
      }),
    );
    if (failures.length > 0) {
      throw new AggregateError(
        failures,
        `${failures.length} grant(s) of the task could not be released; they end by themselves when their time is up`,
      );
    }
  }

  return { task, request: requestInScope, release: releaseAll, [Symbol.asyncDispose]: releaseAll };
}
