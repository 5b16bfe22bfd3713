// OpenAPI 3.1 from the route table. Committed under docs/ and compared in CI; `npm run generate` makes it again.

import * as z from "zod";
import { ERRORS } from "../core/errors.ts";
import type { Route, Who } from "./route.ts";
import { ROUTES } from "./routes.ts";
import { Problem } from "./values.ts";

type Json = Record<string, unknown>;

function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    target: "draft-2020-12",
    unrepresentable: "any",
  });
  return rest;
}

function describeWho(who: Who | null): string {
  if (who === null) return "Public.";
  const callers = [...(who.agents ? ["agents"] : []), ...(who.services ? ["services"] : [])];
  if (who.powers.length > 0) callers.push(`people with the power ${who.powers.join(" or ")}`);
  return `Called by ${callers.join(", ")}.`;
}

function parametersOf(route: Route): readonly Json[] {
  const inPath = [...route.path.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const query: object = (route.query === null ? {} : schemaOf(route.query, "input")["properties"]) ?? {};
  const inQuery = Object.entries(query).map(([name, schema]: [string, unknown]) => ({
    name,
    in: "query",
    required: false,
    schema,
  }));
  return [...inPath, ...inQuery];
}

function answersOf(route: Route): Json {
  const answers: Json = {};
  for (const [status, answer] of Object.entries(route.answers)) {
    const content =
      typeof answer === "string" ? { [answer]: {} } : { "application/json": { schema: schemaOf(answer, "output") } };
    answers[status] = { description: status.startsWith("2") ? "done" : "not now", content };
  }
  if (route.who !== null) {
    answers["default"] = {
      description: "refused or failed; `code` is one of the table in docs/errors.md",
      content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
    };
  }
  return answers;
}

/** The whole document, keys in a stable order. */
export function makeOpenApi(version: string): Json {
  const paths: Record<string, Json> = {};
  // Widened on purpose: the generator treats all routes alike.
  for (const [operationId, route] of Object.entries<Route>(ROUTES)) {
    const operation: Json = {
      operationId,
      summary: route.summary,
      description: describeWho(route.who),
      parameters: parametersOf(route),
    };
    if (route.body !== null) {
      const required = route.method === "POST";
      operation["requestBody"] = {
        required,
        content: { "application/json": { schema: schemaOf(route.body, "input") } },
      };
    }
    operation["responses"] = answersOf(route);
    operation["security"] = route.who === null ? [] : [{ proof: [] }];
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Valetkey", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    paths,
    components: {
      schemas: { Problem: schemaOf(Problem, "output") },
      securitySchemes: {
        proof: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description:
            "a JWT that the caller signs for this one call with its own ES256 or EdDSA key: docs/identity.md",
        },
      },
    },
    "x-error-codes": Object.fromEntries(
      Object.entries(ERRORS).map(([code, { status, title }]) => [code, { status, title }]),
    ),
  };
}
