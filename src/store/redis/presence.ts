// Which brokers are there. What one that is gone had under way, another writes down as not known. A broker that was only
// slow is refused when it comes back to what was taken from it: calls are ended once, and a lease has its own secret.

import { unknownReply } from "./replies.ts";
import type { Scripts } from "./scripts.ts";

const PRESENT_EVERY_MS = 5000;
export const GONE_AFTER_SECONDS = 30;

/** Says at once, and from then on, that this broker is there. Answers how to say that it goes. */
export async function startPresence(scripts: Scripts): Promise<() => Promise<void>> {
  const say = () => scripts.run("present", {});
  await say();
  const timer = setInterval(() => void say().catch(() => undefined), PRESENT_EVERY_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    // Otherwise the others find out by themselves.
    await scripts.run("leave", {}).catch(() => undefined);
  };
}

/** Of what each of these brokers has under way, that of brokers which are gone. Null: nobody knows whose it is. */
export async function findOrphaned<Each>(
  scripts: Scripts,
  all: readonly (readonly [each: Each, broker: string | null])[],
): Promise<readonly Each[]> {
  const brokers = [...new Set(all.flatMap(([, broker]) => (broker === null ? [] : [broker])))];
  if (all.length === 0) return [];
  const reply = await scripts.run("gone", { brokers, seconds: GONE_AFTER_SECONDS });
  if (reply[0] !== "gone") throw unknownReply(reply);
  const gone = new Set(reply.slice(1));
  return all.filter(([, broker]) => broker === null || gone.has(broker)).map(([each]) => each);
}
