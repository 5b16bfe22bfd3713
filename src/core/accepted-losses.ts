// Settings of a Redis server by which it may lose what it has acknowledged, and which an operator may accept, each by its
// name. That the server is a replica, or cannot write its log, is nothing to accept.

export const ACCEPTABLE_LOSSES = [
  "appendonly",
  "appendfsync",
  "no-appendfsync-on-rewrite",
  "maxmemory-policy",
] as const;
export type AcceptableLoss = (typeof ACCEPTABLE_LOSSES)[number];

export const isAcceptableLoss = (text: string): text is AcceptableLoss =>
  ACCEPTABLE_LOSSES.some((loss) => loss === text);
