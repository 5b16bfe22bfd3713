// Everything that a command prints. Results go to stdout, remarks and errors to stderr; colour only on a terminal
// and never with NO_COLOR. Every text is escaped here, so that none can move the cursor or reorder a line.

import { styleText } from "node:util";
import CliTable from "cli-table3";
import type { OutputStream, Variables } from "./surroundings.ts";

export type Style = "bold" | "dim" | "green" | "red" | "yellow" | "cyan";

/** A piece of output: plain, or with a style that shows on a terminal only. */
export type Piece = string | { readonly style: Style; readonly text: string };

export interface Terminal {
  /** Null prints as a dash. A line end inside a cell is kept. */
  table(head: readonly string[], rows: readonly (readonly (Piece | null)[])[]): void;
  /** Names and values in two columns. */
  facts(rows: readonly (readonly [string, Piece | null])[]): void;
  line(...pieces: readonly Piece[]): void;
  json(value: unknown): void;
  /** As it is, without a line end: what programs read. */
  raw(text: string): void;
  /** To stderr. */
  remark(text: string): void;
  /** To stderr, beginning with `valetkey:`. */
  error(text: string): void;
}

/** No borders: two spaces between columns. */
const BARE = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};
const PLAIN = { head: [], border: [], "padding-left": 0, "padding-right": 0 };

export function styled(style: Style, text: string): Piece {
  return { style, text };
}

/** Control, formatting and bidirectional characters as `\u{…}`; line ends stay. */
function escapeText(text: string): string {
  return text.replace(
    /(?!\n)[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

export function createTerminal(stdout: OutputStream, stderr: OutputStream, env: Variables): Terminal {
  const show = (piece: Piece | null, stream: OutputStream): string => {
    if (piece === null) return "-";
    if (typeof piece === "string") return escapeText(piece);
    const text = escapeText(piece.text);
    return showsColour(stream, env) ? styleText(piece.style, text, { validateStream: false }) : text;
  };
  const print = (text: string): void => {
    stdout.write(`${text.replace(/ +$/gm, "")}\n`);
  };
  return {
    table(head, rows) {
      const table = new CliTable({
        head: head.map((name) => show(styled("dim", name), stdout)),
        chars: BARE,
        style: PLAIN,
      });
      for (const row of rows) table.push(row.map((cell) => show(cell, stdout)));
      print(table.toString());
    },
    facts(rows) {
      const table = new CliTable({ chars: BARE, style: PLAIN });
      for (const [name, value] of rows) table.push([show(styled("dim", name), stdout), show(value, stdout)]);
      print(table.toString());
    },
    line: (...pieces) => print(pieces.map((piece) => show(piece, stdout)).join("")),
    json: (value) => print(JSON.stringify(value, null, 2)),
    raw: (text) => stdout.write(text),
    remark: (text) => stderr.write(`${escapeText(text)}\n`),
    error: (text) => stderr.write(`${show(styled("red", "valetkey:"), stderr)} ${escapeText(text)}\n`),
  };
}

/** https://no-color.org: any value but an empty one turns colour off. */
function showsColour(stream: OutputStream, env: Variables): boolean {
  return stream.isTTY === true && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}
