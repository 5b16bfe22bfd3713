// The address of a Redis store as operators write it, read strictly: one server, a set that Sentinel watches, or a Cluster.
// A message on what is wrong, and the address as it is shown, never have any part of what may be a password.

import { isIP } from "node:net";
import { Secret } from "./secret.ts";

export interface RedisNode {
  /** A name, or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

interface Common {
  readonly isTls: boolean;
  readonly user: string | null;
  /** Bytes of a text. */
  readonly password: Secret | null;
}

export type RedisAddress = Common &
  (
    | { readonly kind: "single"; readonly node: RedisNode; readonly database: number }
    | { readonly kind: "sentinel"; readonly nodes: readonly RedisNode[]; readonly master: string }
    | { readonly kind: "cluster"; readonly nodes: readonly RedisNode[] }
  );

export type ParsedRedisAddress =
  | { readonly outcome: "parsed"; readonly address: RedisAddress }
  /** What is wrong, and what was expected. */
  | { readonly outcome: "refused"; readonly message: string };

const SCHEME = /^redis(s?)(?:\+(sentinel|cluster))?:\/\//;
const SCHEMES = "redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://";
const MAX_CHARACTERS = 4096;
const MAX_NODES = 16;
const MAX_DATABASE = 65_535;
const MAX_USER = 128;
const MAX_PASSWORD = 512;
const PORT = 6379;
const SENTINEL_PORT = 26_379;

