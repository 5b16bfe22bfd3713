// Server under test: what `node:http` does by itself.

import { createServer } from "node:http";

const BODY = "hello\n";

createServer((_req, res) => {
  res.writeHead(200, { "Content-Type": "text/plain", "Content-Length": BODY.length }).end(BODY);
}).listen(Number(process.env["PORT"]), "127.0.0.1");
