// Certificates for tests, made by the `openssl` command in a folder that goes away at once. Node itself makes none.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

const SIGNING = `
[ca]
default_ca=small
[small]
database=index
new_certs_dir=.
rand_serial=yes
default_md=sha256
default_days=2
copy_extensions=copy
policy=any
[any]
commonName=supplied
`;

/** For these names (`IP:127.0.0.1`, `DNS:example.test`), signed by its own key or by `issuer`. */
export function makeCertificate(
  names: readonly string[],
  options: { readonly issuer?: Certificate; readonly isExpired?: boolean } = {},
): Certificate {
  const folder = mkdtempSync(join(tmpdir(), "certificate-"));
  const openssl = (...args: readonly string[]): void => {
    execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  };
  const { issuer, isExpired = false } = options;
  const subject = ["-subj", "/CN=stand-in", "-addext", `subjectAltName=${names.join(",")}`];
  try {
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key");
    if (issuer === undefined) {
      openssl("req", "-x509", "-new", "-key", "key", ...subject, "-days", "2", "-out", "cert");
    } else {
      const files = { "ca.key": issuer.key, ca: issuer.cert, config: SIGNING, index: "" };
      for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
      openssl("req", "-new", "-key", "key", ...subject, "-out", "request");
      const dates = isExpired ? ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] : [];
      const signing = ["ca", "-batch", "-notext", "-config", "config", "-cert", "ca", "-keyfile", "ca.key", ...dates];
      openssl(...signing, "-in", "request", "-out", "cert");
    }
    return { key: readFileSync(join(folder, "key"), "utf8"), cert: readFileSync(join(folder, "cert"), "utf8") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
