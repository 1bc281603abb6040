//! What is kept between runs: merged accounts equal one account, nothing counts twice, nobody's store is harmed, and who
//! is killed while writing has a sound store.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use farmlight::base::{Layer, RttSample, Side, Timestamp};
use farmlight::evidence::{Account, Ledger, LedgerLimits};
use farmlight::intel::Premises;
use farmlight::session::Session;
use farmlight::state::{Origin, Store};
use proptest::prelude::*;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const DAY: Duration = Duration::from_secs(86_400);

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// Sessions of some captures, all as if one endpoint had had them.
static SESSIONS: LazyLock<Vec<Session>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for name in ["home-exit/capture.pcap", "home-vpn/capture.pcap", "distant-honest/capture.pcap"] {
        let sessions = common::analyze(&captures().join(name), 1).sessions;
        all.extend(sessions.into_iter().map(|mut session| {
            session.tuple.orig.ip = HOME;
            session
        }));
    }
    all
});

/// What becomes of some of them, each moved by so many days.
fn account(chosen: &[(usize, u64)]) -> Account {
    let ledger = Ledger::new(Premises::default(), LedgerLimits::default());
    for (place, days) in chosen {
        let mut session = SESSIONS[place % SESSIONS.len()].clone();
        (session.start, session.end) = (session.start.plus(DAY * *days as u32), session.end.plus(DAY * *days as u32));
        session.samples.iter_mut().for_each(|sample| sample.at = sample.at.plus(DAY * *days as u32));
        let (fresh, lag) = (session.samples.clone(), session.hello_lag);
        ledger.on_session(&session, &fresh, lag);
    }
    ledger.look(HOME, Account::clone).unwrap_or_default()
}

fn text(account: &Account) -> String {
    serde_json::to_string(account).unwrap()
}

fn merged<'a>(parts: impl Iterator<Item = &'a Account>) -> Account {
    let mut all = Account::default();
    parts.for_each(|part| all.merge(part.clone()));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Runs that saw parts, merged in any order and grouping, hold what one run holds that saw all.
    #[test]
    fn parts_merged_are_the_whole(
        parts in prop::collection::vec(prop::collection::vec((0usize..10_000, 0u64..30), 0..60), 1..6),
        turn in 0usize..6,
        group in 0usize..6,
    ) {
        let whole = account(&parts.concat());
        let mut kept: Vec<Account> = parts.iter().map(|part| account(part)).collect();
        prop_assert_eq!(text(&merged(kept.iter())), text(&whole));
        let (one, other) = kept.split_at(group % kept.len());
        let grouped = [merged(other.iter()), merged(one.iter())];
        prop_assert_eq!(text(&merged(grouped.iter())), text(&whole));
        let length = kept.len();
        kept.rotate_left(turn % length);
        prop_assert_eq!(text(&merged(kept.iter().rev())), text(&whole));
    }
}

fn run(capture: &Path, out: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farmlight"))
        .args(["analyze", "-q", "--all", "--site", "39.0438,-77.4874", "--out"])
        .arg(out)
        .args(words)
        .arg(capture)
        .output()
        .unwrap()
}

