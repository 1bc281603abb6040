//! What the program says of each capture of this repository, word for word.
//!
//! A change of what is said shows here as a difference to look at. After a deliberate one,
//! `INSTA_UPDATE=always cargo test --test golden` keeps what is said now. Does not: say whether it is right;
//! `tests/evaluation.rs` does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What a run of the binary on one capture says: the table, and the files by name.
struct Said {
    table: String,
    files: Vec<(&'static str, String)>,
}

fn said_of(name: &str) -> Said {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name);
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_farmlight"))
        .arg("analyze")
        .arg(folder.join("capture.pcap"))
        .arg("--geo-csv")
        .arg(folder.join("geo.csv"))
        .args(["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48", "--all", "--out"])
        .arg(out.path())
        .env_remove("FARMLIGHT_LOG")
        .env_remove("CLICOLOR_FORCE")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let files = ["findings", "endpoints", "sessions"]
        .map(|file| (file, fs::read_to_string(out.path().join(format!("{file}.jsonl"))).unwrap()));
    Said { table: without_seconds(&String::from_utf8(output.stdout).unwrap()), files: files.into() }
}

/// The table with the time the run took taken out of its last sentence; nothing else in it varies.
fn without_seconds(table: &str) -> String {
    let (before, last) = table.trim_end().rsplit_once("frames,").unwrap_or_else(|| panic!("no closing line: {table}"));
    // The line may have been broken before the unit.
    let [seconds, "s."] = last.split_whitespace().collect::<Vec<_>>()[..] else { panic!("no seconds: {last}") };
    assert!(seconds.parse::<f64>().is_ok_and(|s| s < 60.0), "{seconds}");
    format!("{before}frames, in no time.\n")
}

#[track_caller]
fn check(name: &str) {
    let said = said_of(name);
    insta::assert_snapshot!(format!("{name}.table"), said.table);
    for (file, text) in said.files {
        assert!(text.len() < 60_000, "{file} of {name} is {} bytes: too much to keep", text.len());
        insta::assert_snapshot!(format!("{name}.{file}"), text);
    }
}

macro_rules! golden {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        const NAMES: &[&str] = &[$($name),*];
    };
}

golden! {
    bufferbloat: "bufferbloat",
    distant_honest: "distant-honest",
    exit_vpn: "exit-vpn",
    geo_satellite: "geo-satellite",
    home_direct: "home-direct",
    home_exit: "home-exit",
    home_proxy: "home-proxy",
    home_proxy_loss: "home-proxy-loss",
    home_vpn: "home-vpn",
    wifi_jitter: "wifi-jitter",
}

#[test]
fn every_capture_has_its_test() {
    let mut folders: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("capture.pcap").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, NAMES);
}
