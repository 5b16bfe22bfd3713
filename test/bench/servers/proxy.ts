// Server under test: the floor of the gateway, a bare reverse proxy by `undici` on Express 5. It adds a header and passes
// both bodies through; it judges nothing, scrubs nothing and records nothing.

import { pipeline } from "node:stream";
import express, { type Request, type Response } from "express";
import { Agent, request } from "undici";

const origin = process.env["UPSTREAM"] ?? "";
const dispatcher = new Agent({ connections: 64 });

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(async (req: Request, res: Response) => {
  const hasBody = req.headers["content-length"] !== undefined;
  const { statusCode, headers, body } = await request(origin + req.originalUrl, {
    dispatcher,
    // Only methods that this bench sends.
    method: req.method === "POST" ? "POST" : "GET",
    headers: { "content-type": req.headers["content-type"] ?? "application/json", authorization: "Bearer root-key" },
    body: hasBody ? req : null,
  });
  res.writeHead(statusCode, { ...headers, connection: "keep-alive" });
  pipeline(body, res, () => undefined);
});
app.listen(Number(process.env["PORT"]), "127.0.0.1");
