// Tells that something changed in a scopes folder or below it. Each folder is watched itself: the system follows a file
// only until another takes its place. It promises nothing: where watching fails, or is too much, polling remains.

import { type FSWatcher, lstatSync, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/** The system has few watches, for all its processes together: in folders beyond these, polling finds what changed. */
export const MAX_WATCHED = 256;

export interface FoldersWatch {
  /**
   * Watches anew, since folders come, go and are replaced: those that `walk` tells of. It tells of each before it reads
   * it, so that nothing can change between the two unnoticed.
   */
  follow<Result>(walk: (onFolder: (path: string) => void) => Result): Result;
  close(): void;
}

/** `onEvent` may come without a change, and once for many. */
export function watchFolders(root: string, onEvent: () => void): FoldersWatch {
  let watchers: readonly FSWatcher[] = [];
  return {
    follow(walk) {
      const former = watchers;
      const opened: FSWatcher[] = [];
      const open = (path: string, name: string | null): void => {
        const watcher = opened.length < MAX_WATCHED ? openWatcher(path, name, onEvent) : null;
        if (watcher !== null) opened.push(watcher);
      };
      for (const path of replaceable(root)) open(dirname(path), basename(path));
      try {
        return walk((path) => open(path, null));
      } finally {
        watchers = opened;
        // Only then: nothing goes unwatched meanwhile.
        for (const watcher of former) watcher.close();
      }
    },
    close() {
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
}

/** The root, which can go and come back, and links on the way to it, which can lead elsewhere. */
function replaceable(root: string): readonly string[] {
  const found: string[] = [];
  const whole = resolve(root);
  for (let path = whole; path !== dirname(path); path = dirname(path)) {
    if (path === whole || isLink(path)) found.push(path);
  }
  return found;
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/** `name`: events of this entry alone. Null where the system cannot watch. */
function openWatcher(path: string, name: string | null, onEvent: () => void): FSWatcher | null {
  try {
    const watcher = watch(path, { persistent: false }, (_type, entry) => {
      // Some systems do not say which entry it was.
      if (name === null || entry === null || entry === name) onEvent();
    });
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return null;
  }
}
