// One run for many who ask at once. Whoever comes while it runs needs the next run, because this one may have looked before
// the question; all who come meanwhile share that one.

export function shareRuns<Result>(run: () => Promise<Result>): () => Promise<Result> {
  let running: Promise<Result> | null = null;
  let next: Promise<Result> | null = null;

  function start(): Promise<Result> {
    next = null;
    const own = run().finally(() => (running = null));
    running = own;
    return own;
  }

  return () => {
    if (running === null) return start();
    next ??= running.then(start, start);
    return next;
  };
}
