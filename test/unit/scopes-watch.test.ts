// When a changed folder is taken, and when it is not. Time is a stand-in that the test moves.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ScopesChange, ScopesWatch } from "../../src/scopes/watch.ts";
import { baseFiles, newKey } from "../support/scopes-text.ts";
import {
  environment,
  makeWatchedFolder,
  POLL_MS,
  SETTLE_MS,
  startWatch,
  type Watched,
  type WatchedFolder,
  writeBase,
} from "../support/watched-scopes.ts";

let made: WatchedFolder;
let open: ScopesWatch | null = null;

beforeEach(() => {
  made = makeWatchedFolder();
});

afterEach(async () => {
  await open?.close();
  open = null;
  made.remove();
});

function write(name: string, text: string): void {
  writeFileSync(join(made.folder, name), text);
}

async function start(onChange?: (change: ScopesChange) => void | Promise<void>): Promise<Watched> {
  const watched = await startWatch(made.folder, { onChange });
  open = watched.watch;
  return watched;
}

describe("watchScopes", () => {
  it("hands over nothing while the content gives the digest in force", async () => {
    const { changes, watch } = await start();
    write("environments.yaml", `# a comment changes nothing\n${baseFiles()[0]?.text}`);
    expect(await watch.reloadNow()).toBe("unchanged");
    expect(changes).toEqual([]);
  });

  it("takes content that has not changed for the settling time (rule 34)", async () => {
    const { changes, time } = await start();
    write("new.yaml", environment("one"));
    await time.pass(SETTLE_MS);
    await vi.waitFor(() => expect(changes).toHaveLength(1), { timeout: 10_000 });
    expect(changes[0]).toSatisfy((change: ScopesChange) => "set" in change && change.set.environments.has("one"));
  });

  it("starts settling again when the content changes meanwhile (rule 34)", async () => {
    const { changes, time } = await start();
    write("new.yaml", environment("one"));
    await time.reach(SETTLE_MS);
    write("new.yaml", environment("two"));
    await time.pass(SETTLE_MS);
    await time.reach(SETTLE_MS);
    expect(changes).toEqual([]);
    await time.pass(SETTLE_MS);
    await vi.waitFor(() => expect(changes).toHaveLength(1), { timeout: 10_000 });
    expect(changes[0]).toSatisfy((change: ScopesChange) => "set" in change && change.set.environments.has("two"));
  });

  it("finds by polling what no event told", async () => {
    const { changes, time } = await start();
    // A key file lies outside the watched folder.
    write("agent.yaml", "kind: Agent\nname: x\nlabels: { environment: staging }\nkeys: [{ file: ../x.pub.jwk }]\n");
    await time.pass(SETTLE_MS);
    await time.pass(SETTLE_MS);
    await vi.waitFor(() => expect(changes).toHaveLength(1), { timeout: 10_000 });
    await time.reach(POLL_MS);
    writeFileSync(join(made.root, "x.pub.jwk"), newKey());
    await time.pass(POLL_MS);
    await time.pass(SETTLE_MS);
    await vi.waitFor(() => expect(changes).toHaveLength(2), { timeout: 10_000 });
  });

  it("reports bad content once, keeps quiet when it is mended, and reports it again when it comes back", async () => {
    const { changes, watch } = await start();
    write("new.yaml", environment("Bad"));
    expect(await watch.reloadNow()).toBe("rejected");
    expect(await watch.reloadNow()).toBe("rejected");
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({ problems: [{ line: 2 }] });
    write("new.yaml", "# nothing\n");
    expect(await watch.reloadNow()).toBe("unchanged");
    expect(changes).toHaveLength(1);
    write("new.yaml", environment("Bad"));
    expect(await watch.reloadNow()).toBe("rejected");
    expect(changes).toHaveLength(2);
  });

  it("reloads at once when asked, also while content is settling", async () => {
    const { changes, watch } = await start();
    write("new.yaml", environment("one"));
    expect(await watch.reloadNow()).toBe("changed");
    expect(changes).toHaveLength(1);
  });

  it("answers everybody who asks at the same time", async () => {
    const { changes, watch } = await start();
    write("new.yaml", environment("one"));
    expect(await Promise.all([watch.reloadNow(), watch.reloadNow(), watch.reloadNow()])).toEqual([
      "changed",
      "changed",
      "changed",
    ]);
    expect(changes).toHaveLength(1);
  });

  it("reports a folder that went away and takes it when it is back", async () => {
    const { changes, watch } = await start();
    rmSync(made.folder, { recursive: true });
    expect(await watch.reloadNow()).toBe("rejected");
    writeBase(made.folder);
    expect(await watch.reloadNow()).toBe("unchanged");
    expect(changes).toHaveLength(1);
  });

  it("tries a set again that could not be put in force", async () => {
    let broken = true;
    const { changes, failures, watch } = await start(() => {
      if (broken) throw new Error("the store does not answer");
    });
    write("new.yaml", environment("one"));
    expect(await watch.reloadNow()).toBe("rejected");
    expect(failures).toHaveLength(1);
    broken = false;
    expect(await watch.reloadNow()).toBe("changed");
    expect(changes).toHaveLength(1);
  });

  it("hands the former set over again when the folder goes back to it after a set that failed while it was taken", async () => {
    const taken: string[] = [];
    const { failures, time, watch } = await start((change) => {
      const isNew = "set" in change && change.set.environments.has("one");
      taken.push(isNew ? "new" : "former");
      if (!isNew) return;
      // What a broker does whose store fails in the sweep: the set is in force, and the call throws.
      rmSync(join(made.folder, "new.yaml"));
      throw new Error("the store does not answer");
    });
    write("new.yaml", environment("one"));
    expect(await watch.reloadNow()).toBe("rejected");
    expect(failures).toHaveLength(1);
    await time.pass(SETTLE_MS);
    await vi.waitFor(() => expect(taken).toEqual(["new", "former"]), { timeout: 10_000 });
    expect(await watch.reloadNow()).toBe("unchanged");
  });

  it("hands over nothing once it is closed, and ends what waits", async () => {
    const { changes, watch } = await start();
    write("new.yaml", environment("one"));
    await watch.close();
    expect(await watch.reloadNow()).toBe("closed");
    expect(changes).toEqual([]);
  });
});
