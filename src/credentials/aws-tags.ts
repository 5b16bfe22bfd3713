// Whose a session is, as CloudTrail and policies of the account see it: its source identity and session tags. What AWS does
// not take in a tag stands there as `_`; the record has it as it was.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html

import { BrokerError } from "../core/errors.ts";
import type { Subject } from "./credential-system.ts";

const MAX_VALUE = 256;
/** Under a name of their own: a session's tag replaces the role's of the same key. */
const PREFIX = "valetkey:";

/** An agent's name, which has at least two characters there; no name ends with a dot. */
export function sourceIdentity({ agent }: Subject): string {
  return agent.length < 2 ? `${agent}.` : agent;
}

export function sessionTags(upstream: string, { agent, task, grant, environments }: Subject) {
  const values = { agent, task, grant, environment: environments.join(" ") };
  return Object.entries(values).map(([key, value]) => {
    const Value = value.replaceAll(/[^\p{L}\p{Z}\p{N}_.:/=+\-@]/gu, "_");
    if (Value.length > MAX_VALUE)
      throw new BrokerError(
        "upstream_failed",
        `upstream ${upstream}: the session tag ${key} would be ${Value.length} characters long, and AWS takes ${MAX_VALUE}`,
      );
    return { Key: `${PREFIX}${key}`, Value };
  });
}
