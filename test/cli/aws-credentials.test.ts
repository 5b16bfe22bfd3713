// The commands of docs/aws.md against a real broker, with AWS's own SDK as the tool that reads what they give, and a small
// stand-in of STS, IAM and S3.

import { spawn } from "node:child_process";
import { cp, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHttp, fromProcess } from "@aws-sdk/credential-providers";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type AwsStandIn, startAwsStandIn } from "../support/aws-stand-in.ts";
import { accountPolicy, BUCKET, isAllowed, KEY, openS3, read, ROLE_POLICY, write } from "../support/shop-account.ts";
import { makeFolder, type Ran, runCli, runMain, type RunOptions, startServe } from "./cli-run.ts";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const REGION = "eu-central-1";
const LETTER = `kind: Resource\nid: shop-aws:object/${BUCKET}/${KEY}\nlabels: { environment: staging }\n`;
const ASK = ["object:read", `shop-aws:bucket/${BUCKET}`, "--task", "read the uploads", "--as", "coder"];

interface Serving {
  readonly uri: string;
  readonly token: string;
  readonly ended: Promise<Ran>;
  stop(): Promise<Ran>;
}

describe("valetkey aws-credentials", { timeout: 120_000 }, () => {
  let aws: AwsStandIn;
  let role: string;

  beforeAll(async () => {
    aws = await startAwsStandIn();
    aws.putObject(BUCKET, KEY, "a letter");
    role = aws.addRole("shop-agents", ROLE_POLICY);
  });
  afterAll(() => aws.close());

  /** A broker with the sample and this upstream, in a folder of its own. */
  async function serve(): Promise<RunOptions> {
    const cwd = await makeFolder();
    await cp(join(import.meta.dirname, "../../scopes"), join(cwd, "scopes"), { recursive: true });
    expect(await runCli(["init", "--sample"], { cwd })).toMatchObject({ code: 0 });
    const lines = ["credential: { secret: shop-aws-key }"];
    await writeFile(
      join(cwd, "scopes/shop-aws.yaml"),
      `${accountPolicy({ endpoint: aws.url, region: REGION, role, lines })}---\n${LETTER}`,
    );
    expect(await runCli(["scopes", "check"], { cwd })).toMatchObject({ code: 0 });
    const options = { cwd, env: { VALETKEY_URL: (await startServe({ cwd })).url } };
    const put = ["secrets", "put", "shop-aws-key", "--origin", aws.url, "--as", "admin-1"];
    const stdin = `${aws.root.accessKeyId}:${aws.root.secretAccessKey}\n`;
    expect(await runCli(put, { ...options, stdin })).toMatchObject({ code: 0 });
    return options;
  }

  async function startServing(options: RunOptions, ...more: readonly string[]): Promise<Serving> {
    const argv = [MAIN, "aws-credentials", "--serve", ...ASK, ...more];
    const child = spawn(process.execPath, argv, {
      cwd: options.cwd,
      env: options.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = new Promise<number | null>((settle) => child.once("close", settle));
    const valueOf = (name: string): string => new RegExp(`^export ${name}='(.*)'$`, "m").exec(stdout)?.[1] ?? "";
    await vi.waitFor(() => expect(stderr).toContain("serving grant"), { timeout: 20_000 });
    return {
      uri: valueOf("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
      token: valueOf("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
      ended: ended.then((code) => ({ code, stdout, stderr })),
      stop: async () => {
        child.kill("SIGINT");
        return { code: await ended, stdout, stderr };
      },
    };
  }
  const typesIn = async (options: RunOptions): Promise<readonly string[]> => {
    const { stdout } = await runCli(["audit", "export", "--as", "security-1"], options);
    return [...stdout.matchAll(/"type":"([a-z.]+)"/g)].map(([, type = ""]) => type);
  };

  it("is a `credential_process` for AWS's SDKs", async () => {
    const options = await serve();
    const asked = await runMain(["aws-credentials", ...ASK], options);
    expect(asked).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(asked.stdout)).toEqual({
      Version: 1,
      AccessKeyId: expect.stringMatching(/^ASIA/),
      SecretAccessKey: expect.any(String),
      SessionToken: expect.any(String),
      Expiration: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
    const words = [process.execPath, MAIN, "aws-credentials", "--url", options.env?.["VALETKEY_URL"] ?? "", ...ASK];
    const key = ["--key", join(options.cwd, ".valetkey/keys/coder.jwk")];
    const line = [...words.filter((word, i) => word !== "--as" && words[i - 1] !== "--as"), ...key];
    const file = join(options.cwd, "config");
    await writeFile(file, `[profile shop]\ncredential_process = ${line.map((word) => `"${word}"`).join(" ")}\n`);
    const provide = fromProcess({ profile: "shop", configFilepath: file, filepath: file });
    const { accessKeyId, secretAccessKey, sessionToken = "" } = await provide();
    const s3 = openS3(aws.url, REGION, { kind: "aws", region: REGION, accessKeyId, secretAccessKey, sessionToken });
    expect(await read(s3)).toBe("a letter");
    expect(await isAllowed(write(s3))).toBe(false);
  });

  it("serves one session to whoever has its token, as a container's, and records no fetch as a mint", async () => {
    const options = await serve();
    const { uri, token, stop } = await startServing(options);
    expect(new URL(uri)).toMatchObject({ hostname: "127.0.0.1", protocol: "http:" });
    const minted = (await typesIn(options)).filter((type) => type === "credential.ordered").length;
    const provide = fromHttp({ awsContainerCredentialsFullUri: uri, awsContainerAuthorizationToken: token });
    const all = await Promise.all(Array.from({ length: 20 }, () => provide()));
    expect(new Set(all.map(({ accessKeyId }) => accessKeyId)).size).toBe(1);
    const [{ accessKeyId, secretAccessKey, sessionToken = "" } = await provide()] = all;
    const s3 = openS3(aws.url, REGION, { kind: "aws", region: REGION, accessKeyId, secretAccessKey, sessionToken });
    expect(await read(s3)).toBe("a letter");
    expect((await typesIn(options)).filter((type) => type === "credential.ordered")).toHaveLength(minted);
    expect(await stop()).toMatchObject({ code: 0, stderr: expect.stringContaining("the grant is over: stopped") });
    await vi.waitFor(async () => expect(await isAllowed(read(s3))).toBe(false), { timeout: 20_000 });
    await expect(provide()).rejects.toThrow(/ECONNREFUSED|connect/i);
  });

  it("answers nobody else: another token, path, method, or a name that leads here", async () => {
    const options = await serve();
    const { uri, token, stop } = await startServing(options);
    const ask = (path: string, headers: Readonly<Record<string, string>>, method = "GET") =>
      new Promise<{ status: number; body: string }>((settle, fail) => {
        const { hostname, port } = new URL(uri);
        const sent = request({ hostname, port, path, method, headers, setHost: false }, (res) => {
          let body = "";
          res.setEncoding("utf8").on("data", (text: string) => (body += text));
          res.on("end", () => settle({ status: res.statusCode ?? 0, body }));
        });
        sent.on("error", fail).end();
      });
    const { host, pathname } = new URL(uri);
    expect(await ask(pathname, { host, authorization: token })).toMatchObject({ status: 200 });
    for (const [path, headers, method] of [
      [pathname, { host }],
      [pathname, { host, authorization: "" }],
      [pathname, { host, authorization: token.slice(0, -1) }],
      [pathname, { host, authorization: `${token}x` }],
      [pathname, { host, authorization: `Bearer ${token}` }],
      [pathname, { host: "evil.example", authorization: token }],
      [pathname, { host: `localhost:${new URL(uri).port}`, authorization: token }],
      ["/", { host, authorization: token }],
      [`${pathname}?x=1`, { host, authorization: token }],
      [pathname, { host, authorization: token }, "POST"],
    ] as const) {
      const { status, body } = await ask(path, headers, method);
      expect([path, headers, status < 500 && status >= 400]).toEqual([path, headers, true]);
      expect(Object.keys(JSON.parse(body) as object)).toEqual(["Code", "Message"]);
      expect(body).not.toContain("ASIA");
    }
    await stop();
  });

  it("ends by itself with its grant, and says so", async () => {
    const options = await serve();
    const { ended } = await startServing(options, "--ttl", "3s");
    expect(await ended).toMatchObject({ code: 0, stderr: expect.stringContaining("its time was up at") });
  });

  it("ends when its grant is revoked, and says by what", async () => {
    const options = await serve();
    const { ended } = await startServing(options);
    const revoke = ["revoke", "--task", "read the uploads", "--reason", "odd", "--as", "security-1"];
    expect(await runCli(revoke, options)).toMatchObject({ code: 0 });
    const { code, stderr } = await ended;
    expect(stderr).toMatch(/the grant is over: it was ended by rev_/);
    expect(code).toBe(1);
  });

  it("waits for no people: what is held is refused with what to do, and served once it is active", async () => {
    const options = await serve();
    const words = ["object:delete", `shop-aws:object/${BUCKET}/${KEY}`, "--task", "delete it", "--reason", "old"];
    const held = await runMain(["aws-credentials", ...words, "--as", "coder"], options);
    expect(held).toMatchObject({ code: 1, stdout: "" });
    const [, hold = ""] = /hold (hld_\w+)/.exec(held.stderr) ?? [];
    const [, grant = ""] = /--grant (grt_\w+)/.exec(held.stderr) ?? [];
    const early = await runMain(["aws-credentials", "--grant", grant, "--as", "coder"], options);
    expect(early).toMatchObject({ code: expect.not.stringMatching("0"), stdout: "" });
    expect(await runCli(["approve", hold, "--as", "oncall-1", "--yes"], options)).toMatchObject({ code: 0 });
    await vi.waitFor(
      async () => {
        const ran = await runMain(["aws-credentials", "--grant", grant, "--as", "coder"], options);
        expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining("SessionToken") });
      },
      { timeout: 20_000, interval: 500 },
    );
  });

  it.each([
    ["no task", ["object:read", "shop-aws:bucket/x"], "say what it is for with --task"],
    ["permissions beside a grant", ["object:read", "shop-aws:bucket/x", "--grant", "grt_1"], "name no others"],
    ["a grant that is none", ["--grant", "grt_1"], "expected a grant's id"],
    ["a port without --serve", ["object:read", "shop-aws:bucket/x", "--task", "t", "--port", "1"], "add --serve"],
    ["a port that is none", ["--serve", "--task", "t", "--port", "70000"], "expected a number up to 65535"],
  ])("is wrong use with %s", async (_, words, says) => {
    const cwd = await makeFolder();
    const ran = await runCli(["aws-credentials", ...words, "--as", "coder"], { cwd });
    expect(ran).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
  });
});
