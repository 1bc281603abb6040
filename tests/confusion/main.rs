//! What farmlight names on outside captures against the labels that came with them: recall and false names, protocol by
//! protocol, as the table in `docs/identification.md`. Skipped, and said so, where the captures are not there.
//!
//! `labels.tsv`: which of our names a label of nDPI stands for. `tshark.tsv`: the same for the protocols that tshark sees
//! in a capture, as its manifest says. `explained.tsv`: every flow where the two disagree, with
//! the reason; a flow that is in neither list fails the test, and so does a reason for nothing.
//! `FARMLIGHT_UPDATE=1 cargo test --test confusion` writes the table anew.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may stop, and tells what it saw")]

#[path = "../common/mod.rs"]
mod common;

use common::{Analysis, analyze, shared, table};
use farmlight::flow::FiveTuple;
use farmlight::protocol::{Category, REGISTRY};
use farmlight::session::{Confidence, Session};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rows of a table beside this file.
fn rows(name: &str) -> Vec<HashMap<String, String>> {
    table(&root().join("tests/confusion").join(name))
}

/// A flow without its direction, as both sides name it.
type Ends = (String, BTreeSet<(IpAddr, u16)>);

fn ends_of(tuple: &FiveTuple) -> Ends {
    let l4 = match tuple.proto.0 {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        other => other.to_string(),
    };
    // Other protocols have no ports that all tools agree on.
    let port = |port| if l4 == "TCP" || l4 == "UDP" { port } else { 0 };
    let ends = [tuple.orig, tuple.resp].map(|peer| (peer.ip, port(peer.port)));
    (l4, ends.into())
}

fn ends_of_row(row: &HashMap<String, String>) -> Option<Ends> {
    let l4 = match &*row["l4"] {
        l4 @ ("TCP" | "UDP") => l4,
        "ESP" => "50",
        "AH" => "51",
        "GRE" => "47",
        "ICMP" => "1",
        "ICMPV6" => "58",
        other => other,
    };
    let port = |key: &str| if l4 == "TCP" || l4 == "UDP" { row[key].parse().unwrap_or(0) } else { 0 };
    let end = |ip: &str, key: &str| Some((row[ip].parse::<IpAddr>().ok()?, port(key)));
    Some((l4.to_owned(), [end("a_ip", "a_port")?, end("b_ip", "b_port")?].into()))
}

/// Our names for a label, most specific part first; empty for a label that is not ours to find.
struct Labels(BTreeMap<String, Vec<String>>);

impl Labels {
    fn read() -> Self {
        let names = |row: &HashMap<String, String>| row["names"].split(',').map(str::to_owned).collect();
        Self(rows("labels.tsv").iter().map(|row| (row["label"].clone(), names(row))).collect())
    }

    /// The part of the label that stands in the list, and our names for it.
    fn of(&self, label: &str) -> Option<(&str, &[String])> {
        let whole = std::iter::once(label);
        whole
            .chain(label.rsplit('.'))
            .find_map(|part| self.0.get_key_value(part).map(|(part, names)| (part.as_str(), names.as_slice())))
    }
}

/// Which of our names a word of tshark stands for.
struct Seen(Vec<(String, Vec<String>)>);

impl Seen {
    fn read() -> Self {
        let names = |row: &HashMap<String, String>| row["names"].split(',').map(str::to_owned).collect();
        Self(rows("tshark.tsv").iter().map(|row| (row["word"].clone(), names(row))).collect())
    }

    /// Whether one of the words supports a name.
    fn supports(&self, words: &str, name: &str) -> bool {
        words
            .split(',')
            .any(|word| self.0.iter().any(|(known, names)| known == word && names.iter().any(|one| one == name)))
    }
}

/// Whether a name of ours is a claim that somebody is controlled, tunnelled or relayed.
fn is_claim(session: &Session) -> bool {
    use Category::{Kvm, Proxy, RemoteDesktop, RemoteShell, Vpn};
    session.category.is_some_and(|c| matches!(c, RemoteDesktop | RemoteShell | Kvm | Vpn | Proxy))
        && session.confidence > Some(Confidence::PortOnly)
}

fn is_named(session: &Session, names: &[String]) -> bool {
    let says = |word: Option<&str>| word.is_some_and(|word| names.iter().any(|name| name == word));
    session.confidence > Some(Confidence::PortOnly)
        && (says(session.protocol) || says(session.application) || says(session.carrier))
}

/// Flows with one label.
#[derive(Default)]
struct Count {
    flows: usize,
    found: usize,
    missed: BTreeMap<String, usize>,
}

/// Sessions that got one of our names.
#[derive(Default)]
struct Claimed {
    sessions: usize,
    confirmed: usize,
    labelled: usize,
    tshark: usize,
    by_hand: BTreeMap<String, usize>,
    wrong: BTreeMap<String, usize>,
}

