// Remembers credentials that were checked, by their exact text, so that a repeated one costs no signature check.
// Bounded by count and by characters; the least recently used goes first. It answers nothing about the present.

export interface VerifiedCache<Entry> {
  get(jwt: string): Entry | undefined;
  set(jwt: string, entry: Entry): void;
  delete(jwt: string): void;
}

export function createVerifiedCache<Entry>(maxEntries: number, maxCharacters: number): VerifiedCache<Entry> {
  /** A Map iterates in the order of insertion: the first is the least recently used. */
  const entries = new Map<string, Entry>();
  let characters = 0;

  function remove(jwt: string): void {
    if (entries.delete(jwt)) characters -= jwt.length;
  }

  return {
    get(jwt) {
      const entry = entries.get(jwt);
      if (entry !== undefined) {
        entries.delete(jwt);
        entries.set(jwt, entry);
      }
      return entry;
    },
    set(jwt, entry) {
      remove(jwt);
      entries.set(jwt, entry);
      characters += jwt.length;
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries && characters <= maxCharacters) break;
        remove(oldest);
      }
    },
    delete: remove,
  };
}
