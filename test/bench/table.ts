// The table of a run, for the terminal and for docs/performance.md, and its place there. Pure.
// The prose around the markers is people's: it is kept to the byte.

import type { Line, Section } from "./report.ts";

export const BEGIN = "<!-- begin: last run, written by npm run bench -->";
export const END = "<!-- end: last run -->";

const HEADINGS = ["", "measured", "compared", "target", ""] as const;

/** One table a section, as Markdown. `facts` say on what it was measured. */
export function renderRun(sections: readonly Section[], facts: readonly string[]): string {
  const tables = sections.map(({ title, lines }) =>
    [`### ${title}`, "", ...renderTable(lines.map(cellsOf))].join("\n"),
  );
  return [facts.map((fact) => `- ${fact}`).join("\n"), ...tables].join("\n\n");
}

function cellsOf({ what, measured, ratio = "", target = "", met }: Line): readonly string[] {
  return [what, measured, ratio, target, met === undefined ? "" : met ? "met" : "**missed**"];
}

/** Aligned, so that it reads as well without being rendered. */
function renderTable(rows: readonly (readonly string[])[]): readonly string[] {
  const all = [HEADINGS, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = HEADINGS.map((_, column) => Math.max(3, ...all.map((row) => row[column]?.length ?? 0)));
  const render = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = "", ...body] = all.map(render);
  return [head, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...body];
}

/** The document with what stands between the markers replaced. Throws where they are not there once each, in order. */
export function replaceLastRun(document: string, run: string): string {
  const [before, rest, ...more] = document.split(BEGIN);
  const [, after, ...evenMore] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined || more.length > 0 || evenMore.length > 0) {
    throw new Error(`expected the document to have the lines ${BEGIN} and ${END} once each, in this order`);
  }
  return `${before}${BEGIN}\n\n${run}\n\n${END}${after}`;
}

/** Which targets were missed. */
export function missedTargets(sections: readonly Section[]): readonly Line[] {
  return sections.flatMap(({ lines }) => lines.filter(({ met }) => met === false));
}
