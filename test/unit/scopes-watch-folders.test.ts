// Which changes the system's events tell, so that they are taken in seconds: real files, and polls that never come.

import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { ScopesWatch } from "../../src/scopes/watch.ts";
import { MAX_WATCHED, watchFolders } from "../../src/scopes/watch-folders.ts";
import {
  environment,
  makeWatchedFolder,
  POLL_MS,
  startWatch,
  type WatchedFolder,
  writeBase,
} from "../support/watched-scopes.ts";

let made: WatchedFolder | null = null;
let open: ScopesWatch | null = null;

afterEach(async () => {
  await open?.close();
  made?.remove();
  [open, made] = [null, null];
});

/** As editors, `sed -i` and `git checkout` write: another file, put in the place of the first. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.part`, text);
  renameSync(`${path}.part`, path);
}

/** As mounted configuration changes: a link, put in the place of the one before. */
function link(path: string, target: string): void {
  symlinkSync(target, `${path}.part`);
  renameSync(`${path}.part`, path);
}

/** Watches what `prepare` left; `taken` expects, by events alone, a change to a set that has this environment. */
async function watchIt(prepare: (at: WatchedFolder) => string | void = () => undefined) {
  made = makeWatchedFolder();
  const folder = prepare(made) ?? made.folder;
  const { time, changes, watch } = await startWatch(folder, { settlesAtOnce: true });
  open = watch;
  const taken = async (name: string): Promise<void> => {
    await vi.waitFor(
      () => {
        const last = changes.at(-1);
        expect(last !== undefined && "set" in last ? [...last.set.environments.keys()] : last).toContain(name);
      },
      { timeout: 10_000, interval: 5 },
    );
    // What changes after this, only an event can tell.
    await time.reach(POLL_MS);
  };
  return { at: made, folder, taken };
}

describe("events of a watched folder", () => {
  it("tell of a file that is replaced by another, again and again", async () => {
    const { folder, taken } = await watchIt((at) => replace(join(at.folder, "x.yaml"), environment("first")));
    replace(join(folder, "x.yaml"), environment("second"));
    await taken("second");
    replace(join(folder, "x.yaml"), environment("third"));
    await taken("third");
    writeFileSync(join(folder, "x.yaml"), environment("fourth"));
    await taken("fourth");
  });

  it("tell of a file in a folder that was made later, and in one within it", async () => {
    const { folder, taken } = await watchIt();
    mkdirSync(join(folder, "later"));
    writeFileSync(join(folder, "later", "x.yaml"), environment("first"));
    await taken("first");
    mkdirSync(join(folder, "later", "deeper"));
    replace(join(folder, "later", "deeper", "y.yaml"), environment("second"));
    await taken("second");
    replace(join(folder, "later", "deeper", "y.yaml"), environment("third"));
    await taken("third");
  });

  it("tell of a file in a folder that was removed and made again", async () => {
    const { folder, taken } = await watchIt((at) => mkdirSync(join(at.folder, "sub")));
    for (const name of ["first", "second"]) {
      rmSync(join(folder, "sub"), { recursive: true });
      mkdirSync(join(folder, "sub"));
      replace(join(folder, "sub", "x.yaml"), environment(name));
      await taken(name);
      replace(join(folder, "sub", "x.yaml"), environment(`${name}-again`));
      await taken(`${name}-again`);
    }
  });

  it("tell of a file in a folder that was moved in from elsewhere", async () => {
    const { at, folder, taken } = await watchIt();
    mkdirSync(join(at.root, "elsewhere"));
    writeFileSync(join(at.root, "elsewhere", "x.yaml"), environment("first"));
    renameSync(join(at.root, "elsewhere"), join(folder, "sub"));
    await taken("first");
    writeFileSync(join(folder, "sub", "x.yaml"), environment("second"));
    await taken("second");
  });

  it("tell of a link to a folder that leads elsewhere, and of what changes there", async () => {
    const { at, folder, taken } = await watchIt(({ root, folder: scopes }) => {
      for (const name of ["one", "two"]) {
        mkdirSync(join(root, name));
        writeFileSync(join(root, name, "x.yaml"), environment(name));
      }
      link(join(scopes, "sub"), join(root, "one"));
    });
    link(join(folder, "sub"), join(at.root, "two"));
    await taken("two");
    replace(join(at.root, "two", "x.yaml"), environment("three"));
    await taken("three");
    link(join(folder, "sub"), join(at.root, "one"));
    await taken("one");
  });

  it("tell of a hidden link behind which a mounted volume changes, folders within it included", async () => {
    const { folder, taken } = await watchIt(({ folder: scopes }) => {
      makeVersion(scopes, "..v1", "one");
      link(join(scopes, "..data"), "..v1");
      link(join(scopes, "sub"), "..data/sub");
    });
    makeVersion(folder, "..v2", "two");
    link(join(folder, "..data"), "..v2");
    await taken("two");
    replace(join(folder, "..v2", "sub", "x.yaml"), environment("three"));
    await taken("three");
  });

  it("tell of a policy folder that is removed and made again", async () => {
    const { folder, taken } = await watchIt();
    renameSync(folder, `${folder}.old`);
    writeBase(folder);
    writeFileSync(join(folder, "x.yaml"), environment("first"));
    await taken("first");
    replace(join(folder, "x.yaml"), environment("second"));
    await taken("second");
  });

  it("tell of a policy folder that is reached by a link further up, once that leads elsewhere", async () => {
    const { at, taken } = await watchIt(({ root }) => {
      for (const name of ["v1", "v2"]) {
        writeBase(join(root, name, "scopes"));
        writeFileSync(join(root, name, "scopes", "x.yaml"), environment(name));
      }
      link(join(root, "current"), "v1");
      return join(root, "current", "scopes");
    });
    link(join(at.root, "current"), "v2");
    await taken("v2");
    replace(join(at.root, "v2", "scopes", "x.yaml"), environment("v3"));
    await taken("v3");
  });
});

describe("watchFolders", () => {
  it("watches a bounded number of folders", async () => {
    made = makeWatchedFolder();
    const { folder } = made;
    const paths = Array.from({ length: MAX_WATCHED + 1 }, (_, index) => join(folder, String(index)));
    for (const path of paths) mkdirSync(path);
    let events = 0;
    const folders = watchFolders(folder, () => events++);
    try {
      folders.follow((onFolder) => paths.forEach(onFolder));
      // The system tells of them in this order.
      for (const path of [paths.at(-1) ?? "", paths[0] ?? ""]) mkdirSync(join(path, "inner"));
      await vi.waitFor(() => expect(events).toBeGreaterThan(0), { timeout: 10_000, interval: 5 });
      expect(events).toBe(1);
    } finally {
      folders.close();
    }
  });

  it("gives what the walk gives where nothing can be watched", () => {
    made = makeWatchedFolder();
    const missing = join(made.root, "no", "such", "folder");
    const folders = watchFolders(missing, () => undefined);
    expect(
      folders.follow((onFolder) => {
        onFolder(missing);
        return "walked";
      }),
    ).toBe("walked");
    folders.close();
  });
});

function makeVersion(folder: string, version: string, name: string): void {
  mkdirSync(join(folder, version, "sub"), { recursive: true });
  writeFileSync(join(folder, version, "sub", "x.yaml"), environment(name));
}
