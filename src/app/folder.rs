//! The folder that `analyze --out` or `watch --out` wrote, read line by line.
//!
//! Reads: endpoints.jsonl, findings.jsonl and identities.jsonl, sessions.jsonl, summary.json. Emits: what they hold of
//! one endpoint. Does not: hold a file. A line that doesn't name what is looked for is only checked to be whole; a gigabyte of sessions takes seconds
//! and no memory.

use crate::base::edits;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The longest line that a record may take; whatever is longer is no file of ours.
const LINE_LIMIT: u64 = 16 << 20;
/// Near matches that are told.
const NEAR: usize = 5;
/// Hexadecimal digits from which on a beginning may stand for a finding's id.
const ID_BEGINNING: usize = 4;

/// What `analyze --out` left behind.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

/// A line of endpoints.jsonl or findings.jsonl: as it stands there, and what is read of it.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) raw: Value,
    pub(super) view: T,
}

/// What is read of a finding. Fields that a version doesn't know are absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FindingView {
    pub(super) id: String,
    pub(super) endpoint: String,
    pub(super) question: String,
    pub(super) verdict: String,
    pub(super) hypothesis: String,
    pub(super) severity: String,
    pub(super) score: f64,
    pub(super) innocent: InnocentView,
    pub(super) hidden_leg_ms: Option<f64>,
    pub(super) e_value: Option<f64>,
    pub(super) days: Option<u32>,
    pub(super) operator_km: Option<KmView>,
    pub(super) evidence: Vec<EvidenceView>,
    pub(super) missing: Vec<String>,
    pub(super) attack: Vec<String>,
    pub(super) suppressed: Option<SuppressedView>,
    pub(super) first_seen: Option<String>,
    pub(super) last_seen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InnocentView {
    pub(super) hypothesis: String,
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KmView {
    pub(super) soft_min: f64,
    pub(super) best: f64,
    pub(super) max: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EvidenceView {
    pub(super) rule: String,
    pub(super) llr: f64,
    pub(super) llr_plain: Option<f64>,
    pub(super) value: Option<f64>,
    pub(super) unit: String,
    pub(super) n: Option<u64>,
    pub(super) text: String,
    pub(super) cites: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SuppressedView {
    pub(super) allow: String,
    pub(super) reason: String,
    pub(super) owner: String,
    pub(super) expires: String,
}

/// Whom the user asks about.
#[derive(Debug)]
pub(super) enum Wanted {
    Address(IpAddr),
    /// An id or the beginning of one.
    Finding(String),
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Self {
        match text.trim().parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Finding(text.trim().to_ascii_lowercase()),
        }
    }
}

/// An endpoint and its findings: all of them, or the one that was asked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) address: String,
    pub(super) findings: Vec<Line<FindingView>>,
    /// A finding was asked for, not an address.
    pub(super) by_finding: bool,
}

impl Folder {
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let meta = std::fs::metadata(dir).with_context(|| dir.display().to_string())?;
        if !meta.is_dir() {
            bail!("{}: not a folder that analyze --out wrote", dir.display());
        }
        Ok(Self { dir: dir.to_owned() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Each line that `wants` a look, parsed.
    pub(super) fn each<T: DeserializeOwned>(
        &self,
        name: &str,
        wants: impl Fn(&str) -> bool,
        mut each: impl FnMut(T),
    ) -> anyhow::Result<()> {
        let path = self.path(name);
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = (&mut file).take(LINE_LIMIT).read_until(b'\n', &mut line);
            if read.with_context(|| path.display().to_string())? == 0 {
                break;
            }
            let text = whole(&line).with_context(|| format!("{}:{number}", path.display()))?;
            if !wants(text) {
                continue;
            }
            match serde_json::from_str(text) {
                Ok(record) => each(record),
                Err(error) => {
                    let why = error.to_string();
                    let why = why.split(" at line ").next().unwrap_or_default();
                    bail!("{}:{number}: {why} (column {})", path.display(), error.column());
                }
            }
        }
        Ok(())
    }

    /// summary.json.
    pub(super) fn summary(&self) -> anyhow::Result<Value> {
        let path = self.path("summary.json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).map_err(|error| {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default().to_owned();
            anyhow::anyhow!("{}:{}: {why} (column {})", path.display(), error.line(), error.column())
        })
    }

    /// The endpoint that is asked about and its findings; says what is near if there is none.
    pub(super) fn find(&self, wanted: &Wanted) -> anyhow::Result<Found> {
        match wanted {
            Wanted::Address(address) => {
                let address = address.to_string();
                let findings = self.findings(|view| view.endpoint == address, &quoted(&address))?;
                Ok(Found { address, findings, by_finding: false })
            }
            Wanted::Finding(id) => {
                let findings = self.findings(|view| view.id == *id, id)?;
                let findings = if findings.is_empty() && id.len() >= ID_BEGINNING {
                    self.findings(|view| view.id.starts_with(id.as_str()), id)?
                } else {
                    findings
                };
                match findings.as_slice() {
                    [one] => Ok(Found { address: one.view.endpoint.clone(), findings, by_finding: true }),
                    [] => bail!("{}", self.no_finding(id)?),
                    several => {
                        let ids: Vec<&str> = several.iter().map(|line| line.view.id.as_str()).take(NEAR).collect();
                        bail!("{id} is the beginning of several findings: {}", ids.join(", "))
                    }
                }
            }
        }
    }

    fn findings(&self, is: impl Fn(&FindingView) -> bool, text: &str) -> anyhow::Result<Vec<Line<FindingView>>> {
        let mut found = Vec::new();
        let mut fault = None;
        self.each(
            "findings.jsonl",
            |line| line.contains(text),
            |raw: Value| match FindingView::deserialize(&raw) {
                Ok(view) if is(&view) => found.push(Line { raw, view }),
                Ok(_) => {}
                Err(error) => fault = fault.take().or(Some(error)),
            },
        )?;
        match fault {
            Some(error) => bail!("{}: {error}", self.path("findings.jsonl").display()),
            None => Ok(found),
        }
    }

    fn no_finding(&self, id: &str) -> anyhow::Result<String> {
        let mut near = Near::of(id);
        self.each(
            "findings.jsonl",
            |_| true,
            |view: FindingView| {
                near.offer(&view.id, &format!("{} ({}, {})", view.id, view.endpoint, view.verdict));
            },
        )?;
        Ok(format!("{}: no finding of this id, and no address{}", id, near.words()))
    }

    /// What is near an address that was not judged, and whether any session has it.
    pub(super) fn no_endpoint(&self, address: &str) -> anyhow::Result<String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Judged {
            ip: String,
            verdict: String,
        }
        let mut near = Near::of(address);
        self.each(
            "endpoints.jsonl",
            |_| true,
            |judged: Judged| {
                near.offer(&judged.ip, &format!("{} ({})", judged.ip, judged.verdict));
            },
        )?;
        let mut sessions = 0_u64;
        let text = quoted(address);
        self.each("sessions.jsonl", |line| line.contains(&text), |_: Value| sessions += 1)?;
        let seen = match sessions {
            0 => "was not seen".to_owned(),
            n => format!(
                "was seen in {n} session{}, but not judged: only the far ends of a site's connections are, and its own \
                 (--internal, --vpn-pool) never",
                if n == 1 { "" } else { "s" }
            ),
        };
        Ok(format!("{address} {seen}{}", near.words()))
    }
}

