// Which addresses the broker connects to: public ones, and the private ones that an upstream's definition names. There
// is no switch that turns this off. Never decides by a name or by how an address is written.

import { BlockList, isIP, SocketAddress } from "node:net";
import { parseCidr } from "./cidr.ts";

/** IANA's special-purpose registry (RFC 6890), and what a cloud keeps at a public address. */
const SPECIAL_IPV4 = [
  ["0.0.0.0", 8], // this host
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // shared by carriers, a cloud's metadata
  ["127.0.0.0", 8], // loopback
  ["168.63.129.16", 32], // Azure's own agent and metadata
  ["169.254.0.0", 16], // link-local, metadata
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, broadcast
] as const;

/** Of IPv6 only global unicast is public: loopback, ULA, link- and site-local, multicast and the rest lie outside it. */
const PUBLIC_IPV6 = ["2000::", 3] as const;
const SPECIAL_IPV6 = [
  ["2001::", 23], // protocol assignments: Teredo, benchmarks, ORCHID
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4
  ["3fff::", 20], // documentation
] as const;
/** NAT64's well-known prefix (RFC 6052): judged by the IPv4 address inside. */
const NAT64 = "64:ff9b::";

export interface AddressCheck {
  /** An address as the operating system writes it; anything else is refused. */
  isAllowed(address: string): boolean;
}

const specialIpv4 = new BlockList();
const publicIpv6 = new BlockList();
const specialIpv6 = new BlockList();
publicIpv6.addSubnet(...PUBLIC_IPV6, "ipv6");
publicIpv6.addSubnet(NAT64, 96, "ipv6");
for (const [address, prefix] of SPECIAL_IPV6) specialIpv6.addSubnet(address, prefix, "ipv6");
for (const [address, prefix] of SPECIAL_IPV4) {
  specialIpv4.addSubnet(address, prefix, "ipv4");
  specialIpv6.addSubnet(NAT64 + address, 96 + prefix, "ipv6");
}

/** `allowed`: CIDR blocks. Throws where one is none: an upstream with a bad list is not opened. */
export function createAddressCheck(allowed: readonly string[]): AddressCheck {
  // A list for each family: in one list an IPv6 block like `::/8` would also match every IPv4 address.
  const named = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const block of allowed) {
    const cidr = parseCidr(block);
    if (cidr === null) throw new Error(`expected a CIDR block like 10.1.0.0/16, found ${JSON.stringify(block)}`);
    const { address, prefix, family } = cidr;
    named[family].addSubnet(address, prefix, family);
  }
  return {
    isAllowed: (text) => {
      const address = normalise(text);
      if (address === null) return false;
      if (isIP(address) === 4) return named.ipv4.check(address) || !specialIpv4.check(address);
      if (named.ipv6.check(address, "ipv6")) return true;
      return publicIpv6.check(address, "ipv6") && !specialIpv6.check(address, "ipv6");
    },
  };
}

/** One spelling of an address, an IPv4 address mapped into IPv6 as the IPv4 address that it is; or null. */
function normalise(text: string): string | null {
  const version = isIP(text);
  if (version !== 6) return version === 4 ? text : null;
  const { address } = new SocketAddress({ address: text, family: "ipv6" });
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1] ?? address;
}
