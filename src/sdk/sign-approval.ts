// Makes a person's signature on a hold. It signs exactly the claims that it is given: whoever calls it has shown the
// request to the person and computed the digest from what was shown.

import { approvalInput, joinApproval } from "../core/approval.ts";
import type { ApprovalClaims } from "../core/hold-document.ts";
import type { Signer } from "./signer.ts";

/** A compact JWS. Throws ValetkeyError where the signer cannot sign. */
export async function signApproval(signer: Signer, claims: ApprovalClaims): Promise<string> {
  const { hold, digest, decision, at } = claims;
  const input = approvalInput(signer.alg, signer.kid, { hold, digest, decision, at });
  return joinApproval(input, await signer.sign(Buffer.from(input)));
}
