// What waits, driven through the front door: a gateway as in `gateway.ts`, people who sign, an agent that attests backups,
// and long polls in place of sleeping. Nothing is replaced but the provider.

import { digestOfHold } from "../../src/core/hold-document.ts";
import type { AttestationAnswer, Hold, HoldAnswer } from "../../src/api/holds.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { type BackupStatement, signStatement } from "../../src/sdk/sign-statement.ts";
import type { TestBroker } from "./broker.ts";
import { RESOURCES, startTestGateway, TASK, type TestGateway } from "./gateway.ts";
import { readEvents } from "./read-events.ts";

/** The call that deletes this volume. */
export function deletionOf(volume: string) {
  return { query: `mutation { volumeDelete(volumeId: "${volume}") }` };
}
export const DELETE_STAGING = deletionOf(PROVIDER.volumes.staging);
export const DELETE_PERMISSION = { action: "volume:delete", resource: RESOURCES.stagingVolume } as const;
export const REASON = "it is not used any more";
const SHA256 = "ab".repeat(32);

/** Labels of a volume that the provider does not tell: where it lies. */
export function labelsOf(volume: string, labels = "volume: vol-staging, account: shop-main"): string {
  return `kind: Resource
id: railway:volume/${volume}
labels: { environment: staging, ${labels} }
`;
}
export const VOLUME_LABELS = labelsOf(PROVIDER.volumes.staging);
/** Ids that `addVolume` gives, in this order. */
export const MORE_VOLUMES: readonly string[] = Array.from(
  { length: 40 },
  (_, n) => `5a0000${String(n).padStart(2, "0")}-0000-4000-8000-000000000009`,
);

/** A role for calls that demand what a test says; `requires` is YAML of one line. */
export function roleWith(requires: string, name = "deleter", more = ""): string {
  return `kind: Role
name: ${name}
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:delete]
    resources: { upstream: railway, type: volume }
    requires: ${requires}
${more}`;
}

export interface Holding {
  /** As this person sees it. */
  read(id: string, as?: string, wait?: number): Promise<HoldAnswer>;
  /** Signs what is shown, as the CLI does. */
  sign(person: string, id: string, decision?: "approve" | "deny"): Promise<Hold>;
  /** The signature alone, over this hold or over what a test puts in its place. */
  signature(person: string, id: string, changed?: Partial<Parameters<typeof signApproval>[1]>): Promise<string>;
  attest(resource: string, changed?: Partial<BackupStatement>, as?: string): Promise<AttestationAnswer>;
  /** Waits by long polls until it has ended, at most half a minute. */
  ended(id: string, as?: string): Promise<Hold>;
}

export function createHolding(broker: TestBroker): Holding {
  const read: Holding["read"] = (id, as = "oncall-1", wait) =>
    broker.as(as).call("readHold", { params: { id }, query: { wait } });
  const signature: Holding["signature"] = async (person, id, changed = {}) => {
    const { hold, document } = await read(id, person);
    const claims = {
      hold: hold.id,
      digest: digestOfHold(document),
      decision: "approve",
      at: toTimestamp(broker.clock.now()),
    };
    return signApproval(createKeySigner(broker.keyOf(person)), { ...claims, ...changed } as Parameters<
      typeof signApproval
    >[1]);
  };
  return {
    read,
    signature,
    async sign(person, id, decision = "approve") {
      const value = await signature(person, id, { decision });
      return broker
        .as(person)
        .call("signHold", { params: { id }, body: { decision, signature: { kind: "jws", value } } });
    },
    async attest(resource, changed = {}, as = "backup-1") {
      const statement: BackupStatement = {
        subjects: [{ resource, sha256: SHA256 }],
        location: { volume: "vault-7", account: "shop-backups", region: "eu-2", provider: "elsewhere" },
        takenAt: new Date(broker.clock.now() - 60_000),
        ...changed,
      };
      const body = await signStatement(createKeySigner(broker.keyOf(as)), statement);
      return broker.as(as).call("attest", { body });
    },
    async ended(id, as = "oncall-1") {
      for (let tries = 0; tries < 30; tries++) {
        const { hold } = await read(id, as, 1);
        if (!["waiting", "ready", "firing"].includes(hold.state)) return hold;
      }
      throw new Error(`${id} has not ended`);
    },
  };
}

/** Types of the events that name this hold, in the order of the record. */
export async function eventsOf(broker: TestBroker, id: string): Promise<readonly string[]> {
  const events = await readEvents(broker);
  return events.filter((event) => event["hold"] === id).map((event) => String(event["type"]));
}

/** Changes files of the policy and has them in force. */
export async function changePolicy(broker: TestBroker, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [file, text] of Object.entries(files)) broker.writeScopes(file, text);
  const outcome = await broker.broker.reload();
  if (outcome !== "changed") throw new Error(`expected another policy, found it ${outcome}: ${broker.log.join("; ")}`);
}

/** A call that was held. */
export interface HeldCall {
  readonly id: string;
  readonly status: number;
  readonly json: Record<string, unknown>;
}

export interface HoldingGateway extends TestGateway, Holding {
  /** A fresh credential of `coder` for the deletion, and the call that is held. */
  hold(
    body?: object,
    headers?: Record<string, string>,
    options?: { readonly task?: string; readonly resource?: string },
  ): Promise<HeldCall>;
  /** Another volume in staging at the provider; its id. */
  addVolume(id?: string): string;
  /** Undoes at the provider what was deleted, so that the next deletion finds its volume. */
  putBack(): void;
}

export async function startHoldingGateway(
  options: Parameters<typeof startTestGateway>[0] = {},
): Promise<HoldingGateway> {
  const scopes = { "volume-labels.yaml": VOLUME_LABELS, ...options.scopes };
  const gateway = await startTestGateway({ ...options, scopes });
  const { volumes } = gateway.provider.account;
  const first = [...volumes];
  let added = 0;
  return {
    ...gateway,
    ...createHolding(gateway.broker),
    async hold(body = DELETE_STAGING, headers = {}, { task = TASK, resource = DELETE_PERMISSION.resource } = {}) {
      const { credential } = await gateway.grant([{ ...DELETE_PERMISSION, resource }], task);
      const answer = await gateway.post(credential.value, body, { "valetkey-reason": REASON, ...headers });
      const id = answer.headers.get("valetkey-hold");
      if (answer.status !== 202 || id === null)
        throw new Error(`expected it to be held, found ${answer.status} ${answer.text}`);
      return { id, status: answer.status, json: answer.json };
    },
    addVolume(id = MORE_VOLUMES[added++]) {
      const [model] = first.filter(([known]) => known === PROVIDER.volumes.staging);
      if (id === undefined || model === undefined) throw new Error("the account has no more volumes for staging");
      const instances = model[1].instances.map((instance) => ({ ...instance, volumeId: id }));
      volumes.set(id, { ...model[1], id, instances });
      return id;
    },
    putBack: () => first.forEach(([id, volume]) => volumes.set(id, volume)),
  };
}
