// What a route of the broker is, and who may call it: the words that the table of routes is written in.

import type * as z from "zod";

export const POWERS = ["approve", "revoke", "audit", "administer"] as const;
export type Power = (typeof POWERS)[number];

/** Who may call. A route that names agents and powers admits either; agents only ever see what is theirs. */
export interface Who {
  readonly agents: boolean;
  readonly services: boolean;
  readonly powers: readonly Power[];
}

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Express and OpenAPI agree on `{name}`; `http/` translates. */
  readonly path: string;
  readonly summary: string;
  /** Null: public. */
  readonly who: Who | null;
  /**
   * Served by a broker whose policy is not the one in force (rule 34): it only stops things, or puts that right. So is
   * every GET.
   */
  readonly underAnyPolicy?: true;
  readonly query: z.ZodType | null;
  readonly body: z.ZodType | null;
  /** Status to schema. A string is a media type whose body has no JSON schema. */
  readonly answers: Readonly<Record<number, z.ZodType | string>>;
}

export const agent = { agents: true, services: false, powers: [] } as const satisfies Who;
export const agentOr = (...powers: Power[]): Who => ({ agents: true, services: false, powers });
export const people = (...powers: Power[]): Who => ({ agents: false, services: false, powers });
