// A name's look-up that answers allowed addresses alone, for whatever opens a socket to an upstream. It does not see an
// address that stands in place of a name, nor the one that was connected to: who opens the socket checks both.

import { isIP, type LookupFunction } from "node:net";
import type { AddressCheck } from "./addresses.ts";
import { BrokerError } from "./errors.ts";

/** One refused address among several refuses the name: which of them is connected to would be a race. */
export function checkLookup(name: string, check: AddressCheck, lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found, family) => {
      const answers = Array.isArray(found) ? found : [{ address: found, family: family ?? isIP(found) }];
      const [first] = answers;
      if (error !== null || first === undefined) {
        callback(error ?? new BrokerError("upstream_failed", `upstream ${name}: its name has no address`), "");
      } else if (answers.some(({ address }) => !check.isAllowed(address))) {
        callback(refusedAddress(name), "");
      } else if (options.all === true) {
        callback(null, answers);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}

export function refusedAddress(name: string): BrokerError {
  return new BrokerError(
    "upstream_failed",
    `upstream ${name}: its origin leads to a private or special address, which is not connected to: ` +
      "if that is meant, name the address under `addresses` where scopes/ names the origin",
  );
}
