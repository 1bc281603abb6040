//! Labelled runs of real software over emulated wide-area paths: relays are found, honest workers are not accused.
//! Skipped, and said so, where the runs are not there.
//!
//! `cargo test --test scenarios -- --nocapture` prints the table of docs/scenarios.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop, and tells what it saw"
)]

mod common;

use common::{analyze_within, shared};
use farmlight::evidence::{Case, Finding, Site, Verdict, judge_all};
use farmlight::intel::{Networks, Places};
use farmlight::source::Inputs;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Runs in which nothing at a tap tells: the laptop is honest on the wire, and what drives it passes no tap, or too little
/// of it to be timed.
const BLIND: &[&str] = &["r1-vnc-direct", "r1-vnc-revssh"];

struct Run {
    name: String,
    truth: Value,
    finding: Option<Finding>,
    accused: Vec<String>,
}

fn runs(folder: &Path) -> Vec<Run> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|path| path.join("truth.json").is_file());
    all.sort();
    all.iter().map(|path| run(path)).collect()
}

fn run(folder: &Path) -> Run {
    let truth: Value = serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap();
    let captures: Vec<PathBuf> =
        ["span-a.pcap", "span-b.pcap"].iter().map(|n| folder.join(n)).filter(|p| p.is_file()).collect();
    let own: Networks = "208.77.188.0/24,10.0.0.0/8".parse().unwrap();
    let mut inputs = Inputs::open(&captures, None).unwrap();
    let analysis = analyze_within(&mut inputs, 1, own);
    let places = Places::open(Some(&folder.join("geo.csv")), None, None).unwrap();
    let site = Site { location: Some("39.0438,-77.4874".parse().unwrap()), has_places: true, ..Site::default() };
    let ledger = &analysis.ledger;
    ledger.join_tunnels();
    let joins = ledger.joins();
    let of = |address: IpAddr| {
        let (place, inner) = (places.lookup(address), ledger.inner_of(address));
        let findings = ledger.look(address, |account| {
            judge_all(address, &Case { inner: &inner, ..Case::new(account, place.as_ref(), &site) }, &site, true)
        });
        findings.unwrap_or_default()
    };
    let alone = ledger.addresses().into_iter().filter(|address| joins.of_inner(*address).is_none());
    let judged: Vec<Finding> = alone.flat_map(of).collect();
    let endpoint = truth["endpoint_ip"].as_str().unwrap().to_owned();
    let accused = judged.iter().filter(|f| f.verdict.is_finding()).map(|f| f.endpoint.to_string()).collect();
    // What is raised about an endpoint comes first.
    let finding = judged.into_iter().find(|f| f.endpoint.to_string() == endpoint);
    Run { name: folder.file_name().unwrap().to_string_lossy().into_owned(), truth, finding, accused }
}

fn row(run: &Run) -> String {
    let number = |key: &str| run.truth[key].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
    let Some(finding) = &run.finding else {
        return format!("| {} | {} | {} | not seen | | | |", run.name, run.truth["label"], number("hidden_leg_rtt_ms"));
    };
    let why: Vec<String> = finding.evidence.iter().map(|e| format!("{} {:+.1}", e.rule, e.llr)).collect();
    format!(
        "| {} | {} | {} | {} | {} | {:+.1} | {} |",
        run.name,
        run.truth["label"].as_str().unwrap_or("?"),
        number("hidden_leg_rtt_ms"),
        finding.verdict.name(),
        finding.hidden_leg_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}")),
        finding.score,
        why.join(", "),
    )
}

#[test]
fn relays_are_found_and_honest_workers_are_not_accused() {
    let Some(folder) = shared() else { return };
    let runs = runs(&folder.join("scenarios"));
    println!("| run | truth | hidden leg, ms | verdict | told, ms | score | evidence |");
    println!("|---|---|---|---|---|---|---|");
    runs.iter().for_each(|run| println!("{}", row(run)));
    assert!(runs.len() > 20);
    for run in &runs {
        let endpoint = run.truth["endpoint_ip"].as_str().unwrap();
        let blind = BLIND.iter().any(|kind| run.name.starts_with(kind));
        if run.truth["label"] == "benign" || blind {
            assert!(run.accused.is_empty(), "{}: {:?}", run.name, run.accused);
            continue;
        }
        assert_eq!(run.accused, [endpoint], "{}", run.name);
        let finding = run.finding.as_ref().unwrap();
        let driven = run.name.starts_with("r1-");
        let verdict = if driven { Verdict::RemoteControlled } else { Verdict::Relayed };
        assert_eq!(finding.verdict, verdict, "{}", run.name);
        let (told, truth) = (finding.hidden_leg_ms.unwrap(), run.truth["hidden_leg_rtt_ms"].as_f64().unwrap());
        assert!((told - truth).abs() <= (0.2 * truth).max(20.0), "{}: {told} not {truth}", run.name);
    }
}
