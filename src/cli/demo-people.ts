// The people of the demo, and the agent that attests backups: they do what `valetkey approve`, `holds` and `attest` do. Who
// signs works out the digest from what they are shown, and signs nothing that differs from it.

import { hash } from "node:crypto";
import type { AttestationAnswer, Hold, HoldAnswer } from "../api/holds.ts";
import { type Clock, toTimestamp } from "../core/clock.ts";
import { digestOfHold } from "../core/hold-document.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { signApproval } from "../sdk/sign-approval.ts";
import { signStatement } from "../sdk/sign-statement.ts";
import type { Signer } from "../sdk/signer.ts";
import { findDifferences } from "./check-hold.ts";
import { refused } from "./failure.ts";

export interface DemoPeople {
  /** With `waitSeconds`: when it has ended, or after that time. */
  read(person: string, id: string, waitSeconds?: number): Promise<HoldAnswer>;
  /** Reads it and signs it, without sending the signature. */
  signatureOn(person: string, id: string): Promise<string>;
  send(person: string, id: string, signature: string): Promise<Hold>;
  /** Reads it, signs it, and sends that. */
  approve(person: string, id: string): Promise<Hold>;
  cancel(person: string, id: string): Promise<Hold>;
  /** A backup of this moment, in another account. */
  attest(agent: string, resource: string): Promise<AttestationAnswer>;
}

interface DemoPeopleOptions {
  readonly clock: Clock;
  readonly issuer: string;
  readonly clientOf: (name: string) => ApiClient;
  readonly signerOf: (name: string) => Signer;
}

const LOCATION = { provider: "elsewhere", region: "eu-2", account: "shop-backups", volume: "vault-7" } as const;

export function createDemoPeople({ clock, issuer, clientOf, signerOf }: DemoPeopleOptions): DemoPeople {
  const read: DemoPeople["read"] = (person, id, wait) =>
    clientOf(person).call("readHold", { params: { id }, query: { wait } });
  const signatureOn: DemoPeople["signatureOn"] = async (person, id) => {
    const answer = await read(person, id);
    const differences = findDifferences(answer, { id, issuer });
    if (differences.length > 0) throw refused(`${person} signs nothing: ${differences.join("; ")}`);
    const { document } = answer;
    const digest = digestOfHold(document);
    return signApproval(signerOf(person), {
      hold: document.hold,
      digest,
      decision: "approve",
      at: toTimestamp(clock.now()),
    });
  };
  const send: DemoPeople["send"] = (person, id, value) => {
    const body = { decision: "approve", signature: { kind: "jws", value } };
    return clientOf(person).call("signHold", { params: { id }, body });
  };
  return {
    read,
    signatureOn,
    send,
    approve: async (person, id) => send(person, id, await signatureOn(person, id)),
    cancel: (person, id) =>
      clientOf(person).call("cancelHold", { params: { id }, body: { reason: "not before the release" } }),
    async attest(agent, resource) {
      const takenAt = new Date(clock.now());
      const sha256 = hash("sha256", `${resource} at ${takenAt.toISOString()}`);
      const statement = { subjects: [{ resource, sha256 }], location: LOCATION, takenAt };
      return clientOf(agent).call("attest", { body: await signStatement(signerOf(agent), statement) });
    },
  };
}
