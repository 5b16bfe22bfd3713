// The thread that reads and parses a folder, so that a large or hostile set never stops the broker from answering.
// It posts one answer and ends. It never builds: a ScopeSet has functions and cannot cross threads.

import { parentPort, workerData } from "node:worker_threads";
import { parseFolder } from "./parse-folder.ts";

// `load.ts` alone starts this file and passes a path.
parentPort?.postMessage(parseFolder(String(workerData)));
