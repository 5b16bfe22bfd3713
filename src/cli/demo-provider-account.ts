// What an account at the stand-in of a hosting provider holds, and what each operation of its GraphQL API does to it.
// Names and arguments are those of the provider's public schema; only a part of it is here. It checks no scopes: as
// with the real one, whoever has the root key may do everything, and what is deleted is gone, backups included.

import { buildSchema } from "graphql";
import { PROVIDER_SCHEMA } from "./demo-provider-schema.ts";

const uuid = (group: number, n: number) => `${group}0000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

/** What the account holds at first. The volume `shared` has an instance in each environment. */
export const PROVIDER = {
  workspace: uuid(1, 1),
  project: uuid(2, 1),
  environments: { staging: uuid(3, 1), production: uuid(3, 2) },
  services: { web: uuid(4, 1), database: uuid(4, 2) },
  volumes: { staging: uuid(5, 1), production: uuid(5, 2), shared: uuid(5, 3) },
} as const;

export interface VolumeInstance {
  readonly __typename: "VolumeInstance";
  readonly id: string;
  readonly volumeId: string;
  readonly environmentId: string;
  readonly serviceId: string;
  readonly mountPath: string;
  readonly state: "READY";
  readonly backups: Set<string>;
}

export interface Volume {
  readonly __typename: "Volume";
  readonly id: string;
  readonly name: string;
  readonly projectId: string;
  readonly instances: readonly VolumeInstance[];
}

interface Domain {
  readonly id: string;
  readonly domain: string;
  readonly environmentId: string;
  readonly serviceId: string;
}

/** Real maps, changed by the operations. */
export interface ProviderAccount {
  readonly projects: Map<string, string>;
  readonly environments: Map<string, string>;
  readonly services: Map<string, string>;
  readonly volumes: Map<string, Volume>;
  readonly domains: Map<string, Domain>;
  /** By environment. */
  readonly variables: Map<string, Map<string, string>>;
  /** Names under which further keys were made. */
  readonly minted: string[];
}

export function openAccount() {
  const { environments, services } = PROVIDER;
  const both = [environments.staging, environments.production];
  let made = 0;
  const makeId = () => uuid(9, ++made);

  function makeVolume(id: string, name: string, environmentIds: readonly string[], serviceId: string): Volume {
    const instances = environmentIds.map((environmentId): VolumeInstance => ({
      __typename: "VolumeInstance",
      id: makeId(),
      volumeId: id,
      environmentId,
      serviceId,
      mountPath: "/data",
      state: "READY",
      backups: new Set([makeId()]),
    }));
    return { __typename: "Volume", id, name, projectId: PROVIDER.project, instances };
  }

  const { staging, production, shared } = PROVIDER.volumes;
  const volumes = [
    makeVolume(staging, "database-staging", [environments.staging], services.database),
    makeVolume(production, "database-production", [environments.production], services.database),
    makeVolume(shared, "uploads", both, services.web),
  ];
  const account: ProviderAccount = {
    projects: new Map([[PROVIDER.project, "shop"]]),
    environments: new Map(Object.entries(environments).map(([name, id]) => [id, name])),
    services: new Map(Object.entries(services).map(([name, id]) => [id, name])),
    volumes: new Map(volumes.map((volume) => [volume.id, volume])),
    domains: new Map(),
    variables: new Map(both.map((id) => [id, new Map([["DATABASE_URL", `postgres://${id}.internal`]])])),
    minted: [],
  };
  return { account, schema: buildSchema(PROVIDER_SCHEMA), root: createRoot(account, makeId, makeVolume) };
}

interface Page {
  readonly first?: number | null;
  readonly after?: string | null;
}

