// A gateway that is attacked: an agent of staging with a good credential, and what has to hold after each attempt. Nothing
// of the attempt reached the provider, nothing there is gone, the refusal is named, and it is on record.

import { expect } from "vitest";
import * as z from "zod";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { ERRORS, type ErrorCode } from "../../src/core/errors.ts";
import { type GatewayAnswer, RESOURCES, ROOT_KEY, startTestGateway, type TestGateway } from "./gateway.ts";

export const DOMAIN_WRITE = [{ action: "domain:write", resource: RESOURCES.stagingService }] as const;
const { environments, project, services, volumes } = PROVIDER;
const ROLE = `kind: Role
name: domain-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [domain:write], resources: { upstream: railway, type: service } }
`;
/** What the agent's task needs: the call that works. */
export const DOMAIN_CREATE = `mutation { customDomainCreate(input: { domain: "a.example", projectId: "${project}", environmentId: "${environments.staging}", serviceId: "${services.web}" }) { id } }`;
/** The call of the incident. */
export const DELETION = `mutation { volumeDelete(volumeId: "${volumes.production}") }`;

export interface AttackedGateway extends TestGateway {
  /** Call it before each attempt: budgets are whole again, and what came before does not count. */
  begin(): Promise<void>;
  /** A fresh one of the attacker's, for `domain:write` in staging; the same one until `begin`. */
  credential(): string;
  /** Events since `begin`. */
  events(): Promise<readonly Record<string, unknown>[]>;
  /** Refused with this code, without effect, and on record unless nobody was known to have sent it. */
  expectRefused(
    answer: Pick<GatewayAnswer, "status" | "error" | "text">,
    code: ErrorCode,
    isKnown?: boolean,
  ): Promise<void>;
  /** Nothing reached the provider since `begin`, and nothing is gone there. */
  expectNoEffect(): void;
}

export async function startAttackedGateway(
  options: Parameters<typeof startTestGateway>[0] = {},
): Promise<AttackedGateway> {
  const gateway = await startTestGateway({ ...options, scopes: { "test-roles.yaml": ROLE, ...options.scopes } });
  const { account } = gateway.provider;
  const census = (): readonly number[] => [
    ...["projects", "environments", "services", "volumes", "domains"].map((kind) => account[kind as "volumes"].size),
    account.minted.length,
  ];
  /** Those after this place; fewer than a page. */
  const eventsAfter = async (after: number): Promise<readonly Record<string, unknown>[]> => {
    const auditor = gateway.broker.as("security-1");
    const { text } = await auditor.call("readRecord", { query: { after, limit: 2000 } });
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => z.record(z.string(), z.unknown()).parse(JSON.parse(line)));
  };
  let credential = "";
  let reached = 0;
  let recorded = 0;
  let before = census();

  const attacked: AttackedGateway = {
    ...gateway,
    async begin() {
      // Refusals, and look-ups, are limited per minute; the clock is the test's.
      gateway.broker.clock.advance(61_000);
      credential = (await gateway.grant(DOMAIN_WRITE)).credential.value;
      recorded += (await eventsAfter(recorded)).length;
      reached = gateway.reached().length;
      before = census();
    },
    credential: () => credential,
    events: () => eventsAfter(recorded),
    expectNoEffect() {
      expect(gateway.reached().slice(reached)).toEqual([]);
      expect(census()).toEqual(before);
    },
    async expectRefused({ status, error, text }, code, isKnown = true) {
      expect({ status, error }, text).toEqual({ status: ERRORS[code].status, error: code });
      expect(text).not.toContain(ROOT_KEY);
      attacked.expectNoEffect();
      const events = await attacked.events();
      const named = { type: "call.refused", agent: "coder", upstream: "railway", reasons: [{ code }] };
      const refused = events.filter(({ type }) => type === "call.refused");
      if (isKnown)
        expect(refused).toMatchObject([
          { ...named, reasons: expect.arrayContaining([expect.objectContaining({ code })]) },
        ]);
      else expect(refused).toEqual([]);
      expect(events.filter(({ type }) => type === "call.allowed")).toEqual([]);
    },
  };
  await attacked.begin();
  return attacked;
}
