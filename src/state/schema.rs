//! The tables of the store, and the steps from each form of them to the next.
//!
//! `user_version` counts the steps that were taken. A step is never changed once a release has it: a new one follows.
//! Does not: write to a file before it has been looked at.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// "farm": what SQLite's header says a file of ours is.
pub(super) const APPLICATION: i32 = 0x6661_726D;

/// The steps.
pub(super) const STEPS: &[&str] = &[
    // 1: sources and accounts.
    "CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, written INTEGER NOT NULL) STRICT;
     CREATE TABLE input (source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE, hash INTEGER NOT NULL,
                         PRIMARY KEY (source, hash)) STRICT, WITHOUT ROWID;
     CREATE INDEX input_hash ON input (hash);
     CREATE TABLE account (endpoint BLOB NOT NULL, source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
                           day INTEGER NOT NULL, format INTEGER NOT NULL, body BLOB NOT NULL,
                           PRIMARY KEY (endpoint, source)) STRICT;
     CREATE INDEX account_source ON account (source, day);",
    // 2: who was where, and what was found.
    "CREATE TABLE stay (endpoint BLOB NOT NULL, source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
                        kind TEXT NOT NULL, name TEXT NOT NULL, pseudonym INTEGER NOT NULL, said_by TEXT NOT NULL,
                        inner BLOB NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
                        sureness INTEGER NOT NULL, claims INTEGER NOT NULL,
                        PRIMARY KEY (endpoint, source, kind, name, said_by, inner, since)) STRICT;
     CREATE INDEX stay_source ON stay (source);
     CREATE TABLE finding (id TEXT NOT NULL, source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
                           endpoint TEXT NOT NULL, question TEXT NOT NULL, hypothesis TEXT NOT NULL,
                           verdict TEXT NOT NULL, severity TEXT NOT NULL, score REAL NOT NULL,
                           since INTEGER, until INTEGER, PRIMARY KEY (id, source)) STRICT;
     CREATE INDEX finding_source ON finding (source);
     CREATE INDEX finding_endpoint ON finding (endpoint);",
    // 3: days of an endpoint, and how far out they were when they were compared with a baseline.
    "CREATE TABLE day (endpoint BLOB NOT NULL, source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE,
                       day INTEGER NOT NULL, excess_n INTEGER, excess_ms REAL, excess_p REAL,
                       gap_n INTEGER, gap_ms REAL, gap_p REAL,
                       PRIMARY KEY (endpoint, source, day)) STRICT, WITHOUT ROWID;
     CREATE INDEX day_source ON day (source, day);",
];

/// The form after all steps.
pub(super) fn version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Looks at a file without touching it, and says why it can't be used.
pub(super) fn inspect(path: &Path) -> Result<(), String> {
    // Without a log beside it nothing can be left to do, and SQLite is told to make no files of its own.
    let log = path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
    let immutable = if log.exists() { "" } else { "&immutable=1" };
    let encoded: String = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let uri = format!("file:{encoded}?mode=ro{immutable}");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let damaged = |error: rusqlite::Error| format!("is no store, or damaged ({error}); it was left as it is");
    let connection = Connection::open_with_flags(uri, flags).map_err(damaged)?;
    connection.busy_timeout(super::BUSY).map_err(damaged)?;
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(damaged);
    if number("PRAGMA application_id")? != i64::from(APPLICATION) {
        return Err("is another program's database; it was left as it is".to_owned());
    }
    let found = number("PRAGMA user_version")?;
    if found > version() {
        let known = version();
        return Err(format!("is of a newer farmlight (form {found}, this one knows {known}); it was left as it is"));
    }
    let sound = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map_err(damaged)?;
    if sound == "ok" { Ok(()) } else { Err(format!("is damaged ({sound}); it was left as it is")) }
}

/// Takes the steps that are still to take, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let taken: u32 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let Some(step) = usize::try_from(taken).ok().and_then(|taken| STEPS.get(taken)) else { return Ok(()) };
        change.execute_batch(step)?;
        change.pragma_update(None, "user_version", taken + 1)?;
        change.commit()?;
    }
}
