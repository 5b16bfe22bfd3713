// The scopes folder parsed in the test's own thread: a thread for each of some thousand brokers would load the same schemas
// as often. That thread has tests of its own, and brokers in processes of their own have it.

import { type LoadResult, loadScopes } from "../../src/scopes/load.ts";
import { parseFolder } from "../../src/scopes/parse-folder.ts";

export function loadHere(folder: string): Promise<LoadResult> {
  return loadScopes(folder, (path) => Promise.resolve(parseFolder(path)));
}
