// The roles that every team of the bench's policies has: readers, writers, one for each environment, one with approvals.

interface TeamRole {
  readonly name: string;
  readonly environments: readonly string[];
  readonly permissions: readonly {
    readonly type: string;
    readonly verbs: readonly string[];
    readonly approvals: boolean;
  }[];
}

export const TEAM_ROLES: readonly TeamRole[] = [
  {
    name: "reader",
    environments: ["staging", "production"],
    permissions: ["service", "volume", "database", "queue"].map((type) => ({
      type,
      verbs: ["read"],
      approvals: false,
    })),
  },
  {
    name: "deployer",
    environments: ["staging"],
    permissions: [
      { type: "service", verbs: ["read", "write"], approvals: false },
      { type: "queue", verbs: ["read", "write"], approvals: false },
    ],
  },
  {
    name: "storage-keeper",
    environments: ["staging"],
    permissions: [
      { type: "volume", verbs: ["read", "write"], approvals: false },
      { type: "volume", verbs: ["delete"], approvals: true },
    ],
  },
  {
    name: "database-keeper",
    environments: ["staging", "production"],
    permissions: [
      { type: "database", verbs: ["read", "write"], approvals: false },
      { type: "database", verbs: ["delete"], approvals: true },
    ],
  },
  {
    name: "releaser",
    environments: ["production"],
    permissions: [{ type: "service", verbs: ["read", "write"], approvals: false }],
  },
];
