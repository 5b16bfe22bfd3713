// Resources from arguments and back: what is missing, doubtful or too much is a fault (rule 28).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isResource } from "../../src/core/names.ts";
import { fillResource, matchResource, parseResourceTemplate } from "../../src/scopes/resource-template.ts";
import type { ResourceTemplate } from "../../src/scopes/resource-template.ts";
import type { ArgumentValue } from "../../src/scopes/scope-set.ts";

type Arguments = Readonly<Record<string, ArgumentValue>>;

function parse(text: string): ResourceTemplate {
  const template = parseResourceTemplate(text);
  if ("problem" in template) throw new Error(template.problem);
  return template;
}

const fill = (text: string, arguments_: Arguments, absent: string | null = null) =>
  fillResource("up", parse(text), arguments_, absent);

const A_FAULT = { fault: expect.stringMatching(/^expected /) };

describe("a resource template", () => {
  it.each([
    ["account/main", []],
    ["account", []],
    ["volume/{id}", ["id"]],
    ["repo/{owner}/{repo}", ["owner", "repo"]],
    ["object/{bucket}/{path+}", ["bucket", "path"]],
    ["charge/{body.refund.charge}", ["body.refund.charge"]],
    ["account/{header.stripe-account}", ["header.stripe-account"]],
    ["x/{constructor}", ["constructor"]],
    ["x/{query.ids[0]}", ["query.ids[0]"]],
  ])("%s names %j", (text, parameters) => expect(parse(text)).toMatchObject({ text, parameters }));

  it.each([
    "",
    "/",
    "volume/",
    "/volume",
    "volume//x",
    "volume/..",
    "volume/*",
    "up:volume/x",
    "volume/a b",
    "{type}/x",
    "{id}",
    "volume/{}",
    "volume/{a..b}",
    "volume/{.a}",
    "volume/{a.*}",
    "volume/{a b}",
    "volume/v-{id}",
    "volume/{a}{b}",
    "volume/{a",
    "volume/{{a}}",
    "volume/{a}/{a}",
    "volume/{a+}/b",
    "volume/{a}/{a+}",
    `volume/{${Array.from({ length: 17 }, () => "a").join(".")}}`,
    Array.from({ length: 17 }, () => "a").join("/"),
  ])("refuses %j", (text) => {
    expect(parseResourceTemplate(text)).toEqual({ problem: expect.stringMatching(/^expected /) });
  });
});

