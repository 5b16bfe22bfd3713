// What a part of the bench hands back: lines of the table, each with its ratio where it has something to be held against.

export interface Line {
  readonly what: string;
  /** With its unit. */
  readonly measured: string;
  /** What it is compared with, and the ratio: `0.62 of the floor`. */
  readonly ratio?: string;
  readonly target?: string;
  /** Whether the target was reached; only where there is one. */
  readonly met?: boolean;
}

export interface Section {
  readonly title: string;
  readonly lines: readonly Line[];
}

/** How long a part measures: a smoke test, or what is written down. */
export interface Effort {
  readonly quick: boolean;
  /** Rounds of which the median is reported. */
  readonly rounds: number;
  /** Multiplies the number of requests and repetitions. */
  readonly scale: number;
}

export interface Bench {
  readonly effort: Effort;
  /** The built `main.js` of the broker under test. */
  readonly main: string;
  /** Progress, for whoever waits. */
  readonly say: (text: string) => void;
}
