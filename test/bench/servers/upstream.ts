// Server under test's other side: an upstream on `node:http` that reads what it is sent and answers the same small JSON.

import { createServer } from "node:http";

const BODY = Buffer.from(
  JSON.stringify({ data: { node: { id: "50000000-0000-4000-8000-000000000001", name: "uploads", state: "READY" } } }),
);

createServer((req, res) => {
  req.resume();
  req.once("end", () => {
    res.writeHead(200, { "Content-Type": "application/json", "Content-Length": BODY.length });
    res.end(BODY);
  });
}).listen(Number(process.env["PORT"]), "127.0.0.1");
