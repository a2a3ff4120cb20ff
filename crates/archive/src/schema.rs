//! The tables, and how a file gets to the newest version of them. `docs/archive.md` describes the columns.

use rusqlite::{Connection, TransactionBehavior};

/// `application_id` in the header of every archive: "vmrk".
pub(crate) const APPLICATION_ID: i64 = 0x766d_726b;

/// Step `n` makes version `n + 1` out of version `n`; `user_version` in the file's header says which it has.
const MIGRATIONS: &[&str] = &["
    PRAGMA application_id = 0x766d726b;
    CREATE TABLE runs (
        id            TEXT NOT NULL PRIMARY KEY,
        scenario      TEXT NOT NULL,
        started_at    TEXT NOT NULL,
        finished_at   TEXT,
        status        TEXT NOT NULL CHECK (status IN ('complete', 'failed', 'interrupted', 'running')),
        configuration TEXT NOT NULL CHECK (json_valid(configuration)),
        environment   TEXT NOT NULL CHECK (json_valid(environment)),
        owner         TEXT CHECK (owner IS NULL OR json_valid(owner)),
        CHECK (status <> 'running' OR finished_at IS NULL)
    ) STRICT;
    CREATE INDEX runs_by_start ON runs (started_at DESC, id DESC);
    CREATE TABLE samples (
        run_id        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        seq           INTEGER NOT NULL CHECK (seq >= 0),
        metric        TEXT NOT NULL,
        unit          TEXT NOT NULL,
        started_ns    INTEGER NOT NULL CHECK (started_ns >= 0),
        outcome       TEXT NOT NULL CHECK (outcome IN ('failure', 'skipped', 'success')),
        value         REAL,
        failure_class TEXT,
        message       TEXT,
        phases        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(phases)),
        labels        TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels)),
        PRIMARY KEY (run_id, seq),
        CHECK ((outcome = 'success') = (value IS NOT NULL)),
        CHECK ((outcome = 'success') = (message IS NULL)),
        CHECK ((outcome = 'failure') = (failure_class IS NOT NULL))
    ) STRICT, WITHOUT ROWID;
"];

/// The newest version known here.
pub(crate) fn supported_version() -> i64 {
    MIGRATIONS.len() as i64
}

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An archive of this version.
    Archive { version: i64 },
    /// Nothing, yet.
    Empty,
    /// A database of something else.
    Foreign,
}

/// Looks without touching.
pub(crate) fn inspect(connection: &Connection) -> rusqlite::Result<Content> {
    // One view for all three: another process may be making the tables right now.
    let view = connection.unchecked_transaction()?;
    let number = |sql| view.query_row(sql, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version")?;
    let application_id = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application_id, version) {
        (APPLICATION_ID, 1..) => Content::Archive { version },
        (0, 0) if tables == 0 => Content::Empty,
        _ => Content::Foreign,
    })
}

/// Brings the file to the newest version, or leaves it as it was.
///
/// The version is read inside the write transaction: of two processes that open a new file at the same time, the
/// second finds the work done. (A helper that reads the version first would apply a step twice.)
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "user_version", supported_version())?;
    }
    transaction.commit()
}
