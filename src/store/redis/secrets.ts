// Root credentials and decoys in Redis: sealed bytes and keyed hashes only. What is deleted leaves Redis at once; its
// log on disk keeps the sealed bytes until Redis rewrites the log.

import type { CanaryId } from "../../core/ids.ts";
import type { SecretPort, StoredCanary, StoredSecret } from "../../secrets/secret-port.ts";
import { toDraft } from "./record.ts";
import { notWrittenOf, splitRow, toBytes, toText } from "./replies.ts";
import type { Client, Scripts } from "./scripts.ts";

interface SecretText extends Omit<StoredSecret, "name" | "createdAt" | "sealedKey" | "sealedValue"> {
  readonly sealedKey: string;
  readonly sealedValue: string;
}
interface CanaryText extends Omit<StoredCanary, "id" | "createdAt" | "hash"> {
  readonly hash: string;
}
type Removal = Omit<Parameters<SecretPort["deleteSecret"]>[0], "name">;

export function createSecretPort(client: Client, scripts: Scripts, base: string): SecretPort {
  async function remove(
    from: "secrets" | "canaries",
    id: string,
    { at, proof, event }: Removal,
  ): ReturnType<SecretPort["deleteSecret"]> {
    const reply = await scripts.run("remove", { at, proof, from, id, event: toDraft(event) });
    switch (reply[0]) {
      case "deleted":
      case "not_found":
        return { outcome: reply[0], instant: Number(reply[1]) };
      default:
        return notWrittenOf(reply);
    }
  }

  return {
    secrets: async () => {
      const rows = Object.entries(await client.hgetall(`${base}secrets`)).map(([name, row]) => secretOf(name, row));
      return rows.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    lastSecretVersion: async (name) => Number((await client.hget(`${base}secret_versions`, name)) ?? 0),
    putSecret: async ({ at, proof, secret: { name, version, ...rest }, event }) => {
      const { origins, createdBy } = rest;
      const [sealedKey, sealedValue] = [toText(rest.sealedKey), toText(rest.sealedValue)];
      const text: SecretText = { version, origins, createdBy, sealedKey, sealedValue };
      const command = { at, proof, name, version, text: JSON.stringify(text), event: toDraft(event) };
      const reply = await scripts.run("put_secret", command);
      switch (reply[0]) {
        case "put":
          return { outcome: reply[0], instant: Number(reply[1]) };
        case "conflict":
          return { outcome: reply[0] };
        default:
          return notWrittenOf(reply);
      }
    },
    deleteSecret: ({ name, ...removal }) => remove("secrets", name, removal),
    canaries: async () => {
      const rows = Object.entries(await client.hgetall(`${base}canaries`)).map(([id, row]) => canaryOf(id, row));
      return rows.toSorted((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
    },
    addCanary: async ({ at, proof, canary: { id, hash, ...rest }, event }) => {
      const text: CanaryText = { ...rest, hash: toText(hash) };
      const command = { at, proof, id, text: JSON.stringify(text), event: toDraft(event) };
      const reply = await scripts.run("add_canary", command);
      return reply[0] === "added" ? { outcome: reply[0], instant: Number(reply[1]) } : notWrittenOf(reply);
    },
    deleteCanary: ({ id, ...removal }) => remove("canaries", id, removal),
  };
}

function secretOf(name: string, row: string): StoredSecret {
  const [[createdAt], json] = splitRow(row, 1);
  // Written by `putSecret`.
  const { sealedKey, sealedValue, ...rest } = json as SecretText;
  const sealed = { sealedKey: toBytes(sealedKey), sealedValue: toBytes(sealedValue) };
  return { ...rest, name, ...sealed, createdAt: Number(createdAt) };
}

function canaryOf(id: string, row: string): StoredCanary {
  const [[createdAt], json] = splitRow(row, 1);
  // Written by `addCanary`.
  const { hash, ...rest } = json as CanaryText;
  // The id of a decoy that was added.
  return { ...rest, id: id as CanaryId, hash: toBytes(hash), createdAt: Number(createdAt) };
}
