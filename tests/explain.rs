//! `farmlight explain` as a user meets it: what it says of each kind of endpoint, word for word, and what it does when
//! the folder is not what it should be.
//!
//! After a deliberate change, `INSTA_UPDATE=always cargo test --test explain` keeps what is said now.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn farmlight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farmlight"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("FARMLIGHT_LOG")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("TERM")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "80")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// A folder with the records of a capture of this repository.
fn records(name: &str, more: &[&str]) -> TempDir {
    let out = tempfile::tempdir().unwrap();
    let folder = format!("captures/{name}");
    let output = farmlight()
        .args(["analyze", &format!("{folder}/capture.pcap"), "--geo-csv", &format!("{folder}/geo.csv")])
        .args(["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48", "--out"])
        .arg(out.path())
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    out
}

fn explain(what: &str, from: &Path) -> Output {
    farmlight().args(["explain", what, "--from"]).arg(from).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn page(what: &str, from: &Path) -> String {
    let output = explain(what, from);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    stdout(&output).replace(from.to_str().unwrap(), "DIR")
}

const RELAYED: &str = "198.18.1.120";
const HONEST: &str = "198.18.7.1";

#[test]
fn a_relay_is_explained() {
    let dir = records("home-proxy", &["--all"]);
    insta::assert_snapshot!("home-proxy.relayed", page(RELAYED, dir.path()));
    insta::assert_snapshot!("home-proxy.honest", page(HONEST, dir.path()));
}

#[test]
fn an_endpoint_without_a_finding_is_told_from_its_record() {
    let dir = records("home-direct", &[]);
    assert_eq!(fs::read(dir.path().join("findings.jsonl")).unwrap(), b"");
    insta::assert_snapshot!("home-direct.without-all", page(RELAYED, dir.path()));
}

#[test]
fn every_endpoint_of_every_capture_can_be_explained_in_any_width() {
    let mut pages = 0;
    for folder in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")).unwrap() {
        let folder = folder.unwrap();
        if !folder.path().join("capture.pcap").is_file() {
            continue;
        }
        let dir = records(folder.file_name().to_str().unwrap(), &["--all"]);
        for line in fs::read_to_string(dir.path().join("endpoints.jsonl")).unwrap().lines() {
            let endpoint: Value = serde_json::from_str(line).unwrap();
            let ip = endpoint["ip"].as_str().unwrap();
            for (width, term) in [(48, "xterm"), (80, "xterm"), (120, "dumb")] {
                let output = farmlight()
                    .args(["explain", ip, "--from"])
                    .arg(dir.path())
                    .env("COLUMNS", width.to_string())
                    .env("TERM", term)
                    .output()
                    .unwrap();
                assert_eq!(output.status.code(), Some(0), "{ip}: {}", stderr(&output));
                for line in stdout(&output).lines() {
                    // A path or an id is not broken in two.
                    let whole = line.split_whitespace().any(|word| word.len() > 20);
                    assert!(line.chars().count() <= width || whole, "{ip}, {width}: {line}");
                    assert!(term != "dumb" || line.is_ascii(), "{line}");
                }
                pages += 1;
            }
        }
    }
    assert!(pages > 60, "{pages}");
}

#[test]
fn the_json_holds_what_the_page_says() {
    let dir = records("home-proxy", &["--all"]);
    let output = farmlight().args(["explain", RELAYED, "--format", "json", "--from"]).arg(dir.path()).output().unwrap();
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&whole["type"], &whole["ip"]), (&Value::from("explanation"), &Value::from(RELAYED)));
    let line = |name: &str| -> Value {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        let line = text.lines().find(|line| line.contains(&format!("\"{RELAYED}\""))).unwrap();
        serde_json::from_str(line).unwrap()
    };
    assert_eq!(whole["endpoint"], line("endpoints.jsonl"));
    assert_eq!(whole["findings"], Value::from(vec![line("findings.jsonl")]));
    let sessions: u64 =
        whole["sessions"].as_array().unwrap().iter().map(|kind| kind["sessions"].as_u64().unwrap()).sum();
    assert_eq!(sessions, whole["endpoint"]["sessions"]);
    let cited = whole["cited"].as_object().unwrap();
    for evidence in whole["findings"][0]["evidence"].as_array().unwrap() {
        for cite in evidence["cites"].as_array().unwrap() {
            assert!(cited.contains_key(cite.as_str().unwrap()), "{cite} is no session of the endpoint");
        }
    }
    assert!(!whole["next"].as_array().unwrap().is_empty());
    // The finding's id, or its beginning, leads to the same.
    let id = whole["findings"][0]["id"].as_str().unwrap();
    for what in [id, &id[..6]] {
        let output =
            farmlight().args(["explain", what, "--format", "json", "--from"]).arg(dir.path()).output().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), whole, "{what}");
    }
}

