// Keeps the inline policy of a role that denies its revoked sessions: one write at a time, of all that were asked for
// meanwhile. Where there is no room left it cuts off the whole role at this moment, and says so.

import { GetRolePolicyCommand, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import { type AwsCalls, type AwsPlace, isMissing, isNamed } from "./aws-calls.ts";
import {
  compact,
  isEmpty,
  type Denials,
  MAX_ROLE_POLICIES,
  merge,
  NO_DENIALS,
  parseDenials,
  printDenials,
  withDenied,
} from "./aws-denials.ts";

export interface Revocations {
  /** Resolves when AWS has it on the role. True: there was no room, and every session begun before now is denied too. */
  deny(name: string, until: number): Promise<boolean>;
  /** Writes again what this broker has denied, if it is there no more. */
  keep(): Promise<void>;
  /** Reads it, and leaves it to another broker from here on. */
  leave(): Promise<void>;
  /** A session that begins before this moment, by AWS's clock, may be denied with the whole role. */
  cutOffAt(): number;
}

interface Asked {
  readonly names: readonly { readonly name: string; readonly until: number }[];
  readonly settle: (isWide: boolean) => void;
  readonly fail: (thrown: unknown) => void;
}

/** Whole seconds count there: whoever begins in this one or the next is cut off with the role. */
const CUT_MS = 1000;
const TRIES = 3;

export function createRevocations(
  { role, maxSessionSeconds }: AwsPlace,
  policyName: string,
  { iam, call }: AwsCalls,
  now: () => number,
): Revocations {
  const RoleName = role.arn.slice(role.arn.lastIndexOf("/") + 1);
  const PolicyName = policyName;
  let asked: Asked[] = [];
  let isWriting = false;
  /** What this broker has denied: whoever else writes may not have known of it. */
  let kept = NO_DENIALS;

  async function read(): Promise<string | null> {
    try {
      const answer = await call("iam:GetRolePolicy", (abortSignal) =>
        iam.send(new GetRolePolicyCommand({ RoleName, PolicyName }), { abortSignal }),
      );
      return decode(answer.PolicyDocument ?? "");
    } catch (thrown) {
      if (isMissing(thrown)) return null;
      throw thrown;
    }
  }

  async function put(denials: Denials): Promise<void> {
    const PolicyDocument = printDenials(denials);
    await call("iam:PutRolePolicy", (abortSignal) =>
      iam.send(new PutRolePolicyCommand({ RoleName, PolicyName, PolicyDocument }), { abortSignal }),
    );
  }

  /** All of them, or the whole role. Read back: another broker may have written at the same moment. */
  async function write(batch: Asked["names"]): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries++) {
      const found = await read();
      const known = found === null ? null : parseDenials(found);
      const all = compact(merge(known ?? NO_DENIALS, kept), now(), maxSessionSeconds * 1000);
      const wanted = batch.reduce((denials, { name, until }) => withDenied(denials, name, until), all);
      if (isEmpty(wanted)) return false;
      kept = wanted;
      const text = printDenials(wanted);
      if (known !== null && printDenials(known) === text) return false;
      if (text.length > MAX_ROLE_POLICIES || !(await fits(wanted))) return cutOff();
    }
    // IAM may answer what was there before for some seconds: whether the session is refused is seen by asking as it.
    return false;
  }

  async function fits(wanted: Denials): Promise<boolean> {
    try {
      await put(wanted);
      return true;
    } catch (thrown) {
      if (isNamed(thrown, /^LimitExceeded/)) return false;
      throw thrown;
    }
  }

  async function cutOff(): Promise<boolean> {
    const before = Math.ceil((now() + CUT_MS) / 1000) * 1000;
    kept = { before, names: NO_DENIALS.names };
    await put(kept);
    return true;
  }

  function ask(names: Asked["names"]): Promise<boolean> {
    return new Promise((settle, fail) => {
      asked.push({ names, settle, fail });
      if (isWriting) return;
      isWriting = true;
      void work().finally(() => {
        isWriting = false;
      });
    });
  }

  async function work(): Promise<void> {
    while (asked.length > 0) {
      const batch = asked;
      asked = [];
      try {
        const isWide = await write(batch.flatMap(({ names }) => names));
        for (const { settle } of batch) settle(isWide);
      } catch (thrown) {
        for (const { fail } of batch) fail(thrown);
      }
    }
  }

  return {
    cutOffAt: () => kept.before ?? -Infinity,
    keep: async () => void (await ask([])),
    leave: async () => {
      kept = NO_DENIALS;
      await read();
    },
    deny: (name, until) => ask([{ name, until }]),
  };
}

/** IAM answers policies URL-encoded (RFC 3986); what else speaks its language may not. */
function decode(text: string): string {
  return /^%7B/i.test(text) ? (new URLSearchParams(`x=${text.replaceAll("+", "%2B")}`).get("x") ?? "") : text;
}
