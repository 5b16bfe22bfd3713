// What an agent says when it asks: the wire request without what the client fills in.

export interface RequestOptions {
  /** The piece of work, in plain words: people will read it. */
  readonly task: string;
  readonly permissions: readonly { readonly action: string; readonly resource: string }[];
  /** Otherwise the broker picks the narrowest that fits, or refuses as ambiguous. */
  readonly role?: string | undefined;
  /** `90s`, `15m`, `1h`: the grant's life. */
  readonly ttl?: string | undefined;
  readonly reason?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}
