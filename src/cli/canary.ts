// `valetkey canary new|list|delete`: decoy keys, to be left where keys are looked for. `new` prints the value alone on
// stdout, so that it can be put straight into a file; it is shown once and can never be read back.

import { type Command, Option } from "commander";
import { CANARY_KINDS, CanaryRequest } from "../api/secrets.ts";
import { isId } from "../core/ids.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { wrongUse } from "./failure.ts";
import { parseBody } from "./permissions.ts";
import { styled } from "./terminal.ts";

interface NewOptions extends BrokerOptions {
  readonly like: string;
  readonly note?: string;
}

export function addCanaryCommands(program: Command, context: Context): void {
  const canary = program
    .command("canary")
    .description("make, list and forget decoy keys: whoever presents one has looked");
  withExamples(
    canary,
    "valetkey canary new --like github --note shop/.env --as security-1 >> .env",
    "valetkey canary list --as security-1",
  );
  const make = canary
    .command("new")
    .description("make a decoy key; its value alone goes to standard output, once")
    .addOption(new Option("--like <kind>", "whose key it looks like").choices(CANARY_KINDS).makeOptionMandatory())
    .option("--note <text>", "where it will lie, for whoever is alerted")
    .action((options: NewOptions) => makeCanary(context, options));
  withExamples(
    withBrokerOptions(make),
    'valetkey canary new --like railway --note "shop/scripts/old-deploy.sh" --as security-1',
    "valetkey canary new --like aws --note build-image --as security-1 > credentials",
  );
  const list = canary
    .command("list")
    .description("the decoys, never their values")
    .action((options: BrokerOptions) => listCanaries(context, options));
  withExamples(withBrokerOptions(list), "valetkey canary list --as security-1");
  const forget = canary
    .command("delete")
    .description("forget a decoy; its value alerts nobody any more")
    .argument("<id>", "the decoy's id")
    .action((id: string, options: BrokerOptions) => deleteCanary(context, id, options));
  withExamples(withBrokerOptions(forget), "valetkey canary delete can_… --as security-1");
}

async function makeCanary({ surroundings, terminal }: Context, options: NewOptions): Promise<void> {
  const body = parseBody(CanaryRequest, {
    like: options.like,
    ...(options.note === undefined ? {} : { note: options.note }),
  });
  const { canary, value } = await connect(surroundings, options).call("addCanary", { body });
  if (options.json === true) return terminal.json({ canary, value });
  terminal.line(value);
  terminal.remark(
    `this is the decoy ${canary.id}: it opens nothing and is not shown again; leave it where keys are looked for`,
  );
}

async function listCanaries({ surroundings, terminal }: Context, options: BrokerOptions): Promise<void> {
  const answer = await connect(surroundings, options).call("listCanaries");
  if (options.json === true) return terminal.json(answer);
  if (answer.canaries.length === 0)
    return terminal.line(`there is no decoy: valetkey canary new --like ${CANARY_KINDS.join("|")} makes one`);
  terminal.table(
    ["DECOY", "LIKE", "NOTE", "SINCE", "BY"],
    answer.canaries.map(({ id, like, note, createdAt, createdBy }) => [id, like, note, createdAt, createdBy]),
  );
}

async function deleteCanary({ surroundings, terminal }: Context, id: string, options: BrokerOptions): Promise<void> {
  if (!isId("can", id)) throw wrongUse("expected a decoy's id like can_01J…; valetkey canary list shows them");
  const answer = await connect(surroundings, options).call("deleteCanary", { params: { id } });
  if (options.json === true) return terminal.json(answer);
  terminal.line(styled("red", "forgotten"), `: ${id}; where it still lies, it alerts nobody any more`);
}
