// Objects of the documents: an unknown key is an error, answered with the known ones.

import * as z from "zod";

export function strictObject<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `expected only the keys ${known}, found ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`
        : undefined,
  });
}

/** One, or a list of 1 to `most`. */
export function oneOrMany<Item extends z.ZodType>(item: Item, most: number) {
  return z.union([item, z.array(item).min(1).max(most)]);
}

/** One value or a list of them, as a list. */
export function asList(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}
