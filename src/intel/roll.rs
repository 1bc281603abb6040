//! The user's own knowledge of who is where: a CSV, or the logs of VPN gateways.
//!
//! Reads: a CSV with the header `time,address,identity` (and, in any order behind them, `inner`, `kind`, `until`), or
//! log lines as `gateway_log` knows them. Emits: claims. Does not: drop a line silently: what can't be read is told.

use super::gateway_log::{GatewayLog, Line};
use crate::base::{Claim, IdentityKind, Located, Stay, Sureness, Timestamp, Whereabouts};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// It can't be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row of the CSV can't be understood.
    #[error("{path}:{line}: {field}: {reason}", path = path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Which column.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// No line of it says who is where.
    #[error("{path}: no line of it says who is where: neither a CSV with the header time,address,identity nor a log of \
             a gateway that is known", path = path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// Who is where.
    pub claims: Vec<Located>,
    /// Lines that should say something and can't be read: number, reason. At most the first thousand.
    pub left_out: Vec<(usize, &'static str)>,
}

const MAX_LEFT_OUT: usize = 1_000;

/// Reads a file of either kind. `year` is that of log lines whose time stamps say none.
///
/// # Errors
/// The file can't be read, a row of a CSV is wrong, or nothing in it says who is where.
pub fn read_roll(path: &Path, year: Option<i16>) -> Result<Roll, RollError> {
    read(path, year, false)
}

/// The same of a file that may still grow: a last line without its end is being written and is left for later.
///
/// # Errors
/// As of [`read_roll`].
pub fn read_growing_roll(path: &Path, year: Option<i16>) -> Result<Roll, RollError> {
    read(path, year, true)
}

fn read(path: &Path, year: Option<i16>, growing: bool) -> Result<Roll, RollError> {
    let bytes = std::fs::read(path).map_err(|source| RollError::Read { path: path.to_owned(), source })?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
    let bytes = if growing { bytes.get(..whole).unwrap_or_default() } else { &bytes };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let head = text.lines().next().unwrap_or_default().to_ascii_lowercase().replace(' ', "");
    let roll = if head.starts_with("time,address,identity") { csv(path, text)? } else { logs(text, year) };
    if roll.claims.is_empty() && roll.left_out.is_empty() {
        return Err(RollError::Nothing { path: path.to_owned() });
    }
    Ok(roll)
}

fn logs(text: &str, year: Option<i16>) -> Roll {
    let mut log = GatewayLog::new(year);
    let mut roll = Roll::default();
    for (i, line) in text.lines().enumerate() {
        match log.line(line) {
            Line::Says(claims) => roll.claims.extend(claims),
            Line::Skip => {}
            Line::Wrong(reason) if roll.left_out.len() < MAX_LEFT_OUT => roll.left_out.push((i + 1, reason)),
            Line::Wrong(_) => {}
        }
    }
    roll
}

fn csv(path: &Path, text: &str) -> Result<Roll, RollError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |line: u64, field: &str, reason: String| RollError::Row {
        path: path.to_owned(),
        line,
        field: field.to_owned(),
        reason,
    };
    let header = reader.headers().map_err(|e| wrong(1, "header", e.to_string()))?.clone();
    for name in &header {
        if !["time", "address", "identity", "inner", "kind", "until"].contains(&name) {
            return Err(wrong(1, name, "no such column".to_owned()));
        }
    }
    let mut roll = Roll::default();
    for record in reader.records() {
        let record = record.map_err(|e| wrong(e.position().map_or(0, csv::Position::line), "row", e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |name: &str| header.iter().position(|h| h == name).and_then(|i| record.get(i)).unwrap_or_default();
        let time = |name: &str| {
            let parsed = field(name).parse::<jiff::Timestamp>();
            let nanos = parsed.map(|at| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX));
            nanos.map(Timestamp::from_nanos).map_err(|e| wrong(line, name, e.to_string()))
        };
        let ip = |name: &str| {
            field(name).parse::<IpAddr>().map_err(|_| wrong(line, name, format!("'{}' is no address", field(name))))
        };
        let (at, address) = (time("time")?, ip("address")?.to_canonical());
        if field("identity").is_empty() {
            return Err(wrong(line, "identity", "empty".to_owned()));
        }
        let kind = match field("kind") {
            "" | "user" => IdentityKind::User,
            "host" => IdentityKind::Host,
            "device" => IdentityKind::Device,
            other => return Err(wrong(line, "kind", format!("'{other}' is none of user, host, device"))),
        };
        let inner = if field("inner").is_empty() { None } else { Some(ip("inner")?) };
        let stays = if field("until").is_empty() {
            vec![(at, Stay::Goes)]
        } else {
            vec![(at, Stay::Begins), (time("until")?, Stay::Ends)]
        };
        for (when, stay) in stays {
            let claim = Claim {
                stay,
                inner,
                // The same when lines are added before it and the file is read again.
                session: (stay != Stay::Goes).then(|| format!("from {}", at.nanos())),
                ..Claim::new("identities-csv", Whereabouts::Address(address), kind, field("identity"))
                    .worth(Sureness::Accepted)
            };
            roll.claims.push(Located { at: when, address, claim });
        }
    }
    Ok(roll)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Roll, RollError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_roll(file.path(), None)
    }

    #[test]
    fn a_csv_tells_who_is_where_from_when_to_when() {
        let roll = read(
            "time,address,identity,until,inner\n2026-11-24T09:00:01Z,198.51.100.7,alice,2026-11-24T17:00:00Z,10.8.0.5\n\
             2026-11-24T10:00:00+01:00,2001:db8::1,bob,,\n",
        )
        .unwrap();
        let told: Vec<_> = roll
            .claims
            .iter()
            .map(|l| {
                (l.claim.identity.name.as_str(), l.claim.stay, l.claim.inner.is_some(), l.at.nanos() / 1_000_000_000)
            })
            .collect();
        let nine = 1_795_510_801;
        assert_eq!(
            told,
            [
                ("alice", Stay::Begins, true, nine),
                ("alice", Stay::Ends, true, nine + 8 * 3_600 - 1),
                ("bob", Stay::Goes, false, nine - 1),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("time,address,identity\nyesterday,198.51.100.7,alice\n", ":2: time: "),
            ("time,address,identity\n2026-11-24T09:00:01Z,somewhere,alice\n", ":2: address: 'somewhere' is no address"),
            ("time,address,identity\n2026-11-24T09:00:01Z,198.51.100.7,\n", ":2: identity: empty"),
            ("time,address,identity,mood\n", ":1: mood: no such column"),
            ("time,address,identity,kind\n2026-11-24T09:00:01Z,198.51.100.7,a,robot\n", "none of user, host, device"),
            ("hello\n", "no line of it says who is where"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "time,address,identity\n2026-11-24T09:00:01Z,198.51.100.7,a\n2026-11-2").unwrap();
        assert_eq!(read_growing_roll(file.path(), None).unwrap().claims.len(), 1);
        let roll = read("Nov 24 09:00:01 fw %ASA-6-113039: Group <G> User <a> IP <198.51.100.7> started\n").unwrap();
        assert_eq!(roll.left_out, [(1, "its time stamp says no year")]);
    }
}
