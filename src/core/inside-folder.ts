// Whether one path lies in a folder. Lexical and pure: who must know where links lead resolves both paths first.

import { isAbsolute, relative, sep } from "node:path";

/** Both absolute. A folder lies in itself. */
export function isInsideFolder(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
