// The one place where patterns are compiled. `*` stands for one or more characters and never crosses `:` or `/`.
// There are no regular expressions in policy: a pattern is anchored at both ends by construction.

export interface Pattern {
  readonly text: string;
  matches(candidate: string): boolean;
}

const MAX_WILDCARDS = 8;
const STOPS = new Set([":", "/"]);

/** Null where the text has `**` or more than eight wildcards. */
export function compilePattern(text: string): Pattern | null {
  if (text.includes("**")) return null;
  const literals = text.split("*");
  if (literals.length - 1 > MAX_WILDCARDS) return null;
  if (literals.length === 1) return { text, matches: (candidate) => candidate === text };
  return { text, matches: (candidate) => matchesInOrder(literals, candidate) };
}

/**
 * Takes the first place that fits each literal and never goes back, so that the cost is that of reading the candidate.
 * That loses no match: a wildcard that began further right would cover a part of what this one covers.
 */
function matchesInOrder(literals: readonly string[], candidate: string): boolean {
  let end = 0;
  for (const [index, literal] of literals.entries()) {
    if (index === 0) {
      if (!candidate.startsWith(literal)) return false;
    } else {
      const isLast = index === literals.length - 1;
      const wildcard = end;
      // A wildcard takes at least one character and no separator.
      end = isLast ? candidate.length - literal.length : candidate.indexOf(literal, wildcard + 1);
      if (end <= wildcard || !candidate.startsWith(literal, end)) return false;
      for (let i = wildcard; i < end; i++) if (STOPS.has(candidate.charAt(i))) return false;
    }
    end += literal.length;
  }
  return true;
}
