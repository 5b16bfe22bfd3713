// The ports of holds, credentials and webhooks on the main thread: sealed bytes cross to the workers as base64.

import type { HoldId } from "../../core/ids.ts";
import type { CredentialPort } from "../../credentials/credential-port.ts";
import type { FoundHold, HoldPort, NewHold } from "../../holds/hold-port.ts";
import type { WebhookPort } from "../../webhooks/webhook-port.ts";
import type { NewHoldOnWire } from "./hold-writes.ts";
import type { ReaderCalls } from "./reader.ts";
import type { SeenProofs } from "./seen-proofs.ts";
import { spend } from "./spend.ts";
import type { Thread } from "./thread.ts";
import type { WriterCalls } from "./writer.ts";

type Writer = Thread<WriterCalls>;
type Reader = Thread<ReaderCalls>;

export function createHoldPort(writer: Writer, reader: Reader, seen: SeenProofs): HoldPort {
  return {
    changeHold: (command) => {
      // What ends a hold goes first, as a revocation does: a flood of requests must not keep it out.
      const turn = command.to === null ? "soon" : "first";
      return spend(seen, command, () => writer.call("changeHold", command, turn));
    },
    claim: (command) => writer.call("claim", command),
    settle: (command) => {
      const { sealedOutcome } = command;
      return writer.call("settle", { ...command, sealedOutcome: toText(sealedOutcome) }, "first");
    },
    async takeOutcome(command) {
      const done = await spend(seen, command, () => writer.call("takeOutcome", command));
      return done.outcome === "taken" ? { ...done, sealed: toBytes(done.sealed) } : done;
    },
    findHold: (id) => reader.call("findHold", id),
    async sealedRequest(id) {
      const sealed = await reader.call("sealedRequest", id);
      return sealed === null ? null : toBytes(sealed);
    },
    async listHolds(filter, limit) {
      const found: FoundHold[] = [];
      let after = filter.after;
      while (found.length < limit) {
        const question = { filter: { ...filter, after }, limit: limit - found.length };
        const part: ReaderCalls["listHolds"]["result"] = await reader.call("listHolds", question);
        found.push(...part.found);
        if (part.next === null) break;
        after = part.next;
      }
      return found;
    },
    dueHolds: (at, limit) => reader.call("dueHolds", { at, limit }),
    async voidedHolds(after, limit) {
      const found: FoundHold[] = [];
      for (let from: HoldId | null = after, isMore = true; isMore && found.length < limit; isMore = from !== null) {
        const part: ReaderCalls["voidedHolds"]["result"] = await reader.call("voidedHolds", {
          after: from,
          limit: limit - found.length,
        });
        found.push(...part.found);
        from = part.next;
      }
      return found;
    },
    firingHolds: (limit) => reader.call("firingHolds", limit),
    attest: (command) => spend(seen, command, () => writer.call("attest", command)),
    attestations: (resources, limit) => reader.call("attestations", { resources, limit }),
    findAttestation: (id) => reader.call("findAttestation", id),
  };
}

export function createWebhookPort(writer: Writer, reader: Reader): WebhookPort {
  return {
    webhookCursors: () => reader.call("webhookCursors", undefined),
    async moveCursor(command) {
      await writer.call("moveCursor", command);
    },
  };
}

export function createCredentialPort(writer: Writer, reader: Reader): CredentialPort {
  return {
    orderCredential: (command) => writer.call("orderCredential", command),
    // It stops things, as a revocation does.
    changeCredential: (command) => writer.call("changeCredential", command, "first"),
    findCredential: (grant) => reader.call("findCredential", grant),
    dueCredentials: (at, limit) => reader.call("dueCredentials", { at, limit }),
    listCredentials: (after, limit) => reader.call("listCredentials", { after, limit }),
  };
}

export function toWire(made: NewHold): NewHoldOnWire {
  return { ...made, sealedRequest: toText(made.sealedRequest) };
}

function toText(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("base64");
}

function toBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
