//! What earlier runs saw, in one SQLite file, so that an endpoint is judged on weeks and not on one capture.
//!
//! Reads: accounts, stays and findings of a run, each under the run's source. Emits: what other sources hold of one
//! endpoint, merged. Writes in transactions to a write-ahead log: who is killed loses the transaction in progress.
//! Memory: one endpoint's rows, one at a time. A file that is damaged, another program's, or newer is refused before
//! anything is written to it. Does not: judge, nor decide which sources belong together; [`Overlap`] tells who shares
//! inputs.
//! References: SQLite's *Write-Ahead Logging* (wal.html) and *Pragma statements* (pragma.html).

mod row;
mod schema;

use crate::base::{Identity, Timestamp};
use crate::evidence::{Account, DayJudged, DayMeasured, Finding, StayOf};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Another process may be writing for so long.
const BUSY: Duration = Duration::from_secs(30);
/// Stays read of one endpoint.
const STAYS: i64 = 512;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It can't be used, for this reason; it was not touched.
    #[error("{0}: {1}")]
    Refused(PathBuf, String),
    /// SQLite says so.
    #[error("the store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row can't be made or read.
    #[error("a row of the store: {0}")]
    Row(String),
}

/// Whose rows they are: a set of captures, or one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name, for people.
    pub name: String,
    /// What was read, each as a hash that is the same whenever it is read again.
    pub inputs: Vec<u64>,
}

/// How what is stored meets what is about to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Sources that share an input with this one, by their numbers.
    pub shared: Vec<i64>,
    /// Names of those of them that have inputs besides: what they hold cannot be taken apart.
    pub wider: Vec<String>,
}

/// What other sources know of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Their accounts, merged.
    pub account: Account,
    /// Rows that were merged.
    pub rows: usize,
    /// Who was said to be there, and whether the name is a pseudonym.
    pub people: Vec<(Identity, bool)>,
    /// Its days, as they were compared with a baseline then.
    pub days: Vec<DayJudged>,
}

/// Days, UTC, counted from 1970.
#[must_use]
pub const fn day_of(at: Timestamp) -> i64 {
    at.nanos().div_euclid(86_400_000_000_000)
}

/// The store.
#[derive(Debug)]
pub struct Store {
    /// Of its own: who judges need not wait for who writes.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

impl Store {
    /// Opens a store, or makes one. An older one is brought up to date.
    ///
    /// # Errors
    /// It can't be opened, or it is no store that this program can use; then it is left as it was.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let refused = |reason: String| StateError::Refused(path.to_owned(), reason);
        if is_absent(path).map_err(|e| refused(e.to_string()))? {
            make(path).map_err(|e| refused(format!("can't be made: {e}")))?;
        }
        schema::inspect(path).map_err(&refused)?;
        let open = || Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let mut writer = open()?;
        if writer.is_readonly("main")? {
            return Err(refused("can't be written to".to_owned()));
        }
        prepare(&writer)?;
        schema::migrate(&mut writer)?;
        let reader = open()?;
        prepare(&reader)?;
        Ok(Self { reader: Mutex::new(reader), writer: Mutex::new(writer) })
    }

    /// Which sources share inputs with this one.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn overlap(&self, origin: &Origin) -> Result<Overlap, StateError> {
        let connection = lock(&self.reader);
        let mut sharing = connection.prepare("SELECT source FROM input WHERE hash = ?1")?;
        let mut common = std::collections::BTreeMap::<i64, i64>::new();
        for hash in &origin.inputs {
            for source in sharing.query_map([hash.cast_signed()], |row| row.get::<_, i64>(0))? {
                *common.entry(source?).or_default() += 1;
            }
        }
        let mut overlap = Overlap { shared: common.keys().copied().collect(), wider: Vec::new() };
        for (source, n) in common {
            let sql = "SELECT name, (SELECT count(*) FROM input WHERE source = id) FROM source WHERE id = ?1";
            let (name, all) = connection.query_row(sql, [source], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            if all > n {
                overlap.wider.push(name);
            }
        }
        Ok(overlap)
    }

