// A real Ceph object gateway with STS, IAM and S3 for the tests, on free ports of loopback with a folder of its own; ended by
// its own process ids, at the latest with the process of the test.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { CreateRoleCommand, IAMClient, PutRolePolicyCommand } from "@aws-sdk/client-iam";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { findOrInstall } from "./installed-program.ts";
import { freePort, tellGuard } from "./redis-server.ts";

const START_MS = 120_000;
const STOP_MS = 5000;
const ASK_EVERY_MS = 100;
const ASK_MS = 2000;
/** Of each program. */
const LOG_LINES = 8;
const REGION = "us-east-1";
const BROKER = "broker";
const OWNER = "owner";
const PROGRAMS = ["monmaptool", "ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin"] as const;

type Program = (typeof PROGRAMS)[number];

interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface CephServer {
  /** For STS, IAM and S3; buckets are in the path. */
  readonly endpoint: string;
  readonly region: string;
  /** Of the user who may assume the roles made here, and may put and delete their policies. */
  readonly broker: KeyPair;
  /** Of the user who owns the buckets. */
  readonly owner: KeyPair;
  /** Makes a role that the broker's user may assume, with this permission policy; answers its ARN. */
  addRole(name: string, policy: object): Promise<string>;
  /** Makes the bucket, too, where there is none. */
  putObject(bucket: string, key: string, body: string): Promise<void>;
  stop(): Promise<void>;
}

/** A folder with all of its programs. */
function find(): string | null {
  const named = process.env["TEST_CEPH_BIN"];
  if (named !== undefined && named !== "") return named;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin"];
  return folders.find((folder) => PROGRAMS.every((program) => existsSync(join(folder, program)))) ?? null;
}

const found = findOrInstall({
  name: "ceph",
  packages: ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"],
  variable: "TEST_CEPH_BIN",
  find,
});

/** False where this machine has none; with CI=true that is an error. */
export const hasCeph = found !== null;

interface Place {
  readonly programs: string;
  readonly folder: string;
  readonly configuration: string;
  /** Aborted when the time of the start is over, or when what was started has ended. */
  readonly signal: AbortSignal;
}

/** A cluster of one monitor and of one store in memory; without authentication, because it is on loopback only. */
function configure(folder: string, id: string, monitors: string, port: number): string {
  return `[global]
fsid = ${id}
mon host = ${monitors}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon client hunt interval = 0.5
paxos propose interval = 0.05
paxos min wait = 0.01
mon cluster log to file = false
log to file = false
log to stderr = true
err to stderr = true
run dir = ${folder}
admin socket = ${folder}/$name.sock
crash dir = ${folder}
[mon]
mon data = ${folder}/monitor
[osd]
osd objectstore = memstore
memstore device bytes = 1073741824
osd data = ${folder}/store
[client.rgw.a]
# Otherwise the gateway wants an encrypted connection to the monitor, for which there would have to be authentication.
ms mon client mode = crc
rgw data = ${folder}/gateway
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw enable apis = s3, iam, sts
rgw s3 auth use sts = true
rgw sts key = ${randomBytes(8).toString("hex")}
`;
}

const logOf = (folder: string, program: Program): string => join(folder, `${program}.log`);

async function lastLines(folder: string): Promise<readonly string[]> {
  const logs = PROGRAMS.map((program) => readFile(logOf(folder, program), "utf8").catch(() => ""));
  return (await Promise.all(logs)).flatMap((log) => log.split("\n").filter(Boolean).slice(-LOG_LINES));
}

async function run({ programs, folder, configuration, signal }: Place, program: Program, ...args: readonly string[]) {
  // The map of the monitors is made before there is anything to be configured.
  const all = program === "monmaptool" ? args : ["-c", configuration, ...args];
  try {
    await promisify(execFile)(join(programs, program), all, { signal, killSignal: "SIGKILL", maxBuffer: 2 ** 26 });
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    await appendFile(logOf(folder, program), `${stdout}${stderr}`);
    throw error;
  }
}

/** In the foreground, as this process's child. */
function serve({ programs, folder, configuration }: Place, program: Program, ...args: readonly string[]) {
  const log = openSync(logOf(folder, program), "a");
  const child = spawn(join(programs, program), ["-f", "-c", configuration, ...args], { stdio: ["ignore", log, log] });
  closeSync(log);
  tellGuard("+", child);
  child.once("exit", () => tellGuard("-", child));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await ended;
  clearTimeout(timer);
}

