//! What a site's own honest endpoints teach, measured on others: false alarms, recall, and what days say together.
//!
//! Learned on one set of seeds, judged on another. Does not: say anything about real networks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops by panicking, and tells what it saw"
)]

use assert_cmd::Command;
use farmlight::simulate::{self, Access, Options};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

const HOMES: [&str; 8] = ["Omaha", "Nashville", "Phoenix", "Seattle", "Dallas", "Chicago", "Raleigh", "Miami"];
const OPERATORS: [&str; 4] = ["Shenyang", "Beijing", "Moscow", "Dubai"];
/// Homes in one capture.
const TOGETHER: u32 = 60;

fn farmlight(words: &[&str]) -> Output {
    Command::cargo_bin("farmlight").unwrap().args(words).output().unwrap()
}

/// A command that succeeds, and what it printed.
fn told(words: &[&str]) -> String {
    let output = farmlight(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the lines of a site are like.
#[derive(Clone, Copy)]
struct Site {
    /// Its access lines, in turn: kind, one-way delay in ms.
    lines: &'static [(Access, f64)],
    /// What a concentrator adds to every round trip, in ms.
    detour: f64,
}

const FAR: Site = Site {
    lines: &[(Access::Fibre, 2.0), (Access::Cable, 7.0), (Access::Dsl, 14.0), (Access::Wifi, 5.0)],
    detour: 110.0,
};
const FIBRE: Site = Site { lines: &[(Access::Fibre, 2.0)], detour: 0.0 };

impl Site {
    /// A home of the site.
    fn home(self, scenario: &'static str, n: u32, seed: u64) -> (&'static str, Options) {
        let (access, one_way) = self.lines[n as usize / 8 % self.lines.len()];
        let options = Options {
            seed: seed + u64::from(n),
            home: Some(HOMES[n as usize % 8].to_owned()),
            access: Some(access),
            last_mile_ms: Some(one_way + self.detour / 2.0),
            sessions: Some(6),
            bystanders: Some(0),
            duration: Some(Duration::from_secs(600)),
            number: u8::try_from(n / 8 % 240 + 1).unwrap(),
            ..Options::default()
        };
        (scenario, options)
    }

    /// Relays with these hidden legs, in homes of the site.
    fn relays(self, scenario: &'static str, from: u32, legs_ms: &[f64], seed: u64) -> Vec<(&'static str, Options)> {
        let relay = |(n, leg): (u32, &f64)| {
            let (scenario, options) = self.home(scenario, from + n, seed);
            let operator = Some(OPERATORS[n as usize % 4].to_owned());
            (scenario, Options { operator, hidden_rtt_ms: Some(*leg), ..options })
        };
        (0..).zip(legs_ms).map(relay).collect()
    }

    /// Captures of so many honest homes, sixty in each.
    fn honest(self, dir: &Path, from: u32, count: u32, seed: u64) -> Vec<PathBuf> {
        let capture = |first: u32| {
            let homes: Vec<_> = (first..first + TOGETHER).map(|n| self.home("home-direct", n, seed)).collect();
            play(&dir.join(format!("honest-{seed}-{first}")), &homes)
        };
        (from..from + count).step_by(TOGETHER as usize).map(capture).collect()
    }
}

fn play(dir: &Path, parts: &[(&str, Options)]) -> PathBuf {
    simulate::write(&simulate::run_together(parts).unwrap(), dir).unwrap();
    dir.to_owned()
}

/// Analyzes a simulated folder into another.
fn analyze(capture: &Path, words: &[&str]) -> PathBuf {
    let (geo, out) = (capture.join("geo.csv"), capture.join("out"));
    let site = ["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48", "-q"];
    let files = ["analyze", text(capture), "--geo-csv", text(&geo), "--out", text(&out)];
    told(&[&files[..], &site[..], words].concat());
    out
}

/// Learns from simulated folders.
fn learn(captures: &[PathBuf], baseline: &Path) -> String {
    let outs: Vec<PathBuf> = captures.iter().map(|capture| analyze(capture, &[])).collect();
    let mut words = vec!["baseline", "learn", "-o", text(baseline)];
    words.extend(outs.iter().map(|out| text(out)));
    told(&words)
}

/// Of folders: found and malicious, accused and honest.
fn evaluate(captures: &[PathBuf], words: &[&str]) -> ([u64; 2], [u64; 2], Vec<Value>) {
    let mut all = vec!["evaluate", "--no-ablation", "--format", "jsonl"];
    all.extend(captures.iter().map(|capture| text(capture)));
    all.extend(words);
    let mut lines: Vec<Value> = told(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.pop().unwrap();
    let pair = |name: &str| ["hits", "n"].map(|key| report[name][key].as_u64().unwrap());
    (pair("recall"), pair("false_alarms"), lines)
}

/// What was said of a relay's or an honest home's capture before and after.
struct Trial {
    honest: [[u64; 2]; 2],
    found: [[u64; 2]; 2],
    after: Vec<Value>,
}

/// Learns on one set of homes, and judges other homes and relays without and with what was learned.
fn trial(dir: &Path, site: Site, learned: u32, relays: &[(&'static str, Options)]) -> Trial {
    let baseline = dir.join("baseline");
    print!("{}", learn(&site.honest(dir, 0, learned, 1_000), &baseline));
    let mut others = site.honest(dir, 960, 60, 500_000);
    others.push(play(&dir.join("relays"), relays));
    let (before, after) = (evaluate(&others, &[]), evaluate(&others, &["--baseline", text(&baseline)]));
    println!("found {:?} -> {:?}, accused {:?} -> {:?}", before.0, after.0, before.1, after.1);
    Trial { honest: [before.1, after.1], found: [before.0, after.0], after: after.2 }
}

/// A concentrator far away: what is shipped takes its detour for a hidden leg.
#[test]
fn a_detour_that_all_lines_share_accuses_nobody_once_it_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let relays = FAR.relays("home-exit", 1_400, &[90.0, 120.0, 150.0, 180.0, 200.0], 600_000);
    let trial = trial(dir.path(), FAR, 180, &relays);
    let [before, after] = trial.honest;
    assert!(before[0] > 0 && after[0] == 0 && after[1] == 60, "{before:?} {after:?}");
    assert!(trial.found[1][0] >= 4, "{:?}", trial.found);
    // The detour is no part of the leg any more.
    for one in trial.after.iter().filter(|one| one["truth"]["hidden_leg_rtt_ms"].as_f64() > Some(0.0)) {
        let Some(told) = one["hidden_leg_ms"].as_f64() else { continue };
        let real = one["truth"]["hidden_leg_rtt_ms"].as_f64().unwrap();
        assert!((told - real).abs() < 20.0, "{told} for {real}");
    }
}

/// Lines that are quicker and more alike than what is shipped grants; and what undetected relays among those learned
/// from do.
#[test]
fn lines_that_are_alike_show_shorter_legs_and_undetected_relays_among_them_make_it_careful() {
    let dir = tempfile::tempdir().unwrap();
    let legs = [80.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 140.0];
    let mut relays = FIBRE.relays("home-exit", 1_400, &legs, 600_000);
    relays.extend(FIBRE.relays("home-proxy", 1_448, &[100.0, 140.0, 180.0], 700_000));
    let clean = trial(dir.path(), FIBRE, 240, &relays);
    assert_eq!(clean.honest.map(|honest| honest[0]), [0, 0]);
    assert!(clean.found[1][0] > clean.found[0][0] + 2, "{:?}", clean.found);

    // One in a hundred of those learned from is a relay that nobody found.
    let hidden = play(&dir.path().join("hidden"), &FIBRE.relays("home-exit", 1_300, &[120.0, 140.0], 800_000));
    let out = analyze(&hidden, &[]);
    let records = std::fs::read_to_string(out.join("endpoints.jsonl")).unwrap();
    let records = records.replace("\"verdict\":\"relayed\"", "\"verdict\":\"clear\"");
    std::fs::write(out.join("endpoints.jsonl"), records).unwrap();
    let poisoned = dir.path().join("poisoned");
    let honest = [0, 60, 120, 180].map(|first| dir.path().join(format!("honest-1000-{first}/out")));
    let mut words = vec!["baseline", "learn", "-o", text(&poisoned), text(&out)];
    words.extend(honest.iter().map(|out| text(out)));
    let learned = told(&words);
    assert!(learned.contains("from 242 honest endpoints"), "{learned}");
    let judged = ["honest-500000-960", "relays"].map(|name| dir.path().join(name));
    let (found, accused, _) = evaluate(&judged, &["--baseline", text(&poisoned)]);
    println!("poisoned: found {found:?}, accused {accused:?}");
    assert!(accused[0] == 0 && found[0] <= clean.found[1][0] && found[0] >= 3, "{found:?} {accused:?}");
}

fn findings(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("findings.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same homes and the same relay on several days.
#[test]
fn days_are_counted_once_each_and_say_more_of_a_relay_than_of_a_home() {
    const DAYS: u32 = 3;
    let dir = tempfile::tempdir().unwrap();
    let day = |first: u32, count: u32, relayed: bool, day: u32| {
        let mut parts: Vec<_> = (first..first + count).map(|n| FIBRE.home("home-direct", n, 1_000)).collect();
        if relayed {
            parts.extend(FIBRE.relays("home-exit", 1_400, &[140.0], 600_000));
        }
        for (_, options) in &mut parts {
            options.seed += u64::from(day) * 100_000;
            options.start = options.start.plus(Duration::from_secs(86_400) * day);
        }
        play(&dir.path().join(format!("{first}-{day}")), &parts)
    };
    let baseline = dir.path().join("baseline");
    let learned = learn(&[0, 1].map(|n| day(0, 60, false, n)), &baseline);
    assert!(learned.contains("from 60 honest endpoints on 120 days"), "{learned}");
    let shown = told(&["baseline", "show", text(&baseline)]);
    assert!(shown.contains("were so the next"), "{shown}");

    let state = dir.path().join("state");
    let words = ["--state", text(&state), "--baseline", text(&baseline), "--all"];
    let captures: Vec<PathBuf> = (4..4 + DAYS).map(|n| day(900, 6, true, n)).collect();
    let mut said = Vec::new();
    // The last one again says no more.
    for capture in captures.iter().chain(captures.last()) {
        let findings = findings(&analyze(capture, &words));
        let of = |relay: bool| {
            let wanted = findings.iter().filter(|finding| finding["question"] == "connection");
            let picked = wanted.filter(move |finding| (finding["verdict"] == "relayed") == relay);
            picked.map(|finding| (finding["days"].as_u64().unwrap(), finding["e_value"].as_f64().unwrap()))
        };
        let (days, relay) = of(true).next().unwrap();
        let home = of(false).map(|(_, e)| e).fold(0.0, f64::max);
        assert!(of(true).count() == 1 && of(false).count() == 6 && of(false).all(|(n, _)| n == days));
        said.push((days, relay, home));
    }
    println!("{said:?}");
    assert_eq!(said.iter().map(|(days, ..)| *days).collect::<Vec<_>>(), [1, 2, 3, 3]);
    assert!((said[2].1 - said[3].1).abs() < 1e-9);
    assert!(said.iter().all(|(_, relay, home)| relay > home && *home < 20.0 && *relay <= 61.0), "{said:?}");

    // Without a baseline the days are kept, and nothing is said of them.
    let without = findings(&analyze(&captures[0], &["--state", text(&dir.path().join("other")), "--all"]));
    assert!(without.iter().all(|finding| finding.get("e_value").is_none()));
    let store = rusqlite::Connection::open(&state).unwrap();
    let count = |sql: &str| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM day"), 7 * i64::from(DAYS));
    assert_eq!(count("SELECT count(*) FROM day WHERE excess_p IS NULL"), 0);
}

#[test]
fn what_is_no_baseline_and_too_little_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baseline");
    let (empty, none) = (dir.path().join("empty"), dir.path().join("none"));
    std::fs::create_dir(&empty).unwrap();
    let small = analyze(&play(&dir.path().join("small"), &[FIBRE.home("home-direct", 1, 1)]), &[]);
    let refused = |words: &[&str], reason: &str| {
        let output = farmlight(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{words:?}: {said}");
    };
    refused(&["baseline", "learn", text(&none), "-o", text(&file)], "none: No such file");
    refused(&["baseline", "learn", text(&empty), "-o", text(&file)], "no endpoints.jsonl");
    refused(&["baseline", "learn", text(&small), "-o", text(&file)], "1 honest endpoints");
    refused(&["baseline", "learn", text(&small), "-o", text(&file)], "a baseline needs 50");
    assert!(!file.exists());

    let honest: Vec<PathBuf> = FIBRE.honest(dir.path(), 0, 60, 1);
    learn(&honest, &file);
    let sound = std::fs::read_to_string(&file).unwrap();
    assert!(!sound.contains("198.18.") && !sound.contains(text(dir.path())), "an address or a folder stands in it");
    let capture = honest[0].join("capture.pcap");
    for (bytes, reason) in [
        (String::new(), "is no baseline"),
        ("{}\n{}\n".to_owned(), "is no baseline"),
        (sound[..sound.len() / 2].to_owned(), "is damaged or was changed"),
        (sound.replacen("-10.", "-11.", 1), "is damaged or was changed"),
        (sound.replacen("\"schema\":1", "\"schema\":2", 1), "newer farmlight (schema 2"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        refused(&["baseline", "show", text(&file)], reason);
        refused(&["analyze", "--baseline", text(&file), text(&capture)], reason);
    }
    let records = honest[0].join("out/endpoints.jsonl");
    let text_of = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, text_of.replacen("\"schema\":1", "\"schema\":2", 1)).unwrap();
    refused(&["baseline", "learn", text(&honest[0].join("out")), "-o", text(&file)], "records are of a newer");
}
