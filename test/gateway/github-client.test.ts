// GitHub's own client, unmodified, through the shipped pack: it works by changing its base URL and its key, and does
// nothing but what the pack lists and the role gives.

import { Octokit, type RestEndpointMethodTypes } from "@octokit/rest";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openGithub, openGithubUploads, restPack, type RestStandIn } from "../support/rest-stand-ins.ts";
import { holds, type RestBroker, startRestBroker } from "./rest-broker.ts";
import { jwtOf } from "../support/jwt-of.ts";

const ROOT_KEY = "ghp_7Kd0uPz3QvXw1nRtYb5mLc9HsJe2FgAo4iU6";
const SHOP = "github:repo/example/shop";
const repo = { owner: "example", repo: "shop" } as const;
const ACTIONS = [
  "repo:read",
  "content:read",
  "content:write",
  "content:delete",
  "issue:read",
  "issue:write",
  "pull:read",
  "pull:write",
  "pull:merge",
  "release:read",
  "release:write",
];
const ROLES = `kind: Role
name: repo-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [${ACTIONS.join(", ")}], resources: { upstream: github } }
---
kind: Role
name: workflow-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [workflow:write, repo:delete], resources: { upstream: github } }
---
kind: Resource
id: github:repo/example/live-shop
labels: { environment: production }
---
kind: Resource
id: github:repo/example/other
labels: { environment: staging }
`;

let api: RestStandIn;
let uploads: RestStandIn;
let rest: RestBroker;
let credential: string;
/** What arrived before the test. */
let before = 0;

const arrived = () => [...api.calls, ...uploads.calls].slice(before).map(({ line }) => line);

function clientWith(auth: string): Octokit {
  const quiet = () => undefined;
  return new Octokit({ baseUrl: rest.url, auth, log: { debug: quiet, info: quiet, warn: quiet, error: quiet } });
}