fn endpoints(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("endpoints.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A capture (pcap, either byte order by its magic number) moved by so many days.
fn moved(from: &Path, to: &Path, days: u32) {
    let mut bytes = std::fs::read(from).unwrap();
    assert_eq!(bytes[3], 0xa1, "a little-endian pcap");
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut at = 24;
    while at < bytes.len() {
        let seconds = word(&bytes, at) + days * 86_400;
        bytes[at..at + 4].copy_from_slice(&seconds.to_le_bytes());
        at += 16 + word(&bytes, at + 8) as usize;
    }
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn an_endpoint_is_judged_on_what_earlier_runs_saw_and_nothing_counts_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (state, out) = (folder.path().join("state"), folder.path().join("out"));
    let words = ["--state", state.to_str().unwrap()];
    let capture = captures().join("home-exit/capture.pcap");
    assert!(run(&capture, &out, &[]).status.success());
    let without = endpoints(&out);
    for _ in 0..2 {
        let output = run(&capture, &out, &words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(endpoints(&out), without, "the first run has no past, and is not its own");
    }
    let later = folder.path().join("later.pcap");
    moved(&capture, &later, 3);
    assert!(run(&later, &out, &words).status.success());
    let with = endpoints(&out);
    assert_eq!(with.len(), without.len());
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(with["first_seen"], without["first_seen"]);
        assert_eq!(with["history"]["days"], 2, "{with}");
        assert_eq!(with["history"]["since"], without["first_seen"]);
        assert_eq!(with["sessions"].as_u64(), without["sessions"].as_u64().map(|n| 2 * n));
        assert_eq!(with["ladder"][0]["n"].as_u64(), without["ladder"][0]["n"].as_u64().map(|n| 2 * n));
    }
    // Five weeks on, nothing of it counts any more.
    moved(&capture, &later, 60);
    assert!(run(&later, &out, &words).status.success());
    assert!(endpoints(&out).iter().all(|endpoint| endpoint.get("history").is_none()));
}

/// Who shares captures with a run is not its past: more captures take the place of fewer, fewer leave more as they are.
#[test]
fn runs_over_more_captures_take_the_place_of_runs_over_fewer() {
    let folder = tempfile::tempdir().unwrap();
    let (state, out, read) = (folder.path().join("state"), folder.path().join("out"), folder.path().join("captures"));
    std::fs::create_dir(&read).unwrap();
    let capture = captures().join("home-direct/capture.pcap");
    let words = ["--state", state.to_str().unwrap()];
    let kept = |path: &Path| {
        assert!(run(path, &out, &words).status.success());
        assert!(endpoints(&out).iter().all(|endpoint| endpoint.get("history").is_none()));
        let store = rusqlite::Connection::open(&state).unwrap();
        let count = |table: &str| {
            store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
        };
        (count("source"), count("input"), count("account"))
    };
    moved(&capture, &read.join("1.pcap"), 1);
    let (_, _, accounts) = kept(&read);
    assert!(accounts > 0);
    moved(&capture, &read.join("2.pcap"), 2);
    assert_eq!(kept(&read), (1, 2, accounts), "in the place of the first run");
    assert_eq!(kept(&read.join("1.pcap")), (1, 2, accounts), "not kept beside the run that holds it");
}

/// Every file of a folder, with what it holds.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    all.sort();
    all.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    let capture = captures().join("home-direct/capture.pcap");
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let words = |path: &Path| ["--state".to_owned(), path.display().to_string()];
    let out = tempfile::tempdir().unwrap();
    let analyze = |path: &Path| run(&capture, out.path(), &words(path).each_ref().map(String::as_str));
    assert!(analyze(&good).status.success());
    let sound = std::fs::read(&good).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        (b"name,address\nalice,192.0.2.1\n".repeat(100), "is no store"),
        (changed(&|bytes| bytes.truncate(sound.len() / 2)), "damaged"),
        (changed(&|bytes| bytes[4_096..8_192].fill(0xff)), "damaged"),
        // SQLite's header: user_version at 60, application_id at 68 (fileformat2.html, section 1.3).
        (changed(&|bytes| bytes[63] = 99), "newer farmlight (form 99"),
        (changed(&|bytes| bytes[68] = 0), "another program's"),
    ];
    for (bytes, reason) in cases {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        std::fs::write(&path, &bytes).unwrap();
        let before = files(place.path());
        let output = analyze(&path);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{reason}: {said}");
        assert!(said.contains(reason) && said.contains("left as it is"), "{reason}: {said}");
        assert_eq!(files(place.path()), before, "{reason}");
    }
}

