// Stripe's own client, unmodified, through the shipped pack: it allows no base path, so it talks to the upstream's own
// listener. What a refund may be is a matter of its amount; what makes a call mean something else does not arrive.

import { Stripe } from "stripe";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openStripe, restPack, type RestStandIn } from "../support/rest-stand-ins.ts";
import { holds, type RestBroker, startRestBroker } from "./rest-broker.ts";

const ROOT_KEY = "rk_live_51Qx7TnAbK2mWvY9cHdE0gJpLsRzUf3iNo8";
const ACCOUNT = "stripe:account/main";
const READS = ["balance:read", "charge:read", "customer:read", "payment:read", "refund:read"];
const ROLES = `kind: Role
name: support
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [${READS.join(", ")}, refund:create-small], resources: { upstream: stripe } }
---
kind: Role
name: treasurer
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [refund:create], resources: { upstream: stripe } }
`;
const SMALL = [...READS, "refund:create-small"];

let provider: RestStandIn;
let rest: RestBroker;
let credential: string;
/** What arrived before the test. */
let before = 0;

const arrived = () => provider.calls.slice(before).map(({ line }) => line);

function clientWith(key: string): Stripe {
  const { hostname, port } = new URL(rest.listener);
  return new Stripe(key, { host: hostname, port, protocol: "http", maxNetworkRetries: 0 });
}