/** What the client threw. */
async function refusalOf(promise: Promise<unknown>): Promise<{ status: number; message: string; code: string }> {
  const thrown: unknown = await promise.then(
    (answer) => expect.unreachable(`not refused: ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  expect(holds(thrown, ROOT_KEY)).toBe(false);
  // Octokit's RequestError: its class is not exported by the package.
  const { status, message, response } = thrown as Error & {
    readonly status: number;
    readonly response?: { readonly headers: Readonly<Record<string, string>> };
  };
  return { status, message, code: response?.headers["valetkey-error"] ?? "" };
}

beforeAll(async () => {
  api = await openGithub(ROOT_KEY);
  uploads = await openGithubUploads(ROOT_KEY);
  const pack = restPack("github", { "https://api.github.com": api.url, "https://uploads.github.com": uploads.url });
  rest = await startRestBroker("github", { pack, roles: ROLES, rootKey: ROOT_KEY, origins: [api.url, uploads.url] });
  credential = await rest.credential(SHOP, ACTIONS);
});
beforeEach(() => {
  before = api.calls.length + uploads.calls.length;
});
afterAll(async () => {
  await rest[Symbol.asyncDispose]();
  await api[Symbol.asyncDispose]();
  await uploads[Symbol.asyncDispose]();
});

describe("@octokit/rest", () => {
  it("does its work by a changed base URL and key: the provider sees the root key alone, the client never", async () => {
    const { rest: github } = clientWith(credential);
    const file = { ...repo, path: "src/settings.env", message: "change", content: "eA==" };
    const answers = [
      await github.repos.get(repo),
      await github.repos.getContent({ ...repo, path: "src/deep/settings.env", ref: "main" }),
      await github.repos.createOrUpdateFileContents(file),
      await github.repos.deleteFile({ ...file, sha: "f1" }),
      await github.issues.listForRepo(repo),
      await github.issues.get({ ...repo, issue_number: 3 }),
      await github.issues.create({ ...repo, title: "a title — with more than ASCII", labels: ["bug"] }),
      await github.issues.createComment({ ...repo, issue_number: 3, body: "seen" }),
      await github.pulls.list({ ...repo, state: "open" }),
      await github.pulls.get({ ...repo, pull_number: 4 }),
      await github.pulls.create({ ...repo, head: "change", base: "main", title: "a change" }),
      await github.pulls.merge({ ...repo, pull_number: 4 }),
      await github.repos.listReleases(repo),
      await github.repos.createRelease({ ...repo, tag_name: "v2" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([
      200, 200, 200, 200, 200, 200, 201, 201, 200, 200, 201, 200, 200, 201,
    ]);
    expect(answers[6]?.data).toMatchObject({ title: "a title — with more than ASCII", labels: ["bug"] });
    expect(arrived()).toEqual([
      "GET /repos/example/shop",
      "GET /repos/example/shop/contents/src%2Fdeep%2Fsettings.env?ref=main",
      "PUT /repos/example/shop/contents/src%2Fsettings.env",
      "DELETE /repos/example/shop/contents/src%2Fsettings.env",
      "GET /repos/example/shop/issues",
      "GET /repos/example/shop/issues/3",
      "POST /repos/example/shop/issues",
      "POST /repos/example/shop/issues/3/comments",
      "GET /repos/example/shop/pulls?state=open",
      "GET /repos/example/shop/pulls/4",
      "POST /repos/example/shop/pulls",
      "PUT /repos/example/shop/pulls/4/merge",
      "GET /repos/example/shop/releases",
      "POST /repos/example/shop/releases",
    ]);
    expect(api.calls.every(({ authorized }) => authorized)).toBe(true);
    expect(holds(api.calls, credential)).toBe(false);
    expect(holds(api.calls, ROOT_KEY)).toBe(true);
    // The provider said it in a header of each answer.
    expect(answers.every(({ headers }) => /^Bearer \*+$/.test(String(headers["x-authorized-as"])))).toBe(true);
    expect(holds(answers, ROOT_KEY)).toBe(false);
  });

  it("is not given the root key out of a file's content, which is base64 in lines", async () => {
    const { data } = await clientWith(credential).rest.repos.getContent({ ...repo, path: "settings.env" });
    if (Array.isArray(data) || data.type !== "file" || !("content" in data)) return expect.unreachable("not a file");
    const text = Buffer.from(data.content, "base64").toString("latin1");
    expect(text).toContain("DEBUG=false");
    // Nor parts of it, as a line has them.
    for (const part of [ROOT_KEY, ROOT_KEY.slice(0, 8), ROOT_KEY.slice(16, 24), ROOT_KEY.slice(-8)]) {
      expect(text).not.toContain(part);
    }
  });

  it("reads page by page", async () => {
    const { rest: github } = clientWith(credential);
    const pages: RestEndpointMethodTypes["issues"]["listForRepo"]["response"]["data"][] = [];
    for (let page = 1; pages.at(-1)?.length !== 0; page++) {
      const parameters = { ...repo, state: "all", sort: "created", direction: "desc", per_page: 20, page } as const;
      pages.push((await github.issues.listForRepo(parameters)).data);
    }
    expect(pages.map(({ length }) => length)).toEqual([20, 15, 0]);
    expect(arrived()[1]).toBe(
      "GET /repos/example/shop/issues?state=all&sort=created&direction=desc&per_page=20&page=2",
    );
    expect((await github.pulls.list({ ...repo, per_page: 5, page: 2 })).status).toBe(200);
    expect((await github.repos.listReleases({ ...repo, per_page: 5, page: 2 })).status).toBe(200);
  });

  it("uploads the bytes of a release's asset through the same base URL, to the origin for uploads", async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    const answer = await clientWith(credential).rest.repos.uploadReleaseAsset({
      ...repo,
      baseUrl: rest.url,
      release_id: 7,
      name: "shop 2.zip",
      label: "the shop",
      headers: { "content-type": "application/zip" },
      // The client takes bytes, and its types know of text alone.
      data: bytes as unknown as string,
    });
    expect(answer).toMatchObject({ status: 201, data: { name: "shop 2.zip", label: "the shop", size: 300_000 } });
    expect(holds(answer, ROOT_KEY)).toBe(false);
    expect(arrived()).toEqual(["POST /repos/example/shop/releases/7/assets?name=shop%202.zip&label=the%20shop"]);
    const call = uploads.calls.at(-1);
    expect(call).toMatchObject({ authorized: true, headers: { "content-type": "application/zip" } });
    expect(call?.body.equals(bytes)).toBe(true);
    expect(holds(uploads.calls, credential)).toBe(false);
  });

  it("shows its user why a call is refused", async () => {
    const refusal = await refusalOf(clientWith(credential).rest.repos.delete(repo));
    expect(refusal).toMatchObject({
      status: 403,
      code: expect.stringMatching(/^(?:permission_missing|role_does_not_permit)$/),
    });
    expect(refusal.message).toContain(refusal.code);
    expect(refusal.message).toContain("repo:delete on github:repo/example/shop");
    expect(arrived()).toEqual([]);
  });

  const unlisted: Readonly<Record<string, (github: Octokit["rest"]) => Promise<unknown>>> = {
    "a deploy key": (github) => github.repos.createDeployKey({ ...repo, key: "ssh-ed25519 AAAA" }),
    "a webhook": (github) => github.repos.createWebhook({ ...repo, config: { url: "https://elsewhere.example" } }),
    "an invitation": (github) => github.repos.addCollaborator({ ...repo, username: "somebody" }),
    "a change of the repository": (github) => github.repos.update({ ...repo, private: false }),
    "a transfer": (github) => github.repos.transfer({ ...repo, new_owner: "somebody" }),
    "a branch's rules": (github) => github.repos.deleteBranchProtection({ ...repo, branch: "main" }),
    "a secret of the actions": (github) => github.actions.listRepoSecrets(repo),
    "the user's own account": (github) => github.users.getAuthenticated(),
    "a query parameter that is not listed": (github) => github.repos.get({ ...repo, as: "admin" }),
    "an upload to the origin of the API": (github) => github.repos.deleteReleaseAsset({ ...repo, asset_id: 9 }),
  };
  for (const [what, ask] of Object.entries(unlisted)) {
    it(`is refused what the pack does not list: ${what}`, async () => {
      expect(await refusalOf(ask(clientWith(credential).rest))).toMatchObject({
        status: 403,
        code: "operation_unlisted",
      });
      expect(arrived()).toEqual([]);
    });
  }

  it("is refused another repository, of production or not named in the grant, in any spelling of its name", async () => {
    const { rest: github } = clientWith(credential);
    const live = await refusalOf(github.repos.get({ owner: "example", repo: "live-shop" }));
    expect(live).toMatchObject({ status: 403, code: "environment_mismatch" });
    expect(await refusalOf(github.repos.get({ owner: "example", repo: "other" }))).toMatchObject({
      code: "permission_missing",
    });
    expect(await refusalOf(github.repos.get({ owner: "example", repo: "Shop" }))).toMatchObject({
      code: "resource_unknown",
    });
    const around = await refusalOf(github.repos.getContent({ ...repo, path: "../../live-shop/contents/x" }));
    expect(around).toMatchObject({ status: 400, code: "path_not_canonical" });
    expect(arrived()).toEqual([]);
  });

  it("writes no workflow, which would run with the repository's secrets, where it may only write content", async () => {
    const { rest: github } = clientWith(credential);
    for (const path of [".github/workflows/ci.yml", ".GitHub/workflows/ci.yml"]) {
      const file = { ...repo, path, message: "change", content: "eA==" };
      const refusal = await refusalOf(github.repos.createOrUpdateFileContents(file));
      expect(refusal).toMatchObject({ status: 403, code: "operation_unlisted" });
    }
    const init = { method: "PUT", body: "{}", headers: { "content-type": "application/json" } };
    const path = "/repos/example/shop/contents/.github/workflows/ci.yml";
    const refused = await rest.send(path, { ...init, credential });
    expect(refused).toMatchObject({ status: 403, json: { reasons: [{ action: "workflow:write" }, {}] } });
    expect(arrived()).toEqual([]);
    const may = await rest.credential(SHOP, ["workflow:write"]);
    expect((await rest.send(path, { ...init, credential: may })).status).toBe(200);
  });

  it("is refused with another key than a credential of this upstream", async () => {
    const keys = [
      ROOT_KEY,
      credential.slice(0, -2),
      await rest.broker
        .as("coder")
        .call("requestGrant", {
          body: {
            task: "another upstream",
            permissions: [{ action: "volume:read", resource: "shop-staging:volume/uploads" }],
          },
        })
        .then((answer) => ("credential" in answer ? jwtOf(answer.credential).value : "")),
    ];
    for (const key of keys) {
      expect(await refusalOf(clientWith(key).rest.repos.get(repo))).toMatchObject({
        status: 401,
        code: "credential_invalid",
      });
    }
    expect(arrived()).toEqual([]);
  });
});