/** Settles when it answers, whatever it answers. */
async function untilItAnswers(endpoint: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const patience = AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]);
    const answer = await fetch(endpoint, { signal: patience }).catch(() => null);
    await answer?.body?.cancel();
    if (answer !== null) return;
    await sleep(ASK_EVERY_MS);
  }
}

const makeKeyPair = (): KeyPair => ({
  accessKeyId: randomBytes(10).toString("hex").toUpperCase(),
  secretAccessKey: randomBytes(20).toString("hex"),
});

async function makeUser(place: Place, name: string, keys: KeyPair, ...more: readonly string[]): Promise<void> {
  const secret = [`--access-key=${keys.accessKeyId}`, `--secret=${keys.secretAccessKey}`];
  const user = [`--uid=${name}`, `--display-name=${name}`, ...secret, ...more];
  await run(place, "radosgw-admin", "-n", "client.rgw.a", "user", "create", ...user);
}

export async function startCeph(): Promise<CephServer> {
  const programs = found;
  if (programs === null) throw new Error(`Ceph is not installed: ${PROGRAMS.join(", ")}`);
  const folder = await mkdtemp(join(tmpdir(), "valetkey-ceph-"));
  const failure = new AbortController();
  const signal = AbortSignal.any([failure.signal, AbortSignal.timeout(START_MS)]);
  const place: Place = { programs, folder, configuration: join(folder, "ceph.conf"), signal };
  const children: ChildProcess[] = [];
  // The gateway first, because it waits for the others when it ends.
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  const start = (program: Program, ...args: readonly string[]): void => {
    const child = serve(place, program, ...args);
    child.once("exit", () => failure.abort(new Error(`${program} ended`)));
    child.once("error", (cause) => failure.abort(cause));
    children.push(child);
  };
  const [port, first, second] = await Promise.all([freePort(), freePort(), freePort()]);
  const endpoint = `http://127.0.0.1:${port}`;
  const [cluster, store] = [randomUUID(), randomUUID()];
  const [broker, owner] = [makeKeyPair(), makeKeyPair()];
  try {
    const monitors = `[v2:127.0.0.1:${first},v1:127.0.0.1:${second}]`;
    for (const name of ["monitor", "store", "gateway"]) await mkdir(join(folder, name));
    await writeFile(place.configuration, configure(folder, cluster, monitors, port));
    const map = join(folder, "monitors");
    await run(place, "monmaptool", "--create", "--fsid", cluster, "--addv", "a", monitors, map);
    await run(place, "ceph-mon", "--mkfs", "-i", "a", "--monmap", map);
    start("ceph-mon", "-i", "a");
    await run(place, "ceph", "osd", "new", store, "0");
    await run(place, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store, "--no-mon-config");
    start("ceph-osd", "-i", "0");
    start("radosgw", "-n", "client.rgw.a");
    await untilItAnswers(endpoint, signal);
    await makeUser(place, BROKER, broker, "--caps=roles=*");
    await makeUser(place, OWNER, owner);
  } catch (cause) {
    const lines = await lastLines(folder);
    await stop();
    throw new Error(`Ceph did not start; its logs end:\n${lines.join("\n")}`, { cause });
  }

  const options = { endpoint, region: REGION };
  const iam = new IAMClient({ ...options, credentials: broker });
  const s3 = new S3Client({ ...options, credentials: owner, forcePathStyle: true });
  return {
    endpoint,
    region: REGION,
    broker,
    owner,
    async addRole(name, policy) {
      const principal = { AWS: [`arn:aws:iam:::user/${BROKER}`] };
      // For Ceph, unlike AWS, a session is still the user who started it: it could start another, without its limits.
      const condition = { Null: { "aws:TokenIssueTime": "true" } };
      const statement = { Effect: "Allow", Principal: principal, Action: ["sts:AssumeRole"], Condition: condition };
      const trust = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
      await iam.send(new CreateRoleCommand({ RoleName: name, AssumeRolePolicyDocument: trust }));
      const permission = { PolicyName: "permission", PolicyDocument: JSON.stringify(policy) };
      await iam.send(new PutRolePolicyCommand({ RoleName: name, ...permission }));
      return `arn:aws:iam:::role/${name}`;
    },
    async putObject(bucket, key, body) {
      // Made once more by its owner, it stays as it is.
      await s3.send(new CreateBucketCommand({ Bucket: bucket }));
      await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
    },
    async stop() {
      iam.destroy();
      s3.destroy();
      await stop();
    },
  };
}
