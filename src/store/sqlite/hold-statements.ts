// The SQL of holds, attestations, credentials at other systems and webhook cursors. Apart from `transaction.ts`, which
// joins it, only for its length.

/** All but the sealed bytes, which are megabytes and asked for by themselves. */
export const HOLD_COLUMNS =
  "id, agent, task, upstream, state, state_at, ended_by, why, wake_at, lease_token, lease_until, readable, version, outcome, draft";

export const HOLD_STATEMENTS = {
  addHold:
    "INSERT INTO holds (id, agent, task, upstream, grant_id, fingerprint, draft, state, state_at, wake_at, readable, version," +
    " sealed_request) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?, 0, 1, ?)",
  findHold: `SELECT ${HOLD_COLUMNS} FROM holds WHERE id = ?`,
  findSameHold: `SELECT ${HOLD_COLUMNS} FROM holds WHERE fingerprint = ? AND state IN ('waiting', 'firing')`,
  // One that a cut-off covers is over, though nobody has written it down yet: another may be asked for.
  nameHoldApart: "UPDATE holds SET fingerprint = id WHERE id = ?",
  countLiveHolds: "SELECT count(*) AS n FROM holds WHERE agent = ? AND state IN ('waiting', 'firing')",
  moveHold:
    "UPDATE holds SET state = ?, state_at = ?, ended_by = ?, why = ?, wake_at = ?, lease_token = ?, lease_until = ?," +
    " version = version + 1 WHERE id = ?",
  wakeHold: "UPDATE holds SET wake_at = coalesce(?, wake_at), version = version + ? WHERE id = ?",
  settleHold: "UPDATE holds SET outcome = ?, readable = ?, sealed_outcome = ? WHERE id = ?",
  findOutcome: "SELECT sealed_outcome FROM holds WHERE id = ?",
  takeOutcome: "UPDATE holds SET readable = 0, sealed_outcome = NULL, version = version + 1 WHERE id = ?",
  approvalsOf: "SELECT instant, approval FROM hold_approvals WHERE hold = ? ORDER BY instant, person",
  findApproval: "SELECT 1 FROM hold_approvals WHERE hold = ? AND person = ?",
  addApproval: "INSERT INTO hold_approvals (hold, person, instant, approval) VALUES (?, ?, ?, ?)",
  addHoldResource: "INSERT INTO hold_resources (resource, hold) VALUES (?, ?)",
  dropHoldResources: "DELETE FROM hold_resources WHERE hold = ?",
  // With a version of its own: who looked before it came must not put off the next look.
  wakeHoldsOf:
    "UPDATE holds SET wake_at = min(wake_at, ?1), version = version + 1 WHERE state = 'waiting' AND id IN (SELECT hold FROM hold_resources WHERE resource = ?2)",
  activateGrant: "UPDATE grants SET ends_at = ?, version = version + 1 WHERE id = ?",
  oldHolds: "SELECT id FROM holds WHERE state NOT IN ('waiting', 'firing') AND state_at < ? ORDER BY state_at LIMIT ?",
  deleteHold: "DELETE FROM holds WHERE id = ?",
  deleteApprovals: "DELETE FROM hold_approvals WHERE hold = ?",

  findStatement: "SELECT * FROM attestations WHERE resource = ? AND statement = ?",
  addAttestation:
    "INSERT INTO attestations (id, resource, agent, owner, location, taken_at, restore_tested_at, bytes, sha256, key, statement)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  pruneAttestations:
    "DELETE FROM attestations WHERE id IN (SELECT id FROM attestations WHERE taken_at < ? ORDER BY taken_at LIMIT ?)",

  findCredential: "SELECT row FROM credentials WHERE grant_id = ?",
  putCredential:
    "INSERT INTO credentials (grant_id, due_at, row) VALUES (?, ?, ?) ON CONFLICT (grant_id) DO UPDATE SET" +
    " due_at = excluded.due_at, row = excluded.row",
  dropCredential: "DELETE FROM credentials WHERE grant_id = ?",

  putCursor:
    "INSERT INTO webhook_cursors (name, seq, attempts, next_at) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET" +
    " seq = excluded.seq, attempts = excluded.attempts, next_at = excluded.next_at",
} as const;
