//! What the user's own files say, as a user meets it: declared homes, tunnels with two ends, pseudonyms everywhere.
//!
//! Runs the built binary on the captures of this repository.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

use farmlight::protocol::IDENTITY_KEYS;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_farmlight");

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn home_proxy() -> PathBuf {
    captures().join("home-proxy/capture.pcap")
}

/// A folder with files in it, and what a run over it wrote to `out`.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `farmlight analyze`, with the site of the scenarios.
    fn run(&self, input: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("analyze").arg(input).args([
            "--site",
            "39.0438,-77.4874",
            "--internal",
            "192.0.2.0/24,2001:db8:c0::/48",
        ]);
        command.arg("--out").arg(self.0.path().join("out")).args(more).env_remove("FARMLIGHT_LOG").output().unwrap()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.0.path().join("out").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn endpoint(&self, ip: &str) -> Value {
        self.lines("endpoints.jsonl").into_iter().find(|line| line["ip"] == ip).unwrap_or(Value::Null)
    }
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Whoever signs on from the endpoint of the scenario, for the length of its capture.
const ALICE: &str = "time,address,identity,until\n2026-01-01T00:00:00Z,198.18.1.120,CORP\\Alice,2027-12-31T00:00:00Z\n";
const HOMES: &str = "identity,lat,lon,country,region,city\ncorp\\alice,41.2565,-95.9345,US,NE,Omaha\n";

#[test]
fn a_declared_home_is_the_place_that_round_trips_are_measured_against() {
    let desk = Desk::new();
    let identities = desk.file("who.csv", ALICE);
    let homes = desk.file("homes.csv", HOMES);
    let output = desk.run(&home_proxy(), &["--identities", &identities, "--homes", &homes]);
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let place = &desk.endpoint("198.18.1.120")["place"];
    assert_eq!((place["source"].as_str(), place["city"].as_str()), (Some("home"), Some("Omaha")), "{place}");
    assert!(stdout.contains("home     declared; no other source places the address"), "{stdout}");
    assert!(stdout.lines().all(|line| textwrap::core::display_width(line) <= 80), "{stdout}");
    let finding = &desk.lines("findings.jsonl")[0];
    assert_eq!(finding["endpoint"], "198.18.1.120");
    assert!(!finding["missing"].to_string().contains("place"), "{finding}");

    // A database that sees the address elsewhere is not believed more, and the distance is told.
    let geo = desk.file("geo.csv", "cidr,lat,lon,country,region,city,asn,org,kind\n198.18.0.0/15,47.6,-122.3,US,WA,Seattle,64497,isp,residential\n");
    let output = desk.run(&home_proxy(), &["--identities", &identities, "--homes", &homes, "--geo-csv", &geo]);
    let place = &desk.endpoint("198.18.1.120")["place"];
    assert_eq!((place["city"].as_str(), place["asn"].as_u64()), (Some("Omaha"), Some(64497)), "{place}");
    let km = place["home_km"].as_f64().unwrap();
    assert!((2_100.0..2_300.0).contains(&km), "{km}");
    assert!(said(&output).0.contains(&format!("declared; the address itself is placed {km:.0} km away from it")));

    // Nobody whom a server has accepted: the address's own place.
    let output = desk.run(&home_proxy(), &["--homes", &homes, "--geo-csv", &geo]);
    assert_eq!(output.status.code(), Some(0));
    let place = &desk.endpoint("198.18.1.120")["place"];
    assert_eq!((place["source"].as_str(), place["home_km"].as_f64()), (Some("geo-csv"), None), "{place}");
}

#[test]
fn a_declared_home_is_found_under_a_pseudonym_too() {
    let desk = Desk::new();
    let identities = desk.file("who.csv", &ALICE.replace("Alice", "alice").replace("CORP", "corp"));
    let (homes, key) = (desk.file("homes.csv", HOMES), desk.file("key", "0123456789abcdef0123456789abcdef"));
    let words = ["--identities", &identities, "--homes", &homes, "--hash-identities", &key];
    assert_eq!(desk.run(&home_proxy(), &words).status.code(), Some(0));
    let endpoint = desk.endpoint("198.18.1.120");
    assert_eq!(endpoint["place"]["source"], "home", "{endpoint}");
    assert!(endpoint["identities"][0].as_str().unwrap().starts_with("id:"), "{endpoint}");
}

#[test]
fn fifty_thousand_homes_are_no_burden_and_a_bad_line_is_named() {
    let desk = Desk::new();
    let mut rows = HOMES.to_owned();
    for n in 0..50_000 {
        writeln!(rows, "first.last.{n}@corp.example,{}.5,-95.9,US,,", n % 90).unwrap();
    }
    let identities = desk.file("who.csv", ALICE);
    let homes = desk.file("homes.csv", &rows);
    assert_eq!(desk.run(&home_proxy(), &["--identities", &identities, "--homes", &homes]).status.code(), Some(0));
    assert_eq!(desk.endpoint("198.18.1.120")["place"]["source"], "home");
    let homes = desk.file("homes.csv", &format!("{rows}mallory,north,0,,,\n"));
    let output = desk.run(&home_proxy(), &["--homes", &homes]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).1.contains("homes.csv:50003: lat: 'north' is not a number"), "{}", said(&output).1);
    for (option, file, expected) in [
        ("--homes", "lat,lon\n", "homes.csv:1: the header is 'lat,lon', not 'identity,lat,lon"),
        ("--homes", "identity,lat,lon\na,1\n", "homes.csv:2: row: has 2 fields, not 3"),
        ("--identities", "time,address,identity\nnow,198.51.100.7,a\n", "homes.csv:2: time: "),
    ] {
        let path = desk.file("homes.csv", file);
        let output = desk.run(&home_proxy(), &[option, &path]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(said(&output).1.contains(expected), "{}", said(&output).1);
    }
}

/// The address outside names those inside, and an address inside those outside.
#[test]
fn both_ends_of_a_tunnel_name_each_other() {
    let desk = Desk::new();
    let rows = "time,address,identity,until,inner\n\
                2026-01-01T00:00:00Z,198.18.1.120,alice,2026-06-01T00:00:00Z,10.8.0.5\n\
                2026-06-02T00:00:00Z,198.18.1.120,alice,2027-12-31T00:00:00Z,10.8.0.9\n";
    let identities = desk.file("who.csv", rows);
    assert_eq!(desk.run(&home_proxy(), &["--identities", &identities]).status.code(), Some(0));
    let tunnel = &desk.endpoint("198.18.1.120")["tunnel"];
    let inner: Vec<_> = tunnel["inner"].as_array().unwrap().iter().map(|leg| leg["ip"].as_str().unwrap()).collect();
    assert_eq!((inner, &tunnel["outer"]), (vec!["10.8.0.5", "10.8.0.9"], &Value::Null), "{tunnel}");
    assert_eq!(tunnel["inner"][0]["to"], "2026-06-01T00:00:00.000000000Z");
    // The same endpoint as somebody's inside.
    let identities =
        desk.file("who.csv", "time,address,identity,inner\n2026-01-01T00:00:00Z,203.0.113.9,alice,198.18.1.120\n");
    assert_eq!(desk.run(&home_proxy(), &["--identities", &identities]).status.code(), Some(0));
    let tunnel = &desk.endpoint("198.18.1.120")["tunnel"];
    assert_eq!(tunnel["outer"][0]["ip"], "203.0.113.9", "{tunnel}");
}

/// Fields that name a program or a server asked for: a program may be called as its machine is.
const SERVICES: [&str; 5] = ["application", "server_name", "tls.sni", "http.host", "dns.query"];

/// Every text in a record, wherever it stands, but for services.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(fields) => {
            fields.iter().filter(|(key, _)| !SERVICES.contains(&key.as_str())).for_each(|(_, field)| texts(field, out));
        }
        _ => {}
    }
}