/** Visible ASCII: everything else is written as `%XX`. */
const VISIBLE = /^[!-~]*$/;
/** What may stand in a user or a password as it is (RFC 3986, userinfo). */
const USER_INFO = /^(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*$/;
const HOST = /^[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$/;
const MASTER = /^[A-Za-z0-9._-]{1,64}$/;
const CONTROLS = /\p{Cc}/u;

class Refused extends Error {}

const refuse = (message: string): never => {
  throw new Refused(message);
};

export function parseRedisAddress(text: string): ParsedRedisAddress {
  try {
    return { outcome: "parsed", address: read(text) };
  } catch (cause) {
    if (cause instanceof Refused) return { outcome: "refused", message: cause.message };
    throw cause;
  }
}

function read(text: string): RedisAddress {
  if (text.length > MAX_CHARACTERS) refuse(`expected an address of at most ${MAX_CHARACTERS} characters`);
  const [scheme, s, kind] = SCHEME.exec(text) ?? refuse(`expected an address that begins with ${SCHEMES}`);
  const rest = text.slice(scheme.length);
  if (!VISIBLE.test(rest)) refuse("expected visible ASCII characters only: write others as %XX");
  if (/[?#]/.test(rest))
    refuse("expected no ? and no #: write them as %3F and %23 in a password; options have variables");
  const parts = rest.split("@");
  if (parts.length > 2) refuse("expected one @ at most: write it as %40 in a user or a password");
  const [place = "", credentials = null] = parts.toReversed();
  const slash = place.indexOf("/");
  const hosts = slash === -1 ? place : place.slice(0, slash);
  const path = slash === -1 ? null : place.slice(slash + 1);
  const common = { isTls: s === "s", ...readCredentials(credentials) };
  if (kind === "sentinel") {
    if (path === null || !MASTER.test(path))
      return refuse("expected /NAME at the end: how Sentinel calls the master, such as /mymaster");
    return { ...common, kind, nodes: readNodes(hosts, SENTINEL_PORT), master: path };
  }
  if (kind === "cluster") {
    if (path !== null) refuse("expected nothing after the nodes of a Cluster: it has no databases");
    return { ...common, kind, nodes: readNodes(hosts, PORT) };
  }
  if (hosts.includes(",")) refuse("expected one server: several are redis+sentinel:// or redis+cluster://");
  return { ...common, kind: "single", node: readNode(hosts, PORT, ""), database: readDatabase(path) };
}

/** `user`, `user:password` or `:password`. The first colon divides them. */
function readCredentials(text: string | null): Pick<Common, "user" | "password"> {
  if (text === null) return { user: null, password: null };
  if (!USER_INFO.test(text)) refuse("expected a user and a password with / @ % and the like written as %XX");
  const colon = text.indexOf(":");
  const user = decode(colon === -1 ? text : text.slice(0, colon));
  const password = colon === -1 ? null : decode(text.slice(colon + 1));
  if (password === "" || (user === "" && password === null))
    refuse("expected a user, a user and a password, or : and a password before the @; found nothing there");
  if (user.length > MAX_USER) refuse(`expected a user of at most ${MAX_USER} characters`);
  if (/\s/.test(user)) refuse("expected a user without spaces");
  if (password !== null && password.length > MAX_PASSWORD)
    refuse(`expected a password of at most ${MAX_PASSWORD} characters`);
  const bytes = password === null ? null : new Secret<Uint8Array>(new TextEncoder().encode(password));
  return { user: user === "" ? null : user, password: bytes };
}

function decode(text: string): string {
  let decoded = "";
  try {
    decoded = decodeURIComponent(text);
  } catch {
    refuse("expected %XX to be the bytes of UTF-8 text");
  }
  if (CONTROLS.test(decoded)) refuse("expected a user and a password without control characters");
  return decoded;
}

function readNodes(text: string, usual: number): readonly RedisNode[] {
  const texts = text.split(",", MAX_NODES + 1);
  if (texts.length > MAX_NODES) refuse(`expected at most ${MAX_NODES} nodes`);
  const nodes = texts.map((each, i) => readNode(each, usual, `node ${i + 1}: `));
  const names = new Set(nodes.map(({ host, port }) => `${host} ${port}`));
  if (names.size < nodes.length) refuse("expected each node once");
  return nodes;
}

function readNode(text: string, usual: number, which: string): RedisNode {
  const [, inBrackets, name, digits] =
    /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^[\]:]*))(?::([0-9]*))?$/.exec(text) ??
    refuse(`${which}expected host:port, with an IPv6 address in brackets`);
  const host = (inBrackets ?? name ?? "").toLowerCase();
  if (inBrackets === undefined ? !isHost(host) : isIP(host) !== 6)
    refuse(`${which}expected a host name, an IPv4 address, or an IPv6 address in brackets`);
  const port = digits === undefined ? usual : Number(digits);
  if (digits !== undefined && (!/^[1-9][0-9]{0,4}$/.test(digits) || port > 65_535))
    refuse(`${which}expected a port from 1 to 65535`);
  return { host, port };
}

/** What ends in a number is read as an IPv4 address by some, so it has to be one as everybody reads it. */
function isHost(host: string): boolean {
  if (host.length > 253 || !HOST.test(host)) return false;
  return /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$/.test(host) ? isIP(host) === 4 : true;
}

function readDatabase(path: string | null): number {
  if (path === null || path === "") return 0;
  if (!/^(?:0|[1-9][0-9]{0,4})$/.test(path) || Number(path) > MAX_DATABASE)
    refuse(`expected a database from 0 to ${MAX_DATABASE} after the /, or nothing`);
  return Number(path);
}

export const nodesOf = (address: RedisAddress): readonly RedisNode[] =>
  address.kind === "single" ? [address.node] : address.nodes;

/** For logs, and whoever asks where the store is: without the password. */
export function formatRedisAddress(address: RedisAddress): string {
  const user = address.user === null ? "" : `${encodeURIComponent(address.user)}@`;
  const nodes = nodesOf(address).map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`);
  const scheme = `redis${address.isTls ? "s" : ""}${address.kind === "single" ? "" : `+${address.kind}`}://`;
  return scheme + user + nodes.join(",") + pathOf(address);
}

function pathOf(address: RedisAddress): string {
  switch (address.kind) {
    case "single":
      return address.database === 0 ? "" : `/${address.database}`;
    case "sentinel":
      return `/${address.master}`;
    case "cluster":
      return "";
  }
}

/** Whatever is sent there, a password too, can be read on its way: some node is another machine, and there is no TLS. */
export function isPlainRemote(address: RedisAddress): boolean {
  return !address.isTls && nodesOf(address).some(({ host }) => !isLoopback(host));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