function createRoot(
  account: ProviderAccount,
  makeId: () => string,
  makeVolume: (id: string, name: string, environmentIds: readonly string[], serviceId: string) => Volume,
) {
  const { projects, environments, services, volumes, domains, variables, minted } = account;
  const staged = new Map<string, unknown>();
  const instances = () => [...volumes.values()].flatMap((volume) => volume.instances);

  function paged<Item extends { readonly id: string }>(items: readonly Item[], { first, after }: Page) {
    const start = items.findIndex(({ id }) => id === after) + 1;
    const page = items.slice(start, start + (first ?? items.length));
    const pageInfo = { hasNextPage: start + page.length < items.length, endCursor: page.at(-1)?.id ?? null };
    return { edges: page.map((node) => ({ node })), pageInfo };
  }

  function project(id: string) {
    if (!projects.has(id)) return null;
    return {
      __typename: "Project",
      id,
      name: projects.get(id),
      environments: (page: Page) => paged([...environments.keys()].map(environment).filter(isThere), page),
      services: (page: Page) => paged([...services.keys()].map(service).filter(isThere), page),
      volumes: (page: Page) => paged([...volumes.values()].map(withLinks), page),
    };
  }
  function environment(id: string) {
    const name = environments.get(id);
    return name === undefined ? null : { __typename: "Environment", id, name, projectId: PROVIDER.project };
  }
  function service(id: string) {
    const name = services.get(id);
    if (name === undefined) return null;
    const own = [...environments.keys()].map((environmentId) => {
      return { __typename: "ServiceInstance", id: `${id}-${environmentId}`, serviceId: id, environmentId };
    });
    const serviceInstances = (page: Page) => paged(own, page);
    return { __typename: "Service", id, name, projectId: PROVIDER.project, serviceInstances };
  }
  function withLinks(volume: Volume) {
    const volumeInstances = (page: Page) => paged(volume.instances.map(withVolume), page);
    return { ...volume, project: () => project(volume.projectId), volumeInstances };
  }
  function withVolume(instance: VolumeInstance) {
    return { ...instance, volume: () => withLinks(findVolume(instance.volumeId)) };
  }
  function findVolume(id: string): Volume {
    return found(volumes.get(id), "Volume");
  }
  function findInstance(id: string): VolumeInstance {
    return found(
      instances().find((one) => one.id === id),
      "VolumeInstance",
    );
  }
  function node({ id }: { readonly id: string }) {
    const volume = volumes.get(id);
    const instance = instances().find((one) => one.id === id);
    if (volume !== undefined) return withLinks(volume);
    return instance === undefined ? (project(id) ?? environment(id) ?? service(id)) : withVolume(instance);
  }

  function remove<Item>(from: Map<string, Item>, id: string, what: string): true {
    if (!from.delete(id)) throw new Error(`${what} not found`);
    return true;
  }
  function removeEnvironment(id: string): true {
    remove(environments, id, "Environment");
    variables.delete(id);
    for (const volume of volumes.values()) {
      const left = volume.instances.filter(({ environmentId }) => environmentId !== id);
      if (left.length === 0) volumes.delete(volume.id);
      else volumes.set(volume.id, { ...volume, instances: left });
    }
    return true;
  }
  function removeAll(): true {
    for (const map of [projects, environments, services, volumes, domains, variables]) map.clear();
    return true;
  }
  /** `isDeleted` on a service or a volume deletes it: the way to delete that has no such word in its name. */
  function commit(patch: unknown): string {
    const kinds = { services, volumes } as const;
    for (const [kind, map] of Object.entries(kinds)) {
      for (const [id, change] of entriesOf(member(patch, kind))) {
        if (member(change, "isDeleted") === true) map.delete(id);
      }
    }
    return makeId();
  }
  function mint({ input }: { readonly input: { readonly name?: string } }): string {
    minted.push(input.name ?? "shell");
    return `stand-in-key-${minted.length}`;
  }

  type ById = { readonly id: string };
  type Variable = { readonly input: { readonly environmentId: string; readonly name: string; readonly value: string } };
  type Backup = { readonly volumeInstanceId: string; readonly volumeInstanceBackupId: string };
  const variablesOf = (id: string) => found(variables.get(id), "Environment");
  return {
    node,
    project: ({ id }: ById) => found(project(id), "Project"),
    environment: ({ id }: ById) => found(environment(id), "Environment"),
    service: ({ id }: ById) => found(service(id), "Service"),
    volumeInstance: ({ id }: ById) => withVolume(findInstance(id)),
    customDomain: ({ id }: ById) => found(domains.get(id), "CustomDomain"),
    variables: ({ environmentId }: { readonly environmentId: string }) =>
      Object.fromEntries(variablesOf(environmentId)),
    customDomainCreate({ input }: { readonly input: Omit<Domain, "id"> }) {
      found(environment(input.environmentId) && service(input.serviceId), "ServiceInstance");
      const { domain, environmentId, serviceId } = input;
      const created = { id: makeId(), domain, environmentId, serviceId };
      domains.set(created.id, created);
      return created;
    },
    customDomainDelete: ({ id }: ById) => remove(domains, id, "CustomDomain"),
    /** Without an environment in all of them, as the provider documents. */
    volumeCreate({ input }: { readonly input: { readonly environmentId?: string; readonly serviceId?: string } }) {
      const ids = input.environmentId === undefined ? [...environments.keys()] : [input.environmentId];
      const volume = makeVolume(makeId(), "volume", ids, input.serviceId ?? PROVIDER.services.web);
      volumes.set(volume.id, volume);
      return withLinks(volume);
    },
    volumeDelete: ({ volumeId }: { readonly volumeId: string }) => remove(volumes, volumeId, "Volume"),
    volumeInstanceBackupCreate({ volumeInstanceId }: Backup) {
      const workflowId = makeId();
      findInstance(volumeInstanceId).backups.add(workflowId);
      return { workflowId };
    },
    volumeInstanceBackupDelete({ volumeInstanceId, volumeInstanceBackupId }: Backup) {
      if (!findInstance(volumeInstanceId).backups.delete(volumeInstanceBackupId)) throw new Error("Backup not found");
      return { workflowId: makeId() };
    },
    volumeInstanceBackupRestore({ volumeInstanceId }: Backup) {
      findInstance(volumeInstanceId);
      return { workflowId: makeId() };
    },
    serviceDelete: ({ id }: ById) => remove(services, id, "Service"),
    environmentDelete: ({ id }: ById) => removeEnvironment(id),
    projectDelete: ({ id }: ById) => projects.has(id) && removeAll(),
    /** Only schedules: nothing is gone before its time. */
    projectScheduleDelete: ({ id }: ById) => projects.has(id),
    projectScheduleDeleteForce: ({ id }: ById) => projects.has(id) && removeAll(),
    workspaceDelete: ({ id }: ById) => id === PROVIDER.workspace && removeAll(),
    variableUpsert({ input: { environmentId, name, value } }: Variable) {
      variablesOf(environmentId).set(name, value);
      return true;
    },
    variableDelete: ({ input: { environmentId, name } }: Variable) =>
      remove(variablesOf(environmentId), name, "Variable"),
    environmentPatchCommit: ({ patch }: { readonly patch?: unknown }) => commit(patch),
    environmentPatchCommitStaged: ({ environmentId }: { readonly environmentId: string }) =>
      commit(staged.get(environmentId)),
    environmentStageChanges({ environmentId, input }: { readonly environmentId: string; readonly input: unknown }) {
      staged.set(environmentId, input);
      return { id: makeId() };
    },
    apiTokenCreate: mint,
    projectTokenCreate: mint,
    generateShellToken: mint,
  };
}

function isThere<Item>(item: Item | null): item is Item {
  return item !== null;
}

function found<Item>(item: Item | null | undefined, what: string): Item {
  if (item === null || item === undefined) throw new Error(`${what} not found`);
  return item;
}

function entriesOf(value: unknown): readonly [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function member(value: unknown, name: string): unknown {
  return entriesOf(value).find(([key]) => key === name)?.[1];
}
