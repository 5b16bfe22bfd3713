// `valetkey scopes check` shows what a provider's schema can do and no operation lists: it is refused, never guessed.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeFolder, runCli } from "../cli/cli-run.ts";
import { baseFiles, graphqlText } from "../support/scopes-text.ts";

const SDL =
  "type Query { thing(id: ID!): Int, others: Int } type Mutation { change(id: ID!): Int, remove(id: ID!): Int, burn: Int }";

async function writeScopes(upstreams: string): Promise<string> {
  const cwd = await makeFolder();
  await mkdir(join(cwd, "scopes"));
  for (const { path, text } of baseFiles()) await writeFile(join(cwd, path), text);
  await writeFile(join(cwd, "scopes/graph.yaml"), upstreams);
  await writeFile(join(cwd, "scopes/graph.graphql"), SDL);
  return cwd;
}

it("lists the operations of a schema that no rule classifies", async () => {
  const cwd = await writeScopes(
    `${graphqlText({ schema: "{ file: graph.graphql }" })}\n---\n${graphqlText({ name: "bare" })}`,
  );
  const shown = await runCli(["scopes", "check"], { cwd });
  expect(shown.code).toBe(0);
  expect(shown.stdout).toContain(
    "graph: 2 operations of its schema that no rule classifies; new ones are refused, never guessed\n  mutation burn\n  query others\n",
  );
  expect(shown.stdout).not.toContain("bare:");
  const json = await runCli(["scopes", "check", "--json"], { cwd });
  expect(JSON.parse(json.stdout)).toMatchObject({
    ok: true,
    unclassified: { graph: ["mutation burn", "query others"] },
  });
});
