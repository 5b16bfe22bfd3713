// A document that fits its schema, with its place. Plain data: it crosses threads, and tests make it by hand.

import type { DocumentOf, Kind, ScopeDocument } from "./documents.ts";
import type { Position, Problem } from "./problem.ts";
import type { PublicJwk } from "./scope-set.ts";
import { pathText } from "./yaml-document.ts";

export interface ParsedDocument<Document extends ScopeDocument = ScopeDocument> {
  readonly document: Document;
  readonly file: string;
  readonly position: Position;
  /** Places of the values inside, by path (`permissions/0/actions/1`). */
  readonly places?: ReadonlyMap<string, Position>;
  /** Key files that this principal names, as written: their key, or null where the file is missing. */
  readonly keyFiles?: ReadonlyMap<string, PublicJwk | null>;
  /** Contents of the files that this upstream names. */
  readonly texts?: ReadonlyMap<"ca" | "schema", string>;
}

export type ParsedOf<K extends Kind> = ParsedDocument<DocumentOf<K>>;

/** Those of one kind, in their order. */
export function documentsOf<K extends Kind>(kind: K, documents: readonly ParsedDocument[]): readonly ParsedOf<K>[] {
  // The kind decides the type; TypeScript does not narrow a generic wrapper by a member's field.
  return documents.filter((parsed) => parsed.document.kind === kind) as unknown as readonly ParsedOf<K>[];
}

/** A problem at the value that `path` names, or at the nearest place around it. */
export function problemAt(parsed: ParsedDocument, path: readonly PropertyKey[], message: string): Problem {
  let place = parsed.position;
  for (let length = path.length; length > 0; length--) {
    const found = parsed.places?.get(pathText(path.slice(0, length)));
    if (found === undefined) continue;
    place = found;
    break;
  }
  const [line, column] = place;
  return { file: parsed.file, line, column, message };
}

/** `scopes/roles.yaml:12`. */
export function placeText(parsed: ParsedDocument): string {
  return `${parsed.file}:${parsed.position[0]}`;
}
