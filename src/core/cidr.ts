// One block of IP addresses in CIDR notation, read strictly: what an operator writes opens exactly what they see.
// Never repairs: an address with host bits set, or a block so wide that it would open everything, is no block.

import { isIP } from "node:net";

/** `10.0.0.0/8` is the widest block that anyone has for private use; a wider one would be a switch. */
const MIN_PREFIX = 8;

export interface Cidr {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** `10.1.0.0/16`, `fd00:1::/48`, `127.0.0.1/32`. Null for anything else. */
export function parseCidr(text: string): Cidr | null {
  const [, address, digits] = /^([0-9A-Fa-f.:]{2,45})\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  if (address === undefined || digits === undefined) return null;
  const version = isIP(address);
  if (version === 0) return null;
  const bits = version === 4 ? bitsOfIpv4(address) : bitsOfIpv6(address);
  const prefix = Number(digits);
  // `10.0.0.7/8` reads like one host and would open sixteen million.
  if (prefix < MIN_PREFIX || prefix > bits.length || bits.includes("1", prefix)) return null;
  return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}

export function isCidr(text: string): boolean {
  return parseCidr(text) !== null;
}

function bitsOfIpv4(address: string): string {
  return address
    .split(".")
    .map((octet) => Number(octet).toString(2).padStart(8, "0"))
    .join("");
}

function bitsOfIpv6(address: string): string {
  // A URL writes an address as groups of hexadecimal digits with one `::` at most.
  const [head = "", tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (half: string): string[] => (half === "" ? [] : half.split(":"));
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0"))
    .join("");
}