    /// What other sources than those left out know of an endpoint on these days, or nothing.
    ///
    /// # Errors
    /// The store can't be read, or a row of it.
    pub fn past(&self, endpoint: IpAddr, days: (i64, i64), without: &[i64]) -> Result<Option<Past>, StateError> {
        let connection = lock(&self.reader);
        let key = row::address(endpoint);
        let mut past = Past::default();
        let mut rows = connection
            .prepare_cached("SELECT source, format, body FROM account WHERE endpoint = ?1 AND day BETWEEN ?2 AND ?3")?;
        let mut rows = rows.query(params![key, days.0, days.1])?;
        while let Some(found) = rows.next()? {
            if without.contains(&found.get(0)?) {
                continue;
            }
            past.account.merge(row::read(found.get(1)?, found.get_ref(2)?.as_blob().unwrap_or_default())?);
            past.rows += 1;
        }
        if past.rows == 0 {
            return Ok(None);
        }
        let mut stays = connection.prepare_cached(
            "SELECT DISTINCT kind, name, pseudonym FROM stay WHERE endpoint = ?1 AND until / 86400000000000 >= ?2
             AND since / 86400000000000 <= ?3 ORDER BY sureness DESC, kind, name LIMIT ?4",
        )?;
        let mut stays = stays.query(params![key, days.0, days.1, STAYS])?;
        while let Some(found) = stays.next()? {
            let kind: String = found.get(0)?;
            if let Some(kind) = row::kind(&kind) {
                past.people.push((Identity { kind, name: found.get(1)? }, found.get(2)?));
            }
        }
        past.days = days_of(&connection, &key, days, without)?;
        Ok(Some(past))
    }

    /// Writes as one: all of it or nothing.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write<R>(&self, f: impl FnOnce(&Batch<'_>) -> Result<R, StateError>) -> Result<R, StateError> {
        let mut connection = lock(&self.writer);
        let batch = Batch(connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?);
        let done = f(&batch)?;
        batch.0.commit()?;
        Ok(done)
    }
}

/// What is written as one.
#[derive(Debug)]
pub struct Batch<'a>(Transaction<'a>);