describe("a filled resource", () => {
  it.each<[string, Arguments, string[]]>([
    ["account/main", {}, ["up:account/main"]],
    ["volume/{id}", { id: "vol_1" }, ["up:volume/vol_1"]],
    ["volume/{id}", { id: 5 }, ["up:volume/5"]],
    ["volume/{id}", { id: -5 }, ["up:volume/-5"]],
    ["volume/{id}", { id: ["a", 1, "a"] }, ["up:volume/a", "up:volume/1"]],
    ["repo/{owner}/{repo}", { owner: "o", repo: "r" }, ["up:repo/o/r"]],
    ["repo/{owner}/{repo}", { owner: "o", repo: ["r", "s"] }, ["up:repo/o/r", "up:repo/o/s"]],
    ["object/{body.path+}", { body: { path: "a/b.c" } }, ["up:object/a/b.c"]],
    ["account/{header.stripe-account}", { header: { "stripe-account": "acct_1" } }, ["up:account/acct_1"]],
  ])("%s of %j is %j", (text, arguments_, resources) => expect(fill(text, arguments_)).toEqual({ resources }));

  it.each<[string, string, Arguments]>([
    ["a boolean", "volume/{id}", { id: true }],
    ["an object", "volume/{id}", { id: { a: "b" } }],
    ["a fraction", "volume/{id}", { id: 1.5 }],
    ["a number from 2^53 on", "volume/{id}", { id: 2 ** 53 }],
    ["a list in a list", "volume/{id}", { id: [["a"]] }],
    ["an empty item", "volume/{id}", { id: ["a", ""] }],
    ["a null item", "volume/{id}", { id: ["a", null] }],
    ["a slash", "volume/{id}", { id: "a/b" }],
    ["a dot segment", "volume/{id}", { id: ".." }],
    ["a dot segment in a rest", "volume/{id+}", { id: "a/../b" }],
    ["an empty segment in a rest", "volume/{id+}", { id: "a//b" }],
    ["a wildcard", "volume/{id}", { id: "*" }],
    ["a colon", "volume/{id}", { id: "x:y" }],
    ["a space", "volume/{id}", { id: " a" }],
    ["a line end", "volume/{id}", { id: "a\n" }],
    ["letters beyond ASCII", "volume/{id}", { id: "é" }],
    ["129 characters", "volume/{id}", { id: "a".repeat(129) }],
    ["two lists", "repo/{a}/{b}", { a: ["x"], b: ["y"] }],
    ["101 items", "volume/{id}", { id: Array.from({ length: 101 }, (_, at) => at) }],
    ["a list on the way", "volume/{a.id}", { a: [{ id: "x" }] }],
    ["a text on the way", "volume/{a.length}", { a: "xy" }],
  ])("refuses %s, whatever stands for absence", (_what, text, arguments_) => {
    expect(fill(text, arguments_)).toEqual(A_FAULT);
    expect(fill(text, arguments_, "volume/default")).toEqual(A_FAULT);
  });

  it.each<[string, string, Arguments]>([
    ["is absent", "volume/{id}", {}],
    ["is null", "volume/{id}", { id: null }],
    ["is empty", "volume/{id}", { id: "" }],
    ["is an empty list", "volume/{id}", { id: [] }],
    ["is below null", "volume/{a.id}", { a: null }],
    ["is one of two", "repo/{a}/{b}", { a: "x" }],
    ["is inherited", "volume/{constructor.name}", {}],
    ["is inherited by an argument", "volume/{a.__proto__}", { a: {} }],
  ])("refuses an argument that %s unless the definition says which resource that is", (_what, text, arguments_) => {
    expect(fill(text, arguments_)).toEqual(A_FAULT);
    expect(fill(text, arguments_, "volume/default")).toEqual({ resources: ["up:volume/default"] });
  });

  it("never repeats a value in a fault", () => {
    for (const id of ["mark/er", "mark er", "*marker*"]) {
      expect(JSON.stringify(fill("volume/{id}", { id }))).not.toContain("mark");
    }
  });

  it("takes 100 items", () => {
    expect(fill("volume/{id}", { id: Array.from({ length: 100 }, (_, at) => at) })).toMatchObject({
      resources: { length: 100 },
    });
  });

  it("is a resource of the template's type, whatever the arguments are, and is read back as what was given", () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom("a", "b", ".", "/", ":", "*", "1"), maxLength: 6 }),
      fc.string(),
    );
    const value = fc.oneof(text, fc.integer(), fc.array(text, { maxLength: 3 }), fc.constant(null));
    const shape = fc.constantFrom("t/{a}", "t/{a}/{b}", "t/{a}/x/{b+}", "t/{b+}");
    let filled = 0;
    fc.assert(
      fc.property(shape, value, value, (of, a, b) => {
        const found = fill(of, { a, b });
        if ("fault" in found) return;
        for (const id of found.resources) {
          filled++;
          expect(isResource(id)).toBe(true);
          const read = matchResource("up", parse(of), id);
          for (const [name, given] of Object.entries({ a, b })) {
            if (of.includes(`{${name}`)) expect([given].flat().map(String)).toContain(read?.[name]);
          }
        }
      }),
      { numRuns: 5000 },
    );
    expect(filled).toBeGreaterThan(500);
  });
});

describe("a placeholder's argument", () => {
  it.each([
    ["in another case", { id: "stg", ID: "prod" }],
    ["with space around it", { id: "stg", " id": "prod" }],
    ["in full-width letters", { id: "stg", "\uff49\uff44": "prod" }],
  ])("is refused beside one that a lenient server takes for it: %s", (_what, given) => {
    expect(fill("volume/{id}", given)).toHaveProperty("fault");
    expect(fill("volume/{input.id}", { input: given })).toHaveProperty("fault");
  });
});

describe("a matched resource", () => {
  it.each([
    ["volume/{id}", "up:volume/v1", { id: "v1" }],
    ["repo/{owner}/{repo}", "up:repo/o/r", { owner: "o", repo: "r" }],
    ["object/{bucket}/{path+}", "up:object/b/x/y", { bucket: "b", path: "x/y" }],
    ["account/main", "up:account/main", {}],
  ])("%s of %s", (text, id, parameters) => expect(matchResource("up", parse(text), id)).toEqual(parameters));

  it.each([
    ["of another upstream", "volume/{id}", "uq:volume/v1"],
    ["of an upstream with that beginning", "volume/{id}", "up2:volume/v1"],
    ["of another type", "volume/{id}", "up:bucket/v1"],
    ["that is longer", "volume/{id}", "up:volume/v1/x"],
    ["that is shorter", "repo/{owner}/{repo}", "up:repo/o"],
    ["without the rest", "object/{bucket}/{path+}", "up:object/b"],
    ["that is none", "volume/{id}", "up:volume/.."],
    ["with an empty segment", "volume/{id+}", "up:volume/a//b"],
  ])("is none %s", (_what, text, id) => expect(matchResource("up", parse(text), id)).toBeNull());
});
