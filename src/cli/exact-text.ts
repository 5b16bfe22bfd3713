// Text that somebody else wrote, as a person reads it before they sign: what could hide, move or reorder other text stands
// there as `\u{…}`. Two texts never look the same: what is shown can be read back. Pure.

/** Shows nothing or moves what is beside it: no letter, sign or symbol of its own, and no plain space. */
const UNSEEN = String.raw`[\p{C}[\p{Z}--\x20]\u2800\p{Default_Ignorable_Code_Point}]`;
/** A second mark on one letter, or one on no letter, can cover what stands before it. */
const MARK = String.raw`(?<!\p{L})\p{M}`;
/** Would make an escape of what is none. */
const BACKSLASH = String.raw`\\(?=u\{)`;
/** The blocks that the Unicode standard keeps for scripts written from right to left (UAX 9, DerivedBidiClass.txt). */
const RIGHT_TO_LEFT = String.raw`[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFF\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]`;

const IN_PROSE = new RegExp(`${UNSEEN}|${MARK}|${BACKSLASH}`, "gv");
const IN_CODE = new RegExp(`${UNSEEN}|${RIGHT_TO_LEFT}|${MARK}|${BACKSLASH}`, "gv");

const PIECES = /\\u\{[0-9a-f]+\}|./gsu;

/** One line of what people write to people: a task, a reason. */
export function showProse(text: string): string {
  return text.replace(IN_PROSE, escape);
}

/** One line of what machines read. Letters written from right to left would reorder the signs between them: escaped too. */
export function showExact(text: string): string {
  return text.replace(IN_CODE, escape);
}

function escape(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/**
 * What `showExact` or `showProse` gave, in lines of at most `columns` (30 or more), so that no terminal breaks one itself and
 * its end looks like the start of another. Between words where it can be; a space at the end of a line is shown.
 */
export function fold(shown: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let pieces = [...showLastSpace(shown).matchAll(PIECES)].map(([piece]) => piece);
  for (;;) {
    const fitting = countFitting(pieces, columns);
    if (fitting === pieces.length) return [...lines, pieces.join("")];
    const cut = findCut(pieces, fitting);
    lines.push(showLastSpace(pieces.slice(0, cut).join("")));
    pieces = pieces.slice(cut);
  }
}

const SPACE = String.raw`\u{20}`;

function showLastSpace(line: string): string {
  return line.replace(/ $/, SPACE);
}

function countFitting(pieces: readonly string[], columns: number): number {
  let used = 0;
  const over = pieces.findIndex((piece) => (used += widthOf(piece)) > columns);
  return over < 0 ? pieces.length : over;
}

/** Before the last space of the second half that ends a word; otherwise anywhere, with room to show a space. */
function findCut(pieces: readonly string[], fitting: number): number {
  for (let i = fitting; i > fitting / 2; i--) if (pieces[i] === " " && pieces[i - 1] !== " ") return i;
  return pieces[fitting - 1] === " " ? fitting - SPACE.length + 1 : fitting;
}

/** Some characters take two columns; which, terminals disagree on. */
function widthOf(piece: string): number {
  return /^[\x20-\x7e]*$/.test(piece) ? piece.length : 2;
}

/** Exactly these characters: each line end is shown and makes a line. Joined, the lines can be read back. */
export function foldExact(text: string, columns: number): readonly string[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => fold(showExact(i < lines.length - 1 ? `${line}\n` : line), columns));
}
