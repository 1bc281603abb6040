//! The captures of real software in `captures/protocols`: what is found in each is what its manifest says, session by
//! session, no more and no less.
//!
//! On a difference the rows that would be right for what was found are printed, to be looked at before they are taken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops by panicking")]

mod common;

use common::analyze;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/protocols")
}

/// Rows without the number of sessions and without who made the capture, to that number.
type Rows = BTreeMap<[String; 5], usize>;

/// What the manifest says of each capture, all of which can be made again by its script or by one it shares.
fn expected() -> BTreeMap<String, Rows> {
    let text = fs::read_to_string(folder().join("MANIFEST.tsv")).unwrap();
    let mut captures = BTreeMap::<String, Rows>::new();
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [capture, sessions, row @ .., made] = &columns[..] else { panic!("columns of {line:?}") };
        let row: [String; 5] = row.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().try_into().unwrap();
        assert!(!made.is_empty(), "who made {capture}?");
        let own = format!("how/{}.sh", capture.rsplit_once('.').unwrap().0);
        let shared = made.rsplit_once("; ").map_or("", |(_, how)| how);
        assert!(
            folder().join(&own).is_file() || shared.starts_with("how/") && folder().join(shared).is_file(),
            "{own}"
        );
        captures.entry((*capture).to_owned()).or_default().insert(row, sessions.parse().unwrap());
    }
    captures
}

fn found(capture: &str) -> Rows {
    let mut rows = Rows::new();
    for session in analyze(&folder().join(capture), 1).sessions {
        let or_none = |word: Option<&str>| word.unwrap_or("-").to_owned();
        let row = [
            or_none(session.protocol),
            or_none(session.confidence.map(farmlight::session::Confidence::name)),
            or_none(session.carrier),
            or_none(session.application),
            or_none(session.category.map(farmlight::protocol::Category::name)),
        ];
        *rows.entry(row).or_default() += 1;
    }
    rows
}

#[test]
fn every_session_of_real_software_is_named_as_the_manifest_says() {
    let mut wrong = String::new();
    for (capture, expected) in expected() {
        let found = found(&capture);
        if found != expected {
            wrong += &format!("\n{capture} holds\n");
            for (row, sessions) in &found {
                wrong += &format!("{capture}\t{sessions}\t{}\t(made)\n", row.join("\t"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_capture_is_in_the_manifest() {
    let captures: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".pcap") || name.ends_with(".pcapng"))
        .collect();
    assert_eq!(captures, expected().into_keys().collect());
}
