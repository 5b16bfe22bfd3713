// The part of a hosting provider's GraphQL schema that its stand-in serves, for the demo and tests. Names, arguments and
// types are those of the provider's public schema; operations that are not here are unknown to the stand-in.

export const PROVIDER_SCHEMA = `
  scalar EnvironmentConfig
  scalar EnvironmentVariables
  interface Node { id: ID! }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type Project implements Node {
    id: ID! name: String!
    environments(first: Int, after: String): Environments!
    services(first: Int, after: String): Services!
    volumes(first: Int, after: String): Volumes!
  }
  type Environment implements Node { id: ID! name: String! projectId: String! }
  type Service implements Node {
    id: ID! name: String! projectId: String!
    serviceInstances(first: Int, after: String): ServiceInstances!
  }
  type ServiceInstance implements Node { id: ID! serviceId: String! environmentId: String! }
  type Volume implements Node {
    id: ID! name: String! projectId: String! project: Project!
    volumeInstances(first: Int, after: String): VolumeInstances!
  }
  type VolumeInstance implements Node {
    id: ID! volumeId: String! environmentId: String! serviceId: String mountPath: String! state: String
    volume: Volume!
  }
  type CustomDomain { id: ID! domain: String! environmentId: String! serviceId: String! }
  ${["Environment", "Service", "ServiceInstance", "Volume", "VolumeInstance"]
    .map((name) => `type ${name}s { edges: [${name}Edge!]! pageInfo: PageInfo! } type ${name}Edge { node: ${name}! }`)
    .join("\n  ")}
  type WorkflowId { workflowId: String }
  type EnvironmentPatch { id: ID! }
  type Query {
    node(id: ID!): Node
    project(id: String!): Project!
    environment(id: String!): Environment!
    service(id: String!): Service!
    volumeInstance(id: String!): VolumeInstance!
    customDomain(id: String!, projectId: String!): CustomDomain!
    variables(environmentId: String!, projectId: String!, serviceId: String): EnvironmentVariables!
  }
  input CustomDomainCreateInput {
    domain: String! environmentId: String! projectId: String! serviceId: String! targetPort: Int
  }
  input VolumeCreateInput { projectId: String! environmentId: String serviceId: String mountPath: String! }
  input VariableUpsertInput { projectId: String! environmentId: String! serviceId: String name: String! value: String! }
  input VariableDeleteInput { projectId: String! environmentId: String! serviceId: String name: String! }
  input ApiTokenCreateInput { name: String! workspaceId: String }
  input ProjectTokenCreateInput { name: String! projectId: String! environmentId: String! }
  input ShellTokenInput {
    environmentId: String! instanceId: String! scope: String! kind: String port: Int serviceId: String
  }
  type Mutation {
    customDomainCreate(input: CustomDomainCreateInput!): CustomDomain!
    customDomainDelete(id: String!): Boolean!
    volumeCreate(input: VolumeCreateInput!): Volume!
    volumeDelete(volumeId: String!): Boolean!
    volumeInstanceBackupCreate(volumeInstanceId: String!, name: String): WorkflowId!
    volumeInstanceBackupDelete(volumeInstanceId: String!, volumeInstanceBackupId: String!): WorkflowId!
    volumeInstanceBackupRestore(volumeInstanceId: String!, volumeInstanceBackupId: String!): WorkflowId!
    serviceDelete(id: String!, environmentId: String): Boolean!
    environmentDelete(id: String!): Boolean!
    projectDelete(id: String!): Boolean!
    projectScheduleDelete(id: String!): Boolean!
    projectScheduleDeleteForce(id: String!): Boolean!
    workspaceDelete(id: String!): Boolean!
    variableUpsert(input: VariableUpsertInput!): Boolean!
    variableDelete(input: VariableDeleteInput!): Boolean!
    environmentPatchCommit(environmentId: String!, patch: EnvironmentConfig, commitMessage: String): String
    environmentPatchCommitStaged(environmentId: String!, commitMessage: String, skipDeploys: Boolean): String!
    environmentStageChanges(environmentId: String!, input: EnvironmentConfig!, merge: Boolean): EnvironmentPatch!
    apiTokenCreate(input: ApiTokenCreateInput!): String!
    projectTokenCreate(input: ProjectTokenCreateInput!): String!
    generateShellToken(input: ShellTokenInput!): String!
  }
`;
