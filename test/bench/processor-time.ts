// How long a server's process was on a processor, which noise from outside hardly moves, unlike rates. Linux only, where
// /proc says it in hundredths of a second; elsewhere it is left out of the table.

import { readFileSync } from "node:fs";

export interface ProcessorTime {
  /** Of the main thread, on which JavaScript runs. */
  readonly mainMs: number;
  /** Of all threads. */
  readonly allMs: number;
}

const TICK_MS = 10;
/** In /proc/PID/stat, counted from after the name: proc(5), fields 14 and 15. */
const USER_FIELD = 11;
const SYSTEM_FIELD = 12;

/** Null where the system does not say it. */
export function readProcessorTime(pid: number | undefined): ProcessorTime | null {
  const allMs = readTicks(`/proc/${pid}/stat`);
  const mainMs = readTicks(`/proc/${pid}/task/${pid}/stat`);
  return allMs === null || mainMs === null ? null : { mainMs, allMs };
}

function readTicks(file: string): number | null {
  try {
    // The name in brackets may have spaces.
    const fields = readFileSync(file, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_MS;
  } catch {
    return null;
  }
}
