// `valetkey demo`: tells the story of the incident on a broker of its own, in a temporary folder, and checks each step.
// Touches nothing of the user's: own keys, own store, free ports; all of it is removed again, after a failure too.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { createStory } from "./demo-story.ts";
import { EXIT } from "./failure.ts";
import { styled } from "./terminal.ts";

export function addDemoCommand(program: Command, context: Context): void {
  const command = program
    .command("demo")
    .description("tell the story on a broker of its own, in a few seconds; exit 0 when every step went as told")
    .action((options: OutputOptions) => runDemo(context, options));
  withExamples(withJsonOption(command), "valetkey demo");
}

async function runDemo(context: Context, options: OutputOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const quiet = options.json === true;
  const started = surroundings.clock.monotonic();
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "valetkey-demo-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    surroundings.onSignal(signal, () => void cleanup.disposeAsync().finally(() => surroundings.exit(EXIT.refused)));
  }
  if (!quiet) {
    terminal.line(
      "A coding agent on a staging task once found a root key and deleted a production database in nine seconds.",
    );
    terminal.line(
      styled("dim", "The same again, with a broker between it and the provider, here a stand-in on this machine. What"),
    );
    terminal.line(
      styled("dim", "reaches it is counted: calls of the agent, and look-ups of the broker for a thing's environment."),
    );
  }
  // The stand-in of the provider is a GraphQL server: not to be loaded for the help of all commands.
  const { openStage } = await import("./demo-stage.ts");
  const { playSteps } = await import("./demo-steps.ts");
  const stage = await openStage(surroundings, folder, cleanup);
  const story = createStory(quiet ? null : terminal, surroundings.clock, () => stage.countReached());
  await playSteps(stage, story);
  const failed = story.steps.filter((step) => !step.asTold).length;
  if (failed > 0) context.exitCode = EXIT.refused;
  const seconds = Math.round((surroundings.clock.monotonic() - started) / 100) / 10;
  if (quiet) return terminal.json({ ok: failed === 0, seconds, steps: story.steps });
  terminal.line();
  if (failed === 0) terminal.line(styled("green", `every step went as told, in ${seconds} s`));
  else terminal.line(styled("red", `${failed} of ${story.steps.length} steps did not go as told`));
}