impl Batch<'_> {
    /// The number of a source, which is made if it isn't there.
    ///
    /// # Errors
    /// It can't be written.
    pub fn source(&self, origin: &Origin) -> Result<i64, StateError> {
        let known = self.0.query_row("SELECT id FROM source WHERE name = ?1", [&origin.name], |row| row.get(0));
        let id = if let Some(id) = known.optional()? {
            self.0.execute("UPDATE source SET written = unixepoch() WHERE id = ?1", [id])?;
            id
        } else {
            self.0.execute("INSERT INTO source (name, written) VALUES (?1, unixepoch())", [&origin.name])?;
            self.0.last_insert_rowid()
        };
        let mut input = self.0.prepare_cached("INSERT OR IGNORE INTO input (source, hash) VALUES (?1, ?2)")?;
        for hash in &origin.inputs {
            input.execute(params![id, hash.cast_signed()])?;
        }
        Ok(id)
    }

    /// Drops sources, with all that they hold.
    ///
    /// # Errors
    /// It can't be written.
    pub fn drop_sources(&self, sources: &[i64]) -> Result<(), StateError> {
        let mut drop = self.0.prepare_cached("DELETE FROM source WHERE id = ?1")?;
        sources.iter().try_for_each(|source| drop.execute([source]).map(drop_count))?;
        Ok(())
    }

    /// Drops sources that were last written so many days ago, and accounts of this one that are so much older than its
    /// latest.
    ///
    /// # Errors
    /// It can't be written.
    pub fn forget(&self, source: i64, days: i64) -> Result<(), StateError> {
        self.0.execute("DELETE FROM source WHERE written < unixepoch() - ?1 * 86400", [days])?;
        for table in ["day", "account"] {
            let old = format!(
                "DELETE FROM {table} WHERE source = ?1 AND day < (SELECT max(day) FROM account WHERE source = ?1) - ?2"
            );
            self.0.execute(&old, [source, days])?;
        }
        Ok(())
    }

    /// Puts an account in the place of the one that the source had of this endpoint.
    ///
    /// # Errors
    /// It can't be written.
    pub fn account(&self, source: i64, endpoint: IpAddr, account: &Account) -> Result<(), StateError> {
        let Some(last) = account.last_seen else { return Ok(()) };
        let mut put = self.0.prepare_cached(
            "INSERT OR REPLACE INTO account (endpoint, source, day, format, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        put.execute(params![row::address(endpoint), source, day_of(last), row::FORMAT, row::write(account)?])?;
        Ok(())
    }

    /// Puts down an endpoint's days, in the place of those that the source had.
    ///
    /// # Errors
    /// It can't be written.
    pub fn days(&self, source: i64, endpoint: IpAddr, days: &[DayJudged]) -> Result<(), StateError> {
        let key = row::address(endpoint);
        let mut put = self.0.prepare_cached(
            "INSERT OR REPLACE INTO day (endpoint, source, day, excess_n, excess_ms, excess_p, gap_n, gap_ms, gap_p)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for DayJudged { measured: DayMeasured { day, excess, gap }, excess_p, gap_p } in days {
            let n = |measured: &Option<(u64, f64)>| measured.map(|(n, _)| i64::try_from(n).unwrap_or(i64::MAX));
            let ms = |measured: &Option<(u64, f64)>| measured.map(|(_, ms)| ms);
            put.execute(params![key, source, day, n(excess), ms(excess), excess_p, n(gap), ms(gap), gap_p])?;
        }
        Ok(())
    }

    /// Puts down who was where. `pseudonym`: the names are pseudonyms.
    ///
    /// # Errors
    /// It can't be written.
    pub fn stay(&self, source: i64, stay: &StayOf, pseudonym: bool) -> Result<(), StateError> {
        let mut put = self.0.prepare_cached(
            "INSERT OR REPLACE INTO stay
             (endpoint, source, kind, name, pseudonym, said_by, inner, since, until, sureness, claims)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let (from, to) = (stay.from.nanos(), stay.to.nanos());
        let inner = stay.inner.map(row::address).unwrap_or_default();
        let (kind, name) = (stay.identity.kind.name(), &stay.identity.name);
        let place = row::address(stay.address);
        put.execute(params![
            place,
            source,
            kind,
            name,
            pseudonym,
            stay.source,
            inner,
            from,
            to,
            row::rank(stay.sureness),
            stay.claims
        ])?;
        Ok(())
    }

    /// Puts down what was found.
    ///
    /// # Errors
    /// It can't be written.
    pub fn finding(&self, source: i64, finding: &Finding) -> Result<(), StateError> {
        let mut put = self.0.prepare_cached(
            "INSERT OR REPLACE INTO finding
             (id, source, endpoint, question, hypothesis, verdict, severity, score, since, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        put.execute(params![
            finding.id,
            source,
            finding.endpoint.to_string(),
            finding.question.name(),
            finding.hypothesis.name(),
            finding.verdict.name(),
            finding.severity.name(),
            finding.score,
            finding.first_seen.map(Timestamp::nanos),
            finding.last_seen.map(Timestamp::nanos),
        ])?;
        Ok(())
    }
}

/// The days of an endpoint that other sources than those left out know of.
fn days_of(
    connection: &Connection,
    key: &[u8],
    (from, to): (i64, i64),
    without: &[i64],
) -> Result<Vec<DayJudged>, StateError> {
    let mut rows = connection.prepare_cached(
        "SELECT source, day, excess_n, excess_ms, excess_p, gap_n, gap_ms, gap_p FROM day
         WHERE endpoint = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day, source",
    )?;
    let mut rows = rows.query(params![key, from, to])?;
    let mut days = Vec::new();
    while let Some(found) = rows.next()? {
        if without.contains(&found.get(0)?) {
            continue;
        }
        let measured = |n: Option<i64>, ms: Option<f64>| Some((u64::try_from(n?).unwrap_or(0), ms?));
        let (excess, gap) = (measured(found.get(2)?, found.get(3)?), measured(found.get(5)?, found.get(6)?));
        let measured = DayMeasured { day: found.get(1)?, excess, gap };
        // A row of a damaged store is not a chance.
        let p = |p: Option<f64>| p.filter(|p| *p > 0.0 && *p <= 1.0);
        days.push(DayJudged { measured, excess_p: p(found.get(4)?), gap_p: p(found.get(7)?) });
    }
    Ok(days)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // Who panicked in the middle of a transaction has rolled it back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn drop_count(_: usize) {}

/// Whether there is no file, or an empty one.
fn is_absent(path: &Path) -> std::io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.is_file() && found.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Makes a store beside its place and moves it there whole: who is killed leaves no half of one. Readable by its owner
/// alone, because it may hold names.
fn make(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let new = tempfile::Builder::new().prefix(".farmlight-state-").tempfile_in(folder)?;
    let mut connection = Connection::open(new.path())?;
    prepare(&connection)?;
    connection.pragma_update(None, "application_id", schema::APPLICATION)?;
    schema::migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    new.persist(path)?;
    Ok(())
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A power failure may take the last transactions with it, never the file.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)
}

#[cfg(test)]
mod tests;
