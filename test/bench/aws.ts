// Row 9: a grant on a real STS (Ceph's gateway) beside one AssumeRole made by hand, and how long after a revocation's answer
// its session is refused. Says nothing of AWS, which takes its time to heed a changed policy.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { sessionPolicy } from "../../src/core/aws-policy.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { type CephServer, hasCeph, startCeph } from "../support/ceph-server.ts";
import { accountPolicy, BUCKET, isAllowed, KEY, openS3, read, READING, ROLE_POLICY } from "../support/shop-account.ts";
import { type BenchBroker, makeBenchFolder, startBroker } from "./broker.ts";
import type { Bench, Section } from "./report.ts";
import { median, percentile } from "./stats.ts";

const GRANTS = 100;
const PERMISSIONS = [{ action: "object:read", resource: `shop-aws:bucket/${BUCKET}` }];

export async function benchAws({ main, effort, say }: Bench): Promise<readonly Section[]> {
  if (!hasCeph) {
    say("left out, for want of Ceph: sessions of a real STS");
    return [];
  }
  const ceph = await startCeph();
  const folder = await makeBenchFolder();
  try {
    const role = await ceph.addRole("shop-agents", ROLE_POLICY);
    await ceph.putObject(BUCKET, KEY, "a letter");
    const { endpoint, region } = ceph;
    const lines = ["credential: { secret: shop-aws-key }"];
    writeFileSync(join(folder.path, "scopes/shop-aws.yaml"), accountPolicy({ endpoint, region, role, lines }));
    const broker = await startBroker(main, folder);
    try {
      const admin = createApiClient({ url: broker.url, name: "admin-1", key: folder.keyOf("admin-1") });
      const { accessKeyId, secretAccessKey } = ceph.broker;
      const body = { value: `${accessKeyId}:${secretAccessKey}`, origins: [endpoint] };
      await admin.call("putSecret", { params: { name: "shop-aws-key" }, body });
      return [await measure(broker, ceph, role, effort.quick ? 10 : GRANTS, say)];
    } finally {
      await broker.end();
    }
  } finally {
    folder.remove();
    await ceph.stop();
  }
}

async function measure(
  broker: BenchBroker,
  ceph: CephServer,
  role: string,
  count: number,
  say: (text: string) => void,
): Promise<Section> {
  const as = (name: string) => createApiClient({ url: broker.url, name, key: broker.folder.keyOf(name) });
  const [agent, security] = [as("coder"), as("security-1")];
  const { endpoint, region } = ceph;
  const sts = new STSClient({ endpoint, region, credentials: ceph.broker });
  const [floors, mints, revocations]: [number[], number[], number[]] = [[], [], []];
  say(`${count} grants, one after the other`);
  for (let n = 0; n < count; n++) {
    const Policy = sessionPolicy(READING.statements, Date.now() + 600_000);
    const byHand = { RoleArn: role, RoleSessionName: `by-hand-${n}`, DurationSeconds: 900, Policy };
    floors.push(await timed(() => sts.send(new AssumeRoleCommand(byHand))));
    const from = performance.now();
    const answer = await agent.call("requestGrant", { body: { task: `bench ${n}`, permissions: PERMISSIONS } });
    mints.push(performance.now() - from);
    if (!("credential" in answer) || answer.credential.kind !== "aws") throw new Error("expected a session");
    const s3 = openS3(endpoint, region, answer.credential);
    if (!(await isAllowed(read(s3)))) throw new Error("expected a session that reads");
    await security.call("revoke", { body: { target: { grant: answer.grant.id }, reason: "bench" } });
    revocations.push(await timed(() => untilRefused(() => isAllowed(read(s3)))));
  }
  sts.destroy();
  const ms = (values: readonly number[]): string =>
    `median ${median(values).toFixed(1)} ms, p99 ${percentile(values, 99).toFixed(1)} ms`;
  return {
    title: `AWS: ${count} grants on Ceph's gateway on this machine, one after the other`,
    lines: [
      { what: "by hand: one AssumeRole with the same policy", measured: ms(floors) },
      {
        what: "a grant with its session, on record before it is made",
        measured: ms(mints),
        ratio: `${(median(mints) / median(floors)).toFixed(2)} × by hand`,
      },
      { what: "from the answer to a revocation until its session is refused", measured: ms(revocations) },
    ],
  };
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await act();
  return performance.now() - from;
}

async function untilRefused(isIn: () => Promise<boolean>): Promise<void> {
  while (await isIn());
}