struct Score {
    labels: Labels,
    /// (file, what) to reason.
    explained: BTreeMap<(String, String), String>,
    used: BTreeSet<(String, String)>,
    counts: BTreeMap<String, Count>,
    claims: BTreeMap<&'static str, Claimed>,
    seen: Seen,
    unexplained: Vec<String>,
    /// Our names that outside captures show, and whether confirmed.
    shown: BTreeMap<&'static str, bool>,
}

impl Score {
    fn read() -> Self {
        let key = |row: &HashMap<String, String>| (row["file"].clone(), row["what"].clone());
        Self {
            labels: Labels::read(),
            explained: rows("explained.tsv").iter().map(|row| (key(row), row["reason"].clone())).collect(),
            used: BTreeSet::new(),
            counts: BTreeMap::new(),
            claims: BTreeMap::new(),
            seen: Seen::read(),
            unexplained: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    /// The reason for a disagreement, if there is one; else it is noted.
    fn reason(&mut self, file: &str, what: &str, detail: &str) -> Option<String> {
        let key = (file.to_owned(), what.to_owned());
        if let Some(reason) = self.explained.get(&key) {
            self.used.insert(key);
            return Some(reason.clone());
        }
        self.unexplained.push(format!("{file}\t{what}\t{detail}"));
        None
    }

    fn file(&mut self, file: &str, tshark: &str, analysis: &Analysis, labelled: &[&HashMap<String, String>]) {
        for session in analysis.sessions.iter().filter(|s| s.confidence > Some(Confidence::PortOnly)) {
            let confirmed = session.confidence == Some(Confidence::Confirmed);
            for name in [session.protocol, session.application].into_iter().flatten() {
                *self.shown.entry(name).or_default() |= confirmed;
            }
        }
        let mut by_ends: HashMap<Ends, Vec<&Session>> = HashMap::new();
        for session in &analysis.sessions {
            for tuple in std::iter::once(&session.tuple).chain(&session.parts) {
                by_ends.entry(ends_of(tuple)).or_default().push(session);
            }
        }
        let mut accounted = BTreeSet::new();
        for row in labelled {
            let Some(ends) = ends_of_row(row) else { continue };
            let sessions = by_ends.get(&ends).cloned().unwrap_or_default();
            let Some((part, names)) = self.labels.of(&row["protocol"]).map(|(p, n)| (p.to_owned(), n.to_vec())) else {
                continue;
            };
            let found = sessions.iter().any(|session| is_named(session, &names));
            let got = sessions.iter().find_map(|s| s.protocol).unwrap_or("nothing").to_owned();
            let count = self.counts.entry(part.clone()).or_default();
            count.flows += 1;
            if found {
                count.found += 1;
                accounted.extend(sessions.iter().filter(|s| is_named(s, &names)).map(|s| s.tuple.orig));
            } else {
                let what = format!("{part} missed");
                let detail = format!("{} {ends:?} is {got}", row["protocol"]);
                let reason = self.reason(file, &what, &detail).unwrap_or_else(|| "?".to_owned());
                *self.counts.entry(part).or_default().missed.entry(reason).or_default() += 1;
            }
        }
        for session in analysis.sessions.iter().filter(|s| is_claim(s)) {
            self.claim(file, tshark, session, accounted.contains(&session.tuple.orig));
        }
    }

    /// A claim, and who supports it.
    fn claim(&mut self, file: &str, tshark: &str, session: &Session, labelled: bool) {
        let name = session.protocol.unwrap_or("-");
        let supported = self.seen.supports(tshark, name);
        let count = self.claims.entry(name).or_default();
        count.sessions += 1;
        count.confirmed += usize::from(session.confidence == Some(Confidence::Confirmed));
        count.labelled += usize::from(labelled);
        count.tshark += usize::from(!labelled && supported);
        if labelled || supported {
            return;
        }
        let what = format!("{name} claimed");
        let detail = format!(
            "{} {:?} {:?} {:?}",
            session.confidence.map_or("-", Confidence::name),
            session.application,
            ends_of(&session.tuple),
            session.attributes.iter().take(4).collect::<Vec<_>>()
        );
        if let Some(reason) = self.reason(file, &what, &detail) {
            let count = self.claims.entry(name).or_default();
            let told = if reason.starts_with("false:") { &mut count.wrong } else { &mut count.by_hand };
            *told.entry(reason).or_default() += 1;
        }
    }

    fn table(&self) -> String {
        let mut out = String::from("| label | flows | found | missed |\n|---|---:|---:|---|\n");
        let reasons = |reasons: &BTreeMap<String, usize>| {
            let words: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n}: {reason}")).collect();
            if words.is_empty() { "0".to_owned() } else { words.join("; ") }
        };
        for (label, count) in &self.counts {
            let _ = writeln!(out, "| {label} | {} | {} | {} |", count.flows, count.found, reasons(&count.missed));
        }
        out += "\n| name | sessions | confirmed | as labelled | as tshark | looked at by hand | false |\n";
        out += "|---|---:|---:|---:|---:|---|---|\n";
        for (name, count) in &self.claims {
            let _ = writeln!(
                out,
                "| {name} | {} | {} | {} | {} | {} | {} |",
                count.sessions,
                count.confirmed,
                count.labelled,
                count.tshark,
                reasons(&count.by_hand),
                reasons(&count.wrong)
            );
        }
        out
    }
}

/// What each entry of the registry rests on: captures of our own, outside captures, or a description only.
fn grounds(shown: &BTreeMap<&'static str, bool>) -> String {
    let manifest = table(&root().join("captures/protocols/MANIFEST.tsv"));
    let mut own: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &manifest {
        own.entry(&row["protocol"]).or_default().insert(&row["capture"]);
        own.entry(&row["application"]).or_default().insert(&row["capture"]);
    }
    let mut names: Vec<_> = REGISTRY.iter().map(|p| (p.category, p.name, p.carriers.is_empty())).collect();
    names.sort_unstable();
    let mut out = String::from("| category | name | real software, here | outside captures |\n|---|---|---|---|\n");
    let mut described: BTreeMap<Category, Vec<String>> = BTreeMap::new();
    for (category, name, by_signs) in names {
        let here: Vec<&str> = own.get(name).into_iter().flatten().copied().collect();
        let outside = match shown.get(name) {
            Some(true) => "confirmed",
            Some(false) => "likely",
            None => "",
        };
        if here.is_empty() && outside.is_empty() {
            let mark = if by_signs { "" } else { "*" };
            described.entry(category).or_default().push(format!("{name}{mark}"));
        } else {
            let _ = writeln!(out, "| {} | {name} | {} | {outside} |", category.name(), here.join(", "));
        }
    }
    out += "\nOn a description only (with an asterisk: read from bytes; the others are known by their names and signs):\n\n";
    for (category, names) in described {
        let _ = writeln!(out, "- {}: {}", category.name(), names.join(", "));
    }
    out
}

/// All captures that the manifest names: name, path, and the protocols that tshark sees in them.
fn captures(folder: &Path) -> Vec<(String, PathBuf, String)> {
    let rows = table(&folder.join("captures/MANIFEST.tsv"));
    let of = |row: &HashMap<String, String>| {
        (row["path"].clone(), folder.join("captures").join(&row["path"]), row["tshark_protocols"].clone())
    };
    rows.iter().map(of).collect()
}

const PAGE: &str = "docs/identification.md";

/// Compares a part of the page, between its marks, with what was found; or writes it.
fn keep(part: &str, found: &str) {
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let (head, rest) = page.split_once(&begin).unwrap();
    let (kept, tail) = rest.split_once(&end).unwrap();
    if std::env::var_os("FARMLIGHT_UPDATE").is_some() {
        fs::write(root().join(PAGE), format!("{head}{begin}{found}{end}{tail}")).unwrap();
    } else {
        assert!(kept == found, "{part} of {PAGE} is not what was found; FARMLIGHT_UPDATE=1 writes it:\n{found}");
    }
}

#[test]
fn the_names_agree_with_the_labels_but_for_what_is_explained() {
    let Some(folder) = shared() else { return };
    let flows = table(&folder.join("captures/expected/ndpi-flows.tsv"));
    let mut labelled: HashMap<&str, Vec<&HashMap<String, String>>> = HashMap::new();
    // Of several configurations of the same flow the default one counts; labels that exist only in another are kept.
    for row in flows.iter().filter(|row| row["ndpi_config"] == "default") {
        labelled.entry(&row["file"]).or_default().push(row);
    }
    let mut score = Score::read();
    for (name, path, tshark) in captures(&folder) {
        let analysis = analyze(&path, 1);
        score.file(&name, &tshark, &analysis, labelled.get(&*name).map_or(&[], Vec::as_slice));
    }
    let unused: Vec<_> = score.explained.keys().filter(|key| !score.used.contains(*key)).collect();
    let table = score.table();
    println!("{table}");
    assert!(
        score.unexplained.is_empty(),
        "{} not explained:\n{}",
        score.unexplained.len(),
        score.unexplained.join("\n")
    );
    assert!(unused.is_empty(), "nothing needs these reasons: {unused:?}");
    keep("labelled flows", &table);
    keep("grounds", &grounds(&score.shown));
}
