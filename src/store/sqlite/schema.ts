// The tables, as a list of steps: entry n brings a file from `user_version` n to n + 1.
// A step that has shipped is never edited; the next change is the next step.

/** "Vkey" in ASCII: tells our files from other programs' SQLite files. */
export const APPLICATION_ID = 0x566b6579;

const FIRST = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
  seq INTEGER PRIMARY KEY,
  leaf TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER record_keeps_entries BEFORE DELETE ON record
  BEGIN SELECT RAISE(ABORT, 'entries of the record are never removed'); END;
CREATE TRIGGER record_keeps_bytes BEFORE UPDATE ON record
  BEGIN SELECT RAISE(ABORT, 'entries of the record are never changed'); END;

-- By time, so that what is alive lies together: the same proof always has the same end.
CREATE TABLE proofs (
  forget_at INTEGER NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (forget_at, key)
) STRICT, WITHOUT ROWID;

-- Ids sort by the instant of issue, so the primary key is the order of time and no index on it is needed.
CREATE TABLE grants (
  id TEXT PRIMARY KEY,
  agent TEXT NOT NULL,
  owner TEXT,
  task TEXT NOT NULL,
  role TEXT NOT NULL,
  upstream TEXT NOT NULL,
  permissions TEXT NOT NULL,
  environments TEXT NOT NULL,
  crossing_from TEXT,
  parents TEXT NOT NULL,
  policy_digest TEXT NOT NULL,
  ttl_seconds INTEGER NOT NULL,
  credential_ttl_seconds INTEGER NOT NULL,
  ends_at INTEGER NOT NULL,
  ended_at INTEGER,
  ended_by TEXT,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_agent ON grants (agent, id);
CREATE INDEX grants_by_task ON grants (task, id);

-- The last minute's; n is there to tell uses of one instant apart.
CREATE TABLE uses (
  instant INTEGER NOT NULL,
  n INTEGER NOT NULL,
  agent TEXT NOT NULL,
  role TEXT NOT NULL,
  PRIMARY KEY (instant, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE cutoffs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  target TEXT NOT NULL,
  before INTEGER NOT NULL,
  reason TEXT NOT NULL,
  created_by TEXT NOT NULL,
  kept_until INTEGER NOT NULL,
  closed INTEGER NOT NULL
) STRICT;

CREATE TABLE frozen (
  agent TEXT PRIMARY KEY,
  revocation TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  state TEXT NOT NULL,
  public_jwk TEXT NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  state_at INTEGER NOT NULL,
  retired_number INTEGER
) STRICT, WITHOUT ROWID;
`;

/**
 * A cut-off that is over leaves memory and feed, and stays as history as long as a grant that it ended is listed.
 * `name`: what it is found by, as `nameOf` has it. `version`: of the table, when the row last changed.
 * `forget_after`: null while it keeps a task closed, and once it is forgotten.
 */
const SECOND = `
ALTER TABLE cutoffs ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE cutoffs ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cutoffs ADD COLUMN forget_after INTEGER;
ALTER TABLE cutoffs ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
UPDATE cutoffs SET
  name = coalesce(
    'grant ' || (target ->> '$.grant'), 'task ' || (target ->> '$.task'), 'agent ' || (target ->> '$.agent'),
    'role ' || (target ->> '$.role'), 'upstream ' || (target ->> '$.upstream'),
    'environment ' || (target ->> '$.environment'), ''),
  forget_after = CASE WHEN closed = 1 AND (target ->> '$.grant') IS NULL THEN NULL ELSE kept_until END;
CREATE INDEX cutoffs_by_version ON cutoffs (version);
CREATE INDEX cutoffs_in_force ON cutoffs (number) WHERE forgotten = 0;
CREATE INDEX cutoffs_to_forget ON cutoffs (forget_after) WHERE forget_after IS NOT NULL;
CREATE INDEX cutoffs_past ON cutoffs (name, before, number) WHERE forgotten = 1;
CREATE INDEX cutoffs_past_end ON cutoffs (kept_until) WHERE forgotten = 1;

-- Proofs that were used after their own end, because the clock had gone back: known by their key alone.
CREATE TABLE late_proofs (
  key TEXT PRIMARY KEY,
  forget_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX late_proofs_by_end ON late_proofs (forget_at);
`;

/** What the gateway needs: root credentials at rest, decoys, calls whose end is not known, and how often a grant was used. */
const THIRD = `
ALTER TABLE grants ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;

-- Begun and not ended; what is known of one is the entry of the record that began it.
CREATE TABLE open_calls (
  call TEXT PRIMARY KEY,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  origins TEXT NOT NULL,
  sealed_key BLOB NOT NULL,
  sealed_value BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL
) STRICT;
-- Outlives the secret: a version is never given twice.
CREATE TABLE secret_versions (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE canaries (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  note TEXT,
  hash BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`;

/**
 * What waits. A held grant has `ends_at` 0 until it becomes active, so that whatever asks for live grants passes over it.
 * `grants_activated`: those that became active long after their id's instant, which live scans would otherwise miss.
 * By their end, so that those that wait, which have none, cost nothing.
 */
const FOURTH = `
ALTER TABLE grants ADD COLUMN reason TEXT;
ALTER TABLE grants ADD COLUMN demands TEXT NOT NULL DEFAULT '[]';
ALTER TABLE grants ADD COLUMN hold TEXT;
CREATE INDEX grants_activated ON grants (ends_at) WHERE hold IS NOT NULL;

-- fingerprint: unique among live ones. draft: what it was made as. What is long stands last, so that looking a row over
-- does not read it.
CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  agent TEXT NOT NULL,
  task TEXT NOT NULL,
  upstream TEXT NOT NULL,
  grant_id TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  state TEXT NOT NULL,
  state_at INTEGER NOT NULL,
  ended_by TEXT,
  why TEXT,
  wake_at INTEGER NOT NULL,
  lease_token TEXT,
  lease_until INTEGER,
  readable INTEGER NOT NULL,
  version INTEGER NOT NULL,
  outcome TEXT,
  draft TEXT NOT NULL,
  sealed_request BLOB,
  sealed_outcome BLOB
) STRICT;
CREATE UNIQUE INDEX holds_same ON holds (fingerprint) WHERE state IN ('waiting', 'firing');
CREATE INDEX holds_live ON holds (agent, id) WHERE state IN ('waiting', 'firing');
CREATE INDEX holds_live_by_id ON holds (id) WHERE state IN ('waiting', 'firing');
CREATE INDEX holds_due ON holds (wake_at) WHERE state = 'waiting';
CREATE INDEX holds_firing ON holds (lease_until) WHERE state = 'firing';
CREATE INDEX holds_by_agent ON holds (agent, id);
CREATE INDEX holds_ended ON holds (state_at) WHERE state NOT IN ('waiting', 'firing');

CREATE TABLE hold_approvals (
  hold TEXT NOT NULL,
  person TEXT NOT NULL,
  instant INTEGER NOT NULL,
  approval TEXT NOT NULL,
  PRIMARY KEY (hold, person)
) STRICT, WITHOUT ROWID;

-- Live holds that demand a backup of the resource.
CREATE TABLE hold_resources (
  resource TEXT NOT NULL,
  hold TEXT NOT NULL,
  PRIMARY KEY (resource, hold)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_resources_by_hold ON hold_resources (hold);

CREATE TABLE attestations (
  id TEXT PRIMARY KEY,
  resource TEXT NOT NULL,
  agent TEXT NOT NULL,
  owner TEXT NOT NULL,
  location TEXT NOT NULL,
  taken_at INTEGER NOT NULL,
  restore_tested_at INTEGER,
  bytes INTEGER,
  sha256 TEXT,
  key TEXT NOT NULL,
  statement TEXT NOT NULL,
  UNIQUE (resource, statement)
) STRICT, WITHOUT ROWID;
CREATE INDEX attestations_newest ON attestations (resource, taken_at);
CREATE INDEX attestations_by_age ON attestations (taken_at);

CREATE TABLE webhook_cursors (
  name TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

/** Credentials that other systems accept: what ending each takes, as JSON. Never a secret. */
const FIFTH = `
CREATE TABLE credentials (
  grant_id TEXT PRIMARY KEY,
  due_at INTEGER NOT NULL,
  row TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_due ON credentials (due_at, grant_id);
`;

export const MIGRATIONS: readonly string[] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];
