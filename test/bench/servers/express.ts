// Server under test: Express 5, and the floor of a mint: one ES256 verification and one ES256 signature, by `jose`, with
// keys imported once. The floor parses no body, decides nothing, remembers nothing and records nothing.

import express, { type Request, type Response } from "express";
import { importJWK, jwtVerify, SignJWT } from "jose";
import { floorClaims, readFloorSetup } from "../floor-setup.ts";

const { callerKey, issuer, caller, signingKey } = readFloorSetup(process.env["FLOOR_SETUP"]);
const verifyWith = await importJWK(callerKey, "ES256");
const signWith = await importJWK(signingKey, "ES256");

async function mint(req: Request, res: Response): Promise<void> {
  const assertion = (req.headers.authorization ?? "").slice("Bearer ".length);
  await jwtVerify(assertion, verifyWith, { issuer: caller, audience: issuer });
  const credential = await new SignJWT(floorClaims(issuer, caller))
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt" })
    .sign(signWith);
  res.json({ credential });
}

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.get("/hello", (_req, res) => {
  res.type("text/plain").send("hello\n");
});
app.get("/mint", mint);
app.listen(Number(process.env["PORT"]), "127.0.0.1");
