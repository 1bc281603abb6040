//! The same report for any number of workers, and from a file as from memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may stop, and tells what it saw"
)]

mod common;

use common::{Analysis, analyze, analyze_source};
use farmlight::source::{Inputs, Memory};
use std::path::{Path, PathBuf};

/// The captures of this repository, and some of the outside ones where they are there.
fn some_captures() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut all: Vec<PathBuf> = std::fs::read_dir(own)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("capture.pcap")))
        .filter(|path| path.is_file())
        .collect();
    all.sort();
    if let Some(folder) = common::shared() {
        for name in [
            "vpn/ndpi__openvpn.pcap",
            "malformed/fragments/ppp__ip6_fragments.pcap",
            "rtt/ndpi__heuristic_tcp_ack_payload.pcap",
        ] {
            all.push(folder.join("captures").join(name));
        }
        all.push(folder.join("scenarios/r4-farm-socks-s21/span-a.pcap"));
    }
    all.retain(|path| path.is_file());
    assert!(!all.is_empty());
    all
}

/// Everything a report is made of.
fn essence(analysis: &Analysis) -> String {
    let accounts: Vec<String> = analysis
        .ledger
        .addresses()
        .into_iter()
        .map(|a| format!("{a} {:?}", analysis.ledger.look(a, |account| format!("{account:?}"))))
        .collect();
    let sessions: Vec<String> = analysis
        .sessions
        .iter()
        .map(|s| {
            format!(
                "{:?} {} {} {:?} {:?} {:?}",
                s.tuple,
                s.start.nanos(),
                s.end.nanos(),
                s.protocol,
                s.attributes,
                s.samples
            )
        })
        .collect();
    format!("{:?}\n{}\n{}", analysis.totals, sessions.join("\n"), accounts.join("\n"))
}

#[test]
fn the_number_of_workers_changes_nothing() {
    for path in some_captures() {
        let one = essence(&analyze(&path, 1));
        for workers in [2, 3, 8] {
            assert_eq!(one, essence(&analyze(&path, workers)), "{} with {workers} workers", path.display());
        }
    }
}

#[test]
fn a_file_and_its_frames_in_memory_give_the_same() {
    for path in some_captures() {
        let file = essence(&analyze(&path, 1));
        let mut memory =
            Memory::collect(&mut Inputs::open(std::slice::from_ref(&path), None).expect("a path was named"));
        assert_eq!(file, essence(&analyze_source(&mut memory, 2)), "{}", path.display());
    }
}