#[test]
fn what_is_not_there_is_told_with_what_is_near() {
    let dir = records("home-proxy", &["--all"]);
    for (what, said) in [
        ("198.18.1.121", &["198.18.1.121 was not seen", "198.18.1.120 (relayed)"][..]),
        ("192.0.2.10", &["192.0.2.10 was seen in", "not judged", "--internal"]),
        ("19723885a7cefa6f", &["no finding", "19723885a7cefa60 (198.18.1.120, relayed)"]),
        ("nonsense", &["no finding"]),
    ] {
        let output = explain(what, dir.path());
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
        assert!(output.stdout.is_empty());
        for words in said {
            assert!(stderr(&output).contains(words), "{what}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_folder_that_is_not_whole_is_told_with_file_and_line() {
    let spoil = |name: &str, change: &dyn Fn(&str) -> Option<String>| {
        let dir = records("home-proxy", &["--all"]);
        let path = dir.path().join(name);
        match change(&fs::read_to_string(&path).unwrap()) {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let output = explain(RELAYED, dir.path());
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stdout(&output));
        assert!(output.stdout.is_empty());
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        stderr(&output).to_owned()
    };
    for name in ["endpoints.jsonl", "findings.jsonl", "sessions.jsonl", "summary.json", "identities.jsonl"] {
        let said = spoil(name, &|_| None);
        assert!(said.contains(name) && said.contains("No such file"), "{said}");
    }
    for name in ["endpoints.jsonl", "findings.jsonl", "sessions.jsonl"] {
        let said = spoil(name, &|text| Some(text[..text.trim_end().len() - 5].to_owned()));
        let last = fs::read_to_string(records("home-proxy", &["--all"]).path().join(name)).unwrap().lines().count();
        assert!(said.contains(&format!("{name}:{last}: cut off")), "{said}");
        let said = spoil(name, &|text| Some(text.replacen('{', "{\"a\" ", 1)));
        assert!(said.contains(&format!("{name}:1: ")) && said.contains("column"), "{said}");
    }
    let said = spoil("endpoints.jsonl", &|text| Some(text.replace("\"sessions\":7", "\"sessions\":\"seven\"")));
    assert!(said.contains("endpoints.jsonl") && said.contains("seven"), "{said}");
    for missing in ["/nowhere/records", env!("CARGO_BIN_EXE_farmlight")] {
        let output = explain(RELAYED, Path::new(missing));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(missing), "{}", stderr(&output));
    }
}

/// Fields that later versions add, and fields that earlier ones had not, break nothing.
#[test]
fn records_of_other_versions_are_read() {
    let dir = records("home-proxy", &["--all"]);
    let path = dir.path().join("endpoints.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let newer = text
        .replace("\"windows\":4,", "\"windows\":4,\"tide\":{\"a\":[1,2]},")
        .replace("\"overhead\":\"none\",", "\"overhead\":\"none\",\"phase\":\"full\",");
    fs::write(&path, newer).unwrap();
    let said = page(RELAYED, dir.path()).split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["by syn-ack", "also phase: full", "by stack families"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let older: String = text
        .lines()
        .map(|line| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            for rung in record["ladder"].as_array_mut().unwrap() {
                rung.as_object_mut().unwrap().retain(|key, _| ["layer", "n", "min_ms"].contains(&key.as_str()));
            }
            format!("{record}\n")
        })
        .collect();
    fs::write(&path, older).unwrap();
    assert!(page(RELAYED, dir.path()).contains("(machine or proxy); n 7\n"));
}

/// What a machine does inside its tunnel counts for the endpoint outside, and is told there.
#[test]
fn what_passes_inside_a_tunnel_is_told_with_the_endpoint_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (captures, out) = (dir.path().join("captures"), dir.path().join("out"));
    let run = |args: &[&str]| {
        let output = farmlight().args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    run(&["simulate", "remote-desktop", "--seed", "3", "-o", captures.to_str().unwrap()]);
    let (capture, geo) = (captures.join("capture.pcap"), captures.join("geo.csv"));
    run(&["analyze", capture.to_str().unwrap(), "--geo-csv", geo.to_str().unwrap(), "--site", "39.0438,-77.4874"]
        .into_iter()
        .chain(["--internal", "192.0.2.0/24", "--all", "--out", out.to_str().unwrap()])
        .collect::<Vec<_>>());
    let words = |page: String| page.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = words(page(RELAYED, &out));
    let (own, inside) = said.split_once("Inside its tunnel (10.20.1.120, by radius-accounting):").unwrap();
    assert!(own.contains("1 x wireguard, vpn, confirmed") && !own.contains("remote-shell"), "{own}");
    assert!(inside.contains("rfb, remote-desktop, confirmed") && inside.contains(", inside its tunnel"), "{inside}");
    // What is clear is no step beside what is open.
    assert!(inside.contains("Get what is missing") && !inside.contains("Nothing more:"), "{inside}");
    let said = words(page("10.20.1.120", &out));
    let told = "tunnel inside that of 198.18.1.120, by radius-accounting: what it does counts there";
    assert!(said.contains(told) && !said.contains("Inside its tunnel"), "{said}");
}

/// Names come off the wire: they must not steer the terminal.
#[test]
fn a_hostile_name_moves_no_cursor() {
    let dir = records("home-proxy", &["--all"]);
    let path = dir.path().join("identities.jsonl");
    let line = "{\"address\":\"198.18.1.120\",\"identity\":\"al\\u001b[2Jice\\r\\n\",\"names\":\"person\",\"from\":\"2026-03-02T14:00:00Z\",\"to\":\"2026-03-02T14:10:00Z\",\"source\":\"radius\",\"confidence\":\"likely\"}\n";
    fs::write(&path, line).unwrap();
    let said = page(RELAYED, dir.path());
    assert!(said.contains("ice") && !said.contains('\u{1b}') && !said.contains('\r'), "{said}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = records("home-proxy", &["--all"]);
    for format in ["table", "json"] {
        let mut child = farmlight()
            .args(["explain", RELAYED, "--format", format, "--from"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
    }
}
