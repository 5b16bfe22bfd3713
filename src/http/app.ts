// The Express application: the route table, one endpoint a route, nothing else. Express sees no request that is not in
// the table, and adds no header that tells what it is.

import express, { type Express, type Request, type Response, type NextFunction } from "express";
import type { Route } from "../api/route.ts";
import { type RouteName, ROUTES } from "../api/routes.ts";
import { BrokerError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import { createEndpoint, type EndpointDependencies, type Handlers } from "./endpoint.ts";
import { sendProblem, toBrokerError } from "./problem.ts";

export function createApp(dependencies: EndpointDependencies, handlers: Handlers): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.enable("strict routing");
  app.set("query parser", "simple");
  // Widened on purpose: the table is walked, not one route.
  for (const [name, route] of Object.entries<Route>(ROUTES)) {
    // The keys of the table are its names by construction.
    const endpoint = createEndpoint(dependencies, name as RouteName, handlers);
    const path = route.path.replaceAll(/\{([a-z]+)\}/g, ":$1");
    if (route.method === "GET") app.get(path, endpoint);
    else if (route.method === "POST") app.post(path, endpoint);
    else if (route.method === "PUT") app.put(path, endpoint);
    else app.delete(path, endpoint);
  }
  app.use((req: Request, res: Response) => {
    const request = newId("req", dependencies.wall.now());
    sendProblem(
      res,
      new BrokerError("not_found", "no route has this method and path: /openapi.json lists them"),
      request,
    );
    req.resume();
  });
  // Express tells an error handler by its four parameters.
  app.use((thrown: unknown, _req: Request, res: Response, _next: NextFunction) => {
    const request = newId("req", dependencies.wall.now());
    sendProblem(res, toBrokerError(thrown, request, dependencies.log), request);
  });
  return app;
}
