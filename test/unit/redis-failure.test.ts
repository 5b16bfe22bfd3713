// What is said of a failure between the broker and Redis: the reason, and nothing of a command.

import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { isAway, isLost, storeError } from "../../src/store/redis/failure.ts";

const said = (message: string): string => storeError(new Error(message)).message;

describe("a failure of Redis", () => {
  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'. script: 12ab, on @user_script:9.", /memory is full/],
    ["READONLY You can't write against a read only replica.", /replica/],
    ["LOADING Redis is loading the dataset in memory", /loading/],
    ["NOAUTH Authentication required.", /wants a password/],
    ["WRONGPASS invalid username-password pair or user is disabled.", /password is wrong/],
    ["NOPERM User broker has no permissions to run the 'eval' command", /may not do this/],
    ["MISCONF Errors writing to the AOF file: No space left on device", /disk/],
    ["CLUSTERDOWN The cluster is down", /Cluster is down/],
    ["Too many Cluster redirections. Last error: ReplyError: CLUSTERDOWN Hash slot not served", /Cluster is down/],
    ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", /without its master/],
    ["NOREPLICAS Not enough good replicas to write.", /too few replicas/],
    ["ASK 1234 127.0.0.1:7000", /moving the slot/],
    ["All sentinels are unreachable. Retrying from scratch after 10ms. Last error: WRONGPASS no", /password is wrong/],
    ["All sentinels are unreachable. Retrying from scratch after 10ms.", /no master of this name/],
    ["All sentinels are unreachable. Retrying. Last error: Connection is closed.", /no Sentinel answers/],
    ["ERR max number of clients reached", /maxclients/],
    ["ERR user_script:12: attempt to index a nil value script: 1, on @user_script:12.", /line 12: attempt to index$/],
    ["ERR This instance has cluster support disabled", /no Cluster/],
    ["Command timed out", /did not answer in time/],
  ])("says what %j means", (message, meaning) => {
    const error = storeError(new Error(message));
    expect(error).toMatchObject({ code: "store_unavailable", detail: expect.stringMatching(meaning) });
    expect(isLost(error)).toBe(false);
  });

  it("is that of the network by its code", () => {
    const failed = (code: string): string => storeError(Object.assign(new Error("x"), { code })).message;
    expect(failed("ECONNREFUSED")).toMatch(/nothing listens/);
    expect(failed("DEPTH_ZERO_SELF_SIGNED_CERT")).toMatch(/not trusted.*VALETKEY_REDIS_CA_FILE/);
    expect(failed("ERR_TLS_CERT_ALTNAME_INVALID")).toMatch(/another name/);
  });

  it("is lost only where it may have been done, and away only where there is no connection", () => {
    for (const message of ["Connection is closed.", "Reached the max retries per request limit (which is 0). Refer"]) {
      expect(isLost(storeError(new Error(message)))).toBe(true);
      expect(isLost(new Error(message))).toBe(true);
    }
    const away = storeError(new Error("Stream isn't writeable and enableOfflineQueue options is false"));
    expect([isLost(away), isAway(away)]).toEqual([false, true]);
    expect(isLost(new BrokerError("store_unavailable", "Connection is closed."))).toBe(false);
  });

  it("passes on nothing of a raw error, whatever it says", () => {
    const secret = "hunter2hunter2";
    const start = fc.constantFrom(
      "ERR unknown command, with args: ",
      "NOPERM ",
      "",
      "Last error: ",
      "ERR user_script:1: ",
    );
    fc.assert(
      fc.property(start, fc.string(), (before, after) => {
        const raw = Object.assign(new Error(`${before}${secret}${after}`), {
          command: { name: "auth", args: [secret] },
          code: `E${secret}`,
          lastNodeError: new Error(secret),
        });
        const error = storeError(raw);
        for (const text of [error.message, error.stack ?? "", JSON.stringify(error), inspect(error, { depth: 9 })])
          expect(text).not.toContain(secret);
        expect(error.cause).toBeUndefined();
      }),
    );
  });

  it("gives the reason that is known where there is no connection", () => {
    const none = new Error("Stream isn't writeable and enableOfflineQueue options is false");
    expect(storeError(none, "nothing listens there").message).toBe("nothing listens there");
    expect(said("Connection is closed.")).toMatch(/before it answered/);
  });
});