/// Not a test: what [`who_is_killed_while_writing_has_a_sound_store`] kills.
#[test]
#[ignore = "writes until it is killed"]
fn writer() {
    let path = std::env::var_os("FARMLIGHT_TEST_STATE").unwrap();
    let store = Store::open(Path::new(&path)).unwrap();
    let origin = Origin { name: "writer".to_owned(), inputs: vec![1] };
    let past = store.past(address(0), (0, 100_000), &[]).unwrap();
    for generation in past.map_or(0, |past| past.account.sessions) + 1.. {
        store
            .write(|batch| {
                let source = batch.source(&origin)?;
                (0..ROWS).try_for_each(|i| batch.account(source, address(i), &numbered(generation)))
            })
            .unwrap();
        println!("kept {generation}");
    }
}

const ROWS: u8 = 200;

fn address(i: u8) -> IpAddr {
    [198, 51, 100, i].into()
}

fn numbered(generation: u64) -> Account {
    let at = Timestamp::from_parts(86_400 * 20_000, 0);
    let mut account = Account { first_seen: Some(at), last_seen: Some(at), sessions: generation, ..Account::default() };
    let (rtt, layer) = (Duration::from_millis(30), Layer::TcpHandshake);
    account.ladder.add(&RttSample { at, side: Side::Client, rtt, layer, method: "syn-ack", ambiguous: false });
    account
}

#[test]
fn who_is_killed_while_writing_has_a_sound_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut last = 0;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env("FARMLIGHT_TEST_STATE", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // In the first rounds while the store itself is made; later in the midst of a batch.
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(8 + round * 37));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in told.map_while(Result::ok) {
            // The first line of libtest has no end of its own.
            if let Some((_, generation)) = line.rsplit_once("kept ")
                && let Ok(generation) = generation.parse::<u64>()
            {
                last = generation;
            }
        }
        killer.join().unwrap();
        let store = Store::open(&path).unwrap();
        let sessions = |i| store.past(address(i), (0, 100_000), &[]).unwrap().map_or(0, |past| past.account.sessions);
        let kept = sessions(0);
        assert!(kept >= last, "{last} was told to be kept, {kept} is");
        assert!((0..ROWS).all(|i| sessions(i) == kept), "a batch is kept whole or not at all");
        last = kept;
    }
    assert!(last > 12, "it was killed while it wrote");
}

#[test]
fn under_hashes_no_name_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (state, out) = (folder.path().join("state"), folder.path().join("out"));
    let capture = captures().join("home-exit/capture.pcap");
    assert!(run(&capture, &out, &[]).status.success());
    let endpoint = endpoints(&out)[0].clone();
    let (ip, at) = (endpoint["ip"].as_str().unwrap(), endpoint["first_seen"].as_str().unwrap());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let roll = file("who.csv", &format!("time,address,identity\n{at},{ip},alice.of.accounting\n"));
    let key = file("key", "0123456789abcdef0123456789abcdef");
    let holds = |what: &str| {
        let kept = files(folder.path()).into_iter().filter(|(path, _)| path.to_string_lossy().contains("state"));
        kept.fold(false, |found, (_, bytes)| found || bytes.windows(what.len()).any(|w| w == what.as_bytes()))
    };
    let words = ["--state", state.to_str().unwrap(), "--identities", &roll];
    let output = run(&capture, &out, &[&words[..], &["--hash-identities", &key]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!holds("alice.of.accounting") && holds("id:"));
    // Without the key the name itself is kept; a later run with the key tells it as a pseudonym.
    assert!(run(&capture, &out, &words).status.success());
    assert!(holds("alice.of.accounting"));
    let later = folder.path().join("later.pcap");
    moved(&capture, &later, 2);
    assert!(run(&later, &out, &[&words[..2], &["--hash-identities", &key]].concat()).status.success());
    let told = std::fs::read_to_string(out.join("endpoints.jsonl")).unwrap();
    assert!(told.contains("\"id:") && !told.contains("alice"), "{told}");
}