/// A text as JSON holds it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// A line that is a whole object, as far as its ends tell.
fn whole(line: &[u8]) -> anyhow::Result<&str> {
    let text =
        std::str::from_utf8(line).map_err(|error| anyhow::anyhow!("not text from byte {}", error.valid_up_to()))?;
    let object = text.trim();
    if line.len() as u64 >= LINE_LIMIT && !text.ends_with('\n') {
        bail!("longer than any record");
    }
    if !object.starts_with('{') {
        bail!("not a record: it does not begin with {{");
    }
    if !object.ends_with('}') {
        bail!("cut off: the record does not end");
    }
    Ok(object)
}

/// What looks most like a text that was not found.
struct Near<'a> {
    wanted: &'a str,
    best: Vec<(usize, String)>,
}

impl<'a> Near<'a> {
    const fn of(wanted: &'a str) -> Self {
        Self { wanted, best: Vec::new() }
    }

    fn offer(&mut self, candidate: &str, words: &str) {
        let far = edits(self.wanted, candidate);
        let place = self.best.partition_point(|(other, _)| *other <= far);
        if place < NEAR {
            self.best.insert(place, (far, words.to_owned()));
            self.best.truncate(NEAR);
        }
    }

    fn words(&self) -> String {
        if self.best.is_empty() {
            return ". The folder holds none".to_owned();
        }
        let names: Vec<&str> = self.best.iter().map(|(_, words)| words.as_str()).collect();
        format!(". Nearest: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_broken_line_is_told_with_its_number_even_where_nobody_asked_for_it() {
        let good = "{\"ip\":\"192.0.2.1\"}\n";
        for (line, why) in [("{\"ip\":\"192", "cut off"), ("hello\n", "begin"), ("{\"ip\":}\n", "expected value")] {
            let (_dir, folder) = folder(&[("endpoints.jsonl", &format!("{good}{line}"))]);
            let error = format!("{:#}", folder.each("endpoints.jsonl", |_| true, |_: Value| {}).unwrap_err());
            assert!(error.contains("endpoints.jsonl:2:") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_stands_for_it_if_it_is_the_only_one() {
        let lines =
            "{\"id\":\"abcd1234\",\"endpoint\":\"192.0.2.1\"}\n{\"id\":\"abce1234\",\"endpoint\":\"192.0.2.2\"}\n";
        let (_dir, folder) = folder(&[("findings.jsonl", lines)]);
        let find = |text: &str| folder.find(&Wanted::parse(text)).map(|found| found.address).map_err(|e| e.to_string());
        assert_eq!(find("ABCE").unwrap(), "192.0.2.2");
        assert!(find("abc").unwrap_err().contains("Nearest: abcd1234"));
        assert!(find("abcd9").unwrap_err().contains("abcd1234 (192.0.2.1"));
    }
}
