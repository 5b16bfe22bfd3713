// What stops a backup, a restore or a migration, with the next step. Never a value from what is copied.

export class BackupError extends Error {}
