// Upstreams that take credentials of their own, as policy has them: where they are, and what a permission stands for there.
// A part of `scope-set.ts`, apart for its length.

import type { ResourceTemplate } from "./resource-template.ts";
import type { SecretReference, Upstream, UpstreamBasics } from "./scope-set.ts";

export type ProviderUpstream = PostgresUpstream | AwsUpstream;

export function isProvider(upstream: Upstream | undefined): upstream is ProviderUpstream {
  return upstream?.type === "postgres" || upstream?.type === "aws";
}

/** One database of one PostgreSQL server: each grant gets a login role of its own there. */
export interface PostgresUpstream extends UpstreamBasics {
  readonly type: "postgres";
  readonly environment: string;
  /** `postgres://host:port`: the one place where the broker's own password goes. */
  readonly origin: string;
  readonly database: string;
  /** Both of them: `postgres://host:port/database`. */
  readonly address: string;
  /** The broker's own role, and its password. */
  readonly user: string;
  readonly secret: SecretReference;
  readonly tls: boolean;
  /** As of what stands behind the gateway. */
  readonly ca: string | null;
  readonly addresses: readonly string[];
  readonly session: { readonly connections: number; readonly statementTimeoutMs: number };
  /** What a permission stands for there, by `templateKey`; what is not in it stands for nothing. */
  readonly templates: ReadonlyMap<string, readonly TemplateRole[]>;
}

/** A role that the server's administrator made, of which logins become members. */
export interface TemplateRole {
  readonly role: string;
  /** Sessions begin as it, and what they create belongs to it. */
  readonly owns: boolean;
}

/** One role of an AWS account: each grant gets sessions of it, of its own name and with a policy of its own. */
export interface AwsUpstream extends UpstreamBasics {
  readonly type: "aws";
  readonly environment: string;
  readonly region: string;
  readonly role: AwsRole;
  /** Assumed on the way to it, in this order. */
  readonly through: readonly AwsRole[];
  /** A static key of the broker's, `ID:SECRET`; null: what its machine or workload is. */
  readonly secret: SecretReference | null;
  /** For which requests are signed with it. */
  readonly origin: string;
  /** Instead of AWS's own. */
  readonly endpoints: { readonly sts: string; readonly iam: string } | null;
  /** The role's ARN, and where it is. */
  readonly address: string;
  readonly maxSessionSeconds: number;
  /** A GET by which is seen whether a session is let in. */
  readonly probe: AwsProbe | null;
  readonly ca: string | null;
  readonly addresses: readonly string[];
  readonly mappings: readonly AwsMapping[];
}

export interface AwsRole {
  readonly arn: string;
  readonly externalId: string | null;
}

export interface AwsProbe {
  readonly url: string;
  /** The name that its requests are signed for. */
  readonly service: string;
  /** What it takes to be let in: an action, and on which ARN. */
  readonly allow: string;
  readonly on: string;
}

/** What a permission stands for: these actions on these ARNs, filled in from its resource. */
export interface AwsMapping {
  readonly action: string;
  readonly template: ResourceTemplate;
  readonly allow: readonly string[];
  readonly on: readonly string[];
}
