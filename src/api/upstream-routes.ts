// The routes of systems that take credentials of their own. A part of the table in `routes.ts`.

import { people, type Route } from "./route.ts";
import { Unconfirmed, UnconfirmedQuery, UpstreamsAnswer } from "./upstreams.ts";

export const UPSTREAM_ROUTES = {
  listUnconfirmed: {
    method: "GET",
    path: "/v1/unconfirmed",
    summary: "credentials at other systems that had to be dead and are not known to be",
    who: people("revoke", "audit"),
    query: UnconfirmedQuery,
    body: null,
    answers: { 200: Unconfirmed },
  },
  listUpstreams: {
    method: "GET",
    path: "/v1/upstreams",
    summary: "how the systems stand that take credentials of their own",
    who: people("revoke", "audit", "administer"),
    query: null,
    body: null,
    answers: { 200: UpstreamsAnswer },
  },
} as const satisfies Record<string, Route>;
