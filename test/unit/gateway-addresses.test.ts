// Which addresses the broker connects to, by name of each range; and what counts as a CIDR block.

import { describe, expect, it } from "vitest";
import { isCidr } from "../../src/core/cidr.ts";
import { createAddressCheck } from "../../src/core/addresses.ts";

const check = createAddressCheck([]);

describe("an address that no definition names", () => {
  it.each(["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.169.0.0"])(
    "lets the public IPv4 address %s pass",
    (address) => expect(check.isAllowed(address)).toBe(true),
  );

  it.each(["2606:4700::1111", "2a00:1450:4001:80b::200e", "2001:200::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])(
    "lets the public IPv6 address %s pass",
    (address) => expect(check.isAllowed(address)).toBe(true),
  );

  it.each([
    ["loopback", "127.0.0.1"],
    ["loopback", "127.255.255.254"],
    ["this host", "0.0.0.0"],
    ["this network", "0.1.2.3"],
    ["private", "10.0.0.1"],
    ["private", "172.16.0.1"],
    ["private", "172.31.255.255"],
    ["private", "192.168.1.1"],
    ["carrier-grade NAT", "100.64.0.1"],
    ["a cloud's metadata", "100.100.100.200"],
    ["metadata", "169.254.169.254"],
    ["link-local", "169.254.0.1"],
    ["Azure's wire server", "168.63.129.16"],
    ["protocol assignments", "192.0.0.192"],
    ["documentation", "192.0.2.1"],
    ["documentation", "198.51.100.1"],
    ["documentation", "203.0.113.1"],
    ["6to4 relay", "192.88.99.1"],
    ["benchmarks", "198.18.0.1"],
    ["benchmarks", "198.19.255.255"],
    ["multicast", "224.0.0.1"],
    ["reserved", "240.0.0.1"],
    ["broadcast", "255.255.255.255"],
    ["unspecified", "::"],
    ["loopback", "::1"],
    ["loopback", "0:0:0:0:0:0:0:1"],
    ["mapped loopback", "::ffff:127.0.0.1"],
    ["mapped loopback", "::ffff:7f00:1"],
    ["mapped loopback", "0:0:0:0:0:FFFF:7F00:0001"],
    ["mapped metadata", "::ffff:169.254.169.254"],
    ["IPv4-compatible", "::127.0.0.1"],
    ["IPv4-compatible, public", "::8.8.8.8"],
    ["translated", "::ffff:0:127.0.0.1"],
    ["NAT64 of private", "64:ff9b::10.0.0.1"],
    ["NAT64 of metadata", "64:ff9b::a9fe:a9fe"],
    ["local NAT64", "64:ff9b:1::808:808"],
    ["6to4 of loopback", "2002:7f00:1::"],
    ["Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    ["benchmarks", "2001:2::1"],
    ["documentation", "2001:db8::1"],
    ["documentation", "3fff::1"],
    ["ULA", "fc00::1"],
    ["metadata", "fd00:ec2::254"],
    ["link-local", "fe80::1"],
    ["link-local with a zone", "fe80::1%lo"],
    ["site-local", "fec0::1"],
    ["multicast", "ff02::1"],
    ["discard", "100::1"],
    ["segment routing", "5f00::1"],
  ])("refuses %s: %s", (_range, address) => expect(check.isAllowed(address)).toBe(false));

  it.each(["", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "1.1.1.1 ", "1.1.1.1\0", "localhost", "[::1]", "1.1.1"])(
    "refuses what is no address: %j",
    (address) => expect(check.isAllowed(address)).toBe(false),
  );
});

describe("an address that the definition names", () => {
  it("opens exactly the block, in whatever way the address is written", () => {
    const { isAllowed } = createAddressCheck(["127.0.0.1/32", "10.1.0.0/16", "fd00:1::/48"]);
    const opened = ["127.0.0.1", "::ffff:127.0.0.1", "10.1.255.255", "fd00:1::9", "FD00:0001:0:0::9", "1.1.1.1"];
    const closed = ["127.0.0.2", "::ffff:127.0.0.2", "10.2.0.0", "fd00:1:1::", "::1", "64:ff9b::127.0.0.1"];
    expect(opened.filter((address) => !isAllowed(address))).toEqual([]);
    expect(closed.filter((address) => isAllowed(address))).toEqual([]);
  });

  it("opens no IPv4 address by a block of IPv6", () => {
    const { isAllowed } = createAddressCheck(["::/8", "::ffff:0.0.0.0/96"]);
    expect(["127.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"].filter(isAllowed)).toEqual([]);
  });

  it("does not come up with a list that holds something else", () => {
    expect(() => createAddressCheck(["127.0.0.1"])).toThrow("expected a CIDR block");
  });
});

describe("a CIDR block", () => {
  it.each(["127.0.0.1/32", "10.0.0.0/8", "192.168.4.0/22", "::1/128", "fd00::/8", "fd00:1::/48", "FD00:1::/48"])(
    "is %s",
    (text) => expect(isCidr(text)).toBe(true),
  );

  it.each([
    ["without a prefix", "10.0.0.0"],
    ["with host bits", "10.0.0.7/8"],
    ["with host bits", "fd00::1/48"],
    ["so wide that it would be a switch", "0.0.0.0/0"],
    ["so wide that it would be a switch", "::/0"],
    ["with too long a prefix", "10.0.0.0/33"],
    ["with too long a prefix", "::1/129"],
    ["with leading zeros", "010.0.0.0/8"],
    ["with leading zeros", "10.0.0.0/08"],
    ["with a zone", "fe80::1%lo/128"],
    ["with spaces", " 10.0.0.0/8"],
    ["in brackets", "[::1]/128"],
    ["with a netmask", "10.0.0.0/255.0.0.0"],
    ["of a name", "localhost/32"],
    ["of nothing", "/8"],
  ])("is none %s: %s", (_why, text) => expect(isCidr(text)).toBe(false));
});