const FILES: [&str; 4] = ["sessions.jsonl", "endpoints.jsonl", "findings.jsonl", "identities.jsonl"];

/// All captures of this repository, with somebody claimed at the scenario's endpoint: what is a name in the clear run is
/// in no field of any file of the hashed one.
#[test]
fn no_name_of_a_person_or_a_machine_comes_through_under_pseudonyms() {
    let desk = Desk::new();
    let identities = desk.file("who.csv", ALICE);
    let key = desk.file("key", "0123456789abcdef0123456789abcdef");
    assert!(desk.run(&captures(), &["--all", "--identities", &identities]).status.success());
    let mut names: Vec<String> = Vec::new();
    for line in desk.lines("identities.jsonl") {
        names.push(line["identity"].as_str().unwrap().to_owned());
    }
    for line in desk.lines("sessions.jsonl") {
        for (key, value) in line["attributes"].as_object().into_iter().flatten() {
            if IDENTITY_KEYS.contains(&key.as_str()) {
                names.push(value.as_str().unwrap().to_owned());
            }
        }
    }
    for line in desk.lines("endpoints.jsonl") {
        names.extend(line["name"].as_str().map(str::to_owned));
    }
    names.sort();
    names.dedup();
    // What Linux' PPTP calls itself at both ends is nobody's name.
    names.retain(|name| name != "local");
    assert!(names.len() > 20 && names.iter().any(|name| name == "CORP\\Alice"), "{names:?}");
    assert!(desk.run(&captures(), &["--all", "--identities", &identities, "--hash-identities", &key]).status.success());
    for file in FILES {
        let mut said = Vec::new();
        desk.lines(file).iter().for_each(|line| texts(line, &mut said));
        assert!(!said.is_empty(), "{file}");
        said.retain(|text| names.binary_search(text).is_ok());
        assert!(said.is_empty(), "{file} says {said:?}");
    }
}