/** What the client threw: it must not take a refusal for a success. */
async function refusalOf(promise: Promise<unknown>): Promise<{ status: number; message: string; code: string }> {
  const thrown: unknown = await promise.then(
    (answer) => expect.unreachable(`not refused: ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  if (!(thrown instanceof Stripe.errors.StripeError)) throw thrown;
  expect(holds(thrown, ROOT_KEY)).toBe(false);
  return { status: thrown.statusCode ?? 0, message: thrown.message, code: thrown.headers?.["valetkey-error"] ?? "" };
}

beforeAll(async () => {
  provider = await openStripe(ROOT_KEY);
  const pack = restPack("stripe", { "https://api.stripe.com": provider.url });
  rest = await startRestBroker("stripe", { pack, roles: ROLES, rootKey: ROOT_KEY, origins: [provider.url] });
  credential = await rest.credential(ACCOUNT, SMALL);
});
beforeEach(() => {
  before = provider.calls.length;
});
afterAll(async () => {
  await rest[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

describe("stripe", () => {
  it("does its work by a changed host and key: the provider sees the root key alone, the client never", async () => {
    const stripe = clientWith(credential);
    const answers = [
      await stripe.balance.retrieve(),
      await stripe.charges.list({ customer: "cus_1", limit: 2 }),
      await stripe.charges.retrieve("ch_1"),
      await stripe.customers.retrieve("cus_1"),
      await stripe.paymentIntents.retrieve("pi_1"),
      await stripe.refunds.list({ charge: "ch_1", starting_after: "re_0" }),
      await stripe.refunds.retrieve("re_1"),
      await stripe.refunds.create({ charge: "ch_1", amount: 1500, metadata: { order: "no. 6735 (paid)" } }),
    ];
    expect(answers.at(-1)).toMatchObject({ object: "refund", charge: "ch_1", amount: 1500, status: "succeeded" });
    expect(arrived()).toEqual([
      "GET /v1/balance",
      "GET /v1/charges?customer=cus_1&limit=2",
      "GET /v1/charges/ch_1",
      "GET /v1/customers/cus_1",
      "GET /v1/payment_intents/pi_1",
      "GET /v1/refunds?charge=ch_1&starting_after=re_0",
      "GET /v1/refunds/re_1",
      "POST /v1/refunds",
    ]);
    const sent = provider.calls.at(-1);
    expect(sent?.body.toString()).toBe("charge=ch_1&amount=1500&metadata[order]=no.%206735%20%28paid%29");
    expect(sent?.headers["idempotency-key"]).toMatch(/^stripe-node-retry-/);
    expect(sent?.headers["stripe-version"]).toMatch(/^20/);
    expect(provider.calls.every(({ authorized }) => authorized)).toBe(true);
    expect(holds(provider.calls, credential)).toBe(false);
    expect(holds(provider.calls, ROOT_KEY)).toBe(true);
    // The provider said it in a header of each answer.
    expect(answers.map(({ lastResponse }) => lastResponse.headers["x-authorized-as"])).toEqual(
      answers.map(() => `Bearer ${"*".repeat(ROOT_KEY.length)}`),
    );
    expect(
      holds(
        answers.map(({ lastResponse }) => [lastResponse, lastResponse.headers]),
        ROOT_KEY,
      ),
    ).toBe(false);
    expect(holds(answers, ROOT_KEY)).toBe(false);
  });

  it("reads on from page to page by itself", async () => {
    const ids: string[] = [];
    for await (const charge of clientWith(credential).charges.list({ limit: 2 })) ids.push(charge.id);
    expect(ids).toEqual(["ch_1", "ch_2"]);
  });

  const small: Readonly<Record<string, Stripe.RefundCreateParams>> = {
    "of 0.01": { charge: "ch_1", amount: 1 },
    "of 50.00": { charge: "ch_1", amount: 5000 },
    "of a payment intent": { payment_intent: "pi_1", amount: 5000 },
    "that the customer asked for": { charge: "ch_1", amount: 5000, reason: "requested_by_customer" },
  };
  for (const [what, parameters] of Object.entries(small)) {
    it(`refunds by a role for small refunds: one ${what}`, async () => {
      expect(await clientWith(credential).refunds.create(parameters)).toMatchObject({ amount: parameters.amount });
      expect(arrived()).toEqual(["POST /v1/refunds"]);
    });
  }

  const large: Readonly<Record<string, Stripe.RefundCreateParams>> = {
    "of 50.01": { charge: "ch_1", amount: 5001 },
    "without an amount, which is of all": { charge: "ch_1" },
    "of an empty amount": { charge: "ch_1", amount: "" as unknown as number },
    "of an amount in another notation": { charge: "ch_1", amount: "1e3" as unknown as number },
    "of an amount that begins with a zero": { charge: "ch_1", amount: "0100" as unknown as number },
    "of several amounts": { charge: "ch_1", amount: [100, 8000] as unknown as number },
    "of less than nothing": { charge: "ch_1", amount: -5000 },
    "that takes a transfer back": { charge: "ch_1", amount: 100, reverse_transfer: true },
    "that blocks the customer": { charge: "ch_1", amount: 100, reason: "fraudulent" },
    "of no parameter at all": {},
  };
  for (const [what, parameters] of Object.entries(large)) {
    it(`refuses a role for small refunds one ${what}`, async () => {
      const refusal = await refusalOf(clientWith(credential).refunds.create(parameters));
      expect(refusal).toMatchObject({ status: 403, code: "role_does_not_permit" });
      expect(refusal.message).toContain("refund:create");
      expect(arrived()).toEqual([]);
    });
  }

  it("refunds more by a role that gives it", async () => {
    const stripe = clientWith(await rest.credential(ACCOUNT, ["refund:create"]));
    expect(await stripe.refunds.create({ charge: "ch_1" })).toMatchObject({ amount: 8000 });
    expect(await refusalOf(stripe.charges.retrieve("ch_1"))).toMatchObject({ code: "role_does_not_permit" });
    expect(arrived()).toEqual(["POST /v1/refunds"]);
  });

  it("is refused to act on another account, which is a header", async () => {
    for (const options of [{ stripeAccount: "acct_2" }, { stripeContext: "acct_2" }]) {
      const refusal = await refusalOf(clientWith(credential).refunds.create({ charge: "ch_1", amount: 100 }, options));
      expect(refusal).toMatchObject({ status: 403, code: "operation_unlisted" });
    }
    expect(arrived()).toEqual([]);
  });

  const unlisted: Readonly<Record<string, (stripe: Stripe) => Promise<unknown>>> = {
    "a payout": (stripe) => stripe.payouts.create({ amount: 100, currency: "eur" }),
    "a transfer": (stripe) => stripe.transfers.create({ amount: 100, currency: "eur", destination: "acct_2" }),
    "the cancellation of a refund": (stripe) => stripe.refunds.cancel("re_1"),
    "a deletion": (stripe) => stripe.customers.del("cus_1"),
    "all customers": (stripe) => stripe.customers.list(),
    "a key of its own": (stripe) => stripe.ephemeralKeys.create({ customer: "cus_1" }, { apiVersion: "2025-01-01" }),
    "a webhook": (stripe) =>
      stripe.webhookEndpoints.create({ url: "https://elsewhere.example", enabled_events: ["*"] }),
    "an answer that brings its customer along": (stripe) => stripe.charges.retrieve("ch_1", { expand: ["customer"] }),
    "a charge in capital letters": (stripe) => stripe.rawRequest("GET", "/v1/Charges/ch_1"),
  };
  for (const [what, ask] of Object.entries(unlisted)) {
    it(`is refused what the pack does not list: ${what}`, async () => {
      expect(await refusalOf(ask(clientWith(credential)))).toMatchObject({ status: 403, code: "operation_unlisted" });
      expect(arrived()).toEqual([]);
    });
  }

  it("is refused with the root key itself, which is no credential here", async () => {
    const refusal = await clientWith(ROOT_KEY)
      .balance.retrieve()
      .catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Stripe.errors.StripeAuthenticationError);
    expect(refusal).toMatchObject({ statusCode: 401, headers: { "valetkey-error": "credential_invalid" } });
    expect(arrived()).toEqual([]);
  });
});

describe("a call that could mean another one", () => {
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const refund = (body: string, headers: Record<string, string> = {}) => {
    return { method: "POST", body, headers: { ...form, ...headers } };
  };
  const calls: Readonly<Record<string, readonly [path: string, init: RequestInit, code: string]>> = {
    "a method in a header": [
      "/v1/charges/ch_1",
      { headers: { "x-http-method-override": "DELETE" } },
      "operation_unlisted",
    ],
    "a method in the query": ["/v1/charges/ch_1?_method=DELETE", {}, "operation_unlisted"],
    "a method in the form": ["/v1/refunds", refund("charge=ch_1&amount=100&_method=DELETE"), "malformed_request"],
    "a query parameter twice": ["/v1/charges?limit=1&limit=100", {}, "path_not_canonical"],
    "a query parameter twice in two spellings": ["/v1/charges?limit=1&%6Cimit=100", {}, "path_not_canonical"],
    "a form field twice": ["/v1/refunds", refund("charge=ch_1&amount=100&amount=8000"), "malformed_request"],
    "a form field twice in two spellings": [
      "/v1/refunds",
      refund("charge=ch_1&amount=100&%61mount=8000"),
      "malformed_request",
    ],
    "a form field with brackets and without": [
      "/v1/refunds",
      refund("charge=ch_1&amount=100&amount[]=8000"),
      "malformed_request",
    ],
    "form fields divided by a semicolon": [
      "/v1/refunds",
      refund("charge=ch_1&amount=100;amount=8000"),
      "malformed_request",
    ],
    "a form's fields in the query": ["/v1/refunds?amount=8000", refund("charge=ch_1&amount=100"), "operation_unlisted"],
    "JSON in place of a form": [
      "/v1/refunds",
      { method: "POST", body: '{"charge":"ch_1"}', headers: { "content-type": "application/json" } },
      "malformed_request",
    ],
    "a listed path by another method": ["/v1/balance", { method: "POST" }, "operation_unlisted"],
    "another account": [
      "/v1/refunds",
      refund("charge=ch_1&amount=100", { "stripe-account": "acct_2" }),
      "operation_unlisted",
    ],
    "a slash at the end": ["/v1/balance/", {}, "path_not_canonical"],
    "an encoding that nothing needs": ["/v1/%63harges", {}, "path_not_canonical"],
    "a slash within an id": ["/v1/charges/ch_1%2Frefund", {}, "operation_unlisted"],
  };
  for (const [what, [path, init, code]] of Object.entries(calls)) {
    it(`is refused: ${what}`, async () => {
      const answer = await rest.send(path, { ...init, credential });
      expect(answer).toMatchObject({ error: code });
      expect(arrived()).toEqual([]);
    });
  }
});
