//! The program as a user meets it: what it takes, what it says, which exit code it gives, what it writes.
//!
//! Runs the built binary on the captures of this repository. Does not: need root or the network.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_farmlight");
const SITE: [&str; 4] = ["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn capture(name: &str) -> PathBuf {
    root().join("captures").join(name).join("capture.pcap")
}

fn geo_csv(name: &str) -> PathBuf {
    capture(name).with_file_name("geo.csv")
}

/// The names of the captures of this repository, sorted.
fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("capture.pcap").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

fn farmlight() -> Command {
    let mut command = Command::new(BINARY);
    command.env_remove("FARMLIGHT_LOG").env_remove("NO_COLOR").timeout(Duration::from_secs(60));
    command
}

/// `farmlight analyze` with these words.
fn analyze<I: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = I>) -> Output {
    farmlight().arg("analyze").args(words).output().unwrap()
}

/// `farmlight analyze` of a capture of this repository, knowing its places and the site.
fn analyze_own(name: &str, more: &[&str]) -> Output {
    let mut command = farmlight();
    command.arg("analyze").arg(capture(name)).args(SITE).arg("--geo-csv").arg(geo_csv(name)).args(more);
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn exits(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", stdout(output), stderr(output));
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A directory for `--out` and what a run put there.
struct Out(TempDir);

impl Out {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `analyze` of these inputs into here.
    fn run(&self, inputs: &[&Path]) -> Output {
        farmlight().arg("analyze").args(inputs).arg("--out").arg(self.path()).output().unwrap()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        lines(&self.path().join(name))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap()
    }

    fn summary(&self) -> Value {
        json(&self.path().join("summary.json"))
    }

    /// Writes a file beside the output.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// A capture up to the middle of its record number `record`, and where that record begins.
fn cut(name: &str, record: usize) -> (Vec<u8>, usize) {
    let mut bytes = fs::read(capture(name)).unwrap();
    let mut at = 24;
    for _ in 0..record {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 16 + length as usize;
    }
    bytes.truncate(at + 30);
    (bytes, at)
}

// What can be said wrong.

#[test]
fn wrong_usage_exits_with_2_and_names_the_place() {
    let good = capture("home-direct");
    let good = good.to_str().unwrap();
    let csv = Out::new();
    let row = "cidr,lat,lon,country,region,city,asn,org,kind\n192.0.2.0/24,39,-77,US,,,1,a,business\n198.18.0.0/15,939,-77,US,,,1,a,business\n";
    let row = csv.file("places.csv", row.as_bytes());
    let header = csv.file("header.csv", b"network,latitude\n192.0.2.0/24,39\n");
    let key = csv.file("key.toml", b"workers = 2\nsight = \"39,-77\"\n");
    let kind = csv.file("kind.toml", b"workers = \"many\"\n");
    let level = csv.file("level.toml", b"\nfail-on = \"dire\"\n");
    let file = csv.file("file", b"");
    let blocked = file.join("below");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let cases: &[(&[&str], &[&str])] = &[
        (&["analyze", "--frobnicate", good], &["--frobnicate"]),
        (&["analyze"], &["PCAP"]),
        (&["frobnicate"], &["frobnicate"]),
        (&["analyze", "--site", "north,west", good], &["--site", "north,west"]),
        (&["analyze", "--site", "91,0", good], &["--site", "latitude 91"]),
        (&["analyze", "--internal", "10.0.0.0/8,10.0.0.0/33", good], &["--internal", "10.0.0.0/33", "item 2"]),
        (&["analyze", "--vpn-pool", "pool", good], &["--vpn-pool", "pool"]),
        (&["analyze", "--geo-csv", &text(&row), good], &["places.csv:3:", "lat", "939"]),
        (&["analyze", "--geo-csv", &text(&header), good], &["header.csv:1:"]),
        (&["analyze", "--geo-csv", "/nowhere/places.csv", good], &["/nowhere/places.csv"]),
        (&["analyze", "--geo-city", &text(&row), good], &["places.csv"]),
        (&["analyze", "--workers", "0", good], &["--workers", "0"]),
        (&["analyze", "--workers", "65", good], &["--workers", "65"]),
        (&["analyze", "--workers", "many", good], &["--workers", "many"]),
        (&["analyze", "--config", &text(&key), good], &["key.toml", "line 2", "sight"]),
        (&["analyze", "--config", &text(&kind), good], &["kind.toml", "line 1", "workers"]),
        (&["analyze", "--config", &text(&level), good], &["level.toml", "line 2", "dire"]),
        (&["analyze", "--config", "/nowhere/farmlight.toml", good], &["/nowhere/farmlight.toml"]),
        (&["analyze", "--fail-on", "dire", good], &["--fail-on", "dire"]),
        (&["analyze", "--format", "xml", good], &["--format", "xml"]),
        (&["analyze", "--filter", "prot tcp", good], &["--filter", "prot tcp"]),
        (&["analyze", "--out", &text(&blocked), good], &["--out", "below"]),
        (&["simulate", "home-prxy", "-o", "/nowhere"], &["home-prxy", "home-proxy"]),
        (&["simulate", "home-proxy"], &["--out"]),
        (&["simulate", "home-proxy", "--operator", "Atlantis", "-o", "/nowhere"], &["Atlantis", "Shenyang"]),
        (&["simulate", "home-proxy", "--loss", "0.9", "-o", "/nowhere"], &["loss", "0.9", "0.2"]),
        (&["completions", "tish"], &["tish"]),
        (&["config"], &["check", "print"]),
        (&["config", "check"], &["FILE"]),
        (&["config", "check", "/nowhere/farmlight.toml"], &["/nowhere/farmlight.toml", "No such file"]),
        (&["config", "check", &text(&key)], &["key.toml", "line 2, column 1", "sight = \"39,-77\"", "'site'"]),
        (&["config", "print", "--config", &text(&kind)], &["kind.toml", "line 1, column 11", "^^^^^^"]),
        (&["config", "print", "--workers", "65"], &["--workers", "65"]),
        (&["analyze", "--sensor", "rome", good], &["--sensor", "rome"]),
        (&["analyze", "--gateway", "pool", good], &["--gateway", "pool"]),
        (&["explain", "--from", "/nowhere"], &["IP|FINDING-ID"]),
        (&["explain", "192.0.2.1"], &["--from"]),
        (&["explain", "192.0.2.1", "--from", "/nowhere", "--format", "jsonl"], &["--format", "jsonl"]),
        (&["slice", "192.0.2.1", "--from", "/nowhere", good], &["--out"]),
        (&["slice", "192.0.2.1", "--from", "/nowhere", "-o", "x.pcapng"], &["PCAP"]),
    ];
    for (words, named) in cases {
        let output = farmlight().args(*words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{words:?}: {}", stdout(&output));
        for name in *named {
            assert!(stderr(&output).contains(name), "{words:?} names no {name}:\n{}", stderr(&output));
        }
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn options_of_a_file_are_those_of_the_command_line() {
    let out = Out::new();
    let config = format!(
        "site = \"39.0438,-77.4874\"\ninternal = [\"192.0.2.0/24\", \"2001:db8:c0::/48\"]\ngeo-csv = {:?}\n\
         format = \"json\"\nfail-on = \"low\"\nall = true\n",
        geo_csv("home-proxy")
    );
    let config = out.file("farmlight.toml", config.as_bytes());
    let filed = farmlight().arg("analyze").arg(capture("home-proxy")).arg("--config").arg(&config).output().unwrap();
    exits(&filed, 3);
    let typed = analyze_own("home-proxy", &["--all", "--format", "json", "--fail-on", "low"]);
    let findings = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["findings"].clone();
    assert_eq!(findings(&filed), findings(&typed));
    assert_eq!(findings(&filed).as_array().unwrap().len(), 3);
}

#[test]
fn a_configuration_is_checked_whole_and_printed_as_one_that_gives_the_same() {
    let out = Out::new();
    let wrong = "workers = 65\nsight = 1\ngeo-city = \"/nowhere/city.mmdb\"\n\n[[allow]]\nallow = \"exit\"\n\
                 networks = [\"203.0.113.0/24\", \"x\"]\nreason = \"r\"\nowner = \"o\"\nexpires = \"2020-01-31\"\n";
    let path = out.file("wrong.toml", wrong.as_bytes());
    let output = farmlight().args(["config", "check"]).arg(&path).output().unwrap();
    exits(&output, 2);
    assert!(output.stdout.is_empty());
    for said in
        ["line 1, column 11", "line 2, column 1", "line 3, column 12", "line 7, column 31", "line 10, column 11"]
    {
        assert!(stderr(&output).contains(&format!("wrong.toml: {said}: ")), "{said}: {}", stderr(&output));
    }
    // A run tells what no run could use, and leaves the rest to those who need it.
    let output = farmlight().arg("analyze").arg(capture("home-direct")).arg("--config").arg(&path).output().unwrap();
    exits(&output, 2);
    assert!(stderr(&output).contains("line 7") && !stderr(&output).contains("line 10"), "{}", stderr(&output));

    let good = "site = \"39.0438,-77.4874\"\ninternal = [\"192.0.2.0/24\"]\n[policy]\nrelayed-from = 9.0\n";
    let path = out.file("good.toml", good.as_bytes());
    let output = farmlight().args(["config", "check"]).arg(&path).output().unwrap();
    exits(&output, 0);
    assert!(stdout(&output).contains("nothing is wrong"));
    let print = |path: &Path| {
        let output = farmlight().args(["config", "print", "--gateway", "198.51.100.1", "--config"]).arg(path).output();
        let output = output.unwrap();
        exits(&output, 0);
        stdout(&output).to_owned()
    };
    let printed = print(&path);
    for line in ["gateway = [\"198.51.100.1\"]", "relayed-from = 9.0", "# workers = 1", "# [[sensors]]"] {
        assert!(printed.lines().any(|l| l == line), "no {line}:\n{printed}");
    }
    let again = out.file("again.toml", printed.as_bytes());
    assert_eq!(print(&again), printed);
    exits(&farmlight().args(["config", "check"]).arg(&again).output().unwrap(), 0);
}

#[test]
fn a_site_decides_from_which_odds_on_it_wants_to_hear() {
    let out = Out::new();
    for (text, verdict) in [("", "relayed"), ("[policy]\nrelayed-from = 19.5\n", "insufficient")] {
        let path = out.file("policy.toml", text.as_bytes());
        let output = analyze_own("home-proxy", &["--all", "--format", "json", "--config", path.to_str().unwrap()]);
        let findings = serde_json::from_slice::<Value>(&output.stdout).unwrap()["findings"].clone();
        let of = findings.as_array().unwrap().iter().find(|f| f["endpoint"] == "198.18.1.120").unwrap();
        assert_eq!(of["verdict"], verdict, "{text}");
    }
}

#[test]
fn sensors_share_a_file_and_each_has_its_place() {
    let out = Out::new();
    let text = "internal = [\"192.0.2.0/24\"]\n[[sensors]]\nname = \"ashburn\"\nsite = \"39.0438,-77.4874\"\n\
                internal = [\"2001:db8:c0::/48\"]\n[[sensors]]\nname = \"sydney\"\nsite = \"-33.87,151.21\"\n";
    let path = out.file("sensors.toml", text.as_bytes());
    let at = |more: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = farmlight();
        command.arg("analyze").arg(capture("home-proxy")).arg("--geo-csv").arg(geo_csv("home-proxy")).args(more);
        exits(&command.arg("--out").arg(dir.path()).output().unwrap(), 0);
        lines(&dir.path().join("endpoints.jsonl"))
    };
    let config = path.to_str().unwrap();
    assert_eq!(at(&["--config", config, "--sensor", "ashburn"]), at(&SITE));
    let expected = |endpoints: &[Value]| endpoints[0]["ladder"][0]["expected_ms"].as_f64().unwrap();
    assert!(expected(&at(&["--config", config, "--sensor", "sydney"])) > 150.0);
    // What is typed wins.
    let typed = at(&["--config", config, "--sensor", "sydney", "--site", "39.0438,-77.4874"]);
    assert!(expected(&typed) < 100.0);
    let output = analyze(["--config", config, "--sensor", "rome", capture("home-direct").to_str().unwrap()]);
    exits(&output, 2);
    assert!(stderr(&output).contains("ashburn, sydney"), "{}", stderr(&output));
}

// What cannot be read.

#[test]
fn a_missing_file_is_told_and_named() {
    let out = Out::new();
    let missing = out.path().join("gone.pcap");
    let output = out.run(&[&missing]);
    exits(&output, 1);
    assert!(stderr(&output).contains("gone.pcap") && stderr(&output).contains("No such file"), "{}", stderr(&output));
    let input = &out.summary()["inputs"][0];
    assert_eq!(input["path"], missing.to_str().unwrap());
    assert!(input["error"]["reason"].as_str().unwrap().contains("No such file"), "{input}");
    assert_eq!(input["frames"], 0);
}

#[test]
fn what_came_before_a_cut_is_reported() {
    let (bytes, at) = cut("home-direct", 400);
    let out = Out::new();
    let path = out.file("cut.pcap", &bytes);
    let output = out.run(&[&path]);
    exits(&output, 1);
    let summary = out.summary();
    assert_eq!(summary["frames"]["read"], 400);
    let error = &summary["inputs"][0]["error"];
    assert_eq!(error["offset"], at, "{error}");
    assert!(error["reason"].as_str().unwrap().contains("ends within a frame"), "{error}");
    assert!(stderr(&output).contains(&at.to_string()) && stderr(&output).contains("cut.pcap"), "{}", stderr(&output));
    let sessions = out.lines("sessions.jsonl");
    assert!(sessions.len() >= 3, "{} sessions", sessions.len());
    assert_eq!(summary["sessions"], sessions.len());
    assert!(!out.lines("endpoints.jsonl").is_empty());

    // The same frames in a file that ends well give the same report.
    let whole = Out::new();
    let path = whole.file("whole.pcap", &bytes[..at]);
    exits(&whole.run(&[&path]), 0);
    assert_eq!(out.bytes("sessions.jsonl"), whole.bytes("sessions.jsonl"));
    assert_eq!(out.bytes("endpoints.jsonl"), whole.bytes("endpoints.jsonl"));
}

#[test]
fn a_broken_input_leaves_the_good_ones_alone() {
    let (bytes, _) = cut("home-direct", 0);
    let broken: [(&str, &[u8], &str); 4] = [
        ("text.pcap", b"Dear reader, this is no capture.\n", "neither pcap nor pcapng"),
        ("empty.pcap", b"", "empty"),
        ("header.pcap", &bytes[..20], "ends within"),
        ("record.pcap", &bytes, "ends within a frame"),
    ];
    let alone = Out::new();
    exits(&alone.run(&[&capture("home-proxy")]), 0);
    for (name, bytes, why) in broken {
        let out = Out::new();
        let path = out.file(name, bytes);
        exits(&out.run(&[&path]), 1);
        let both = Out::new();
        let output = both.run(&[&path, &capture("home-proxy")]);
        exits(&output, 1);
        let summary = both.summary();
        let reason = summary["inputs"][0]["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{name}: {reason}");
        assert!(summary["inputs"][0]["path"].as_str().unwrap().ends_with(name));
        assert!(summary["inputs"][1].get("error").is_none(), "{summary}");
        assert!(stderr(&output).contains(name) && stderr(&output).contains(why), "{}", stderr(&output));
        for file in ["sessions.jsonl", "endpoints.jsonl", "findings.jsonl"] {
            assert_eq!(both.bytes(file), alone.bytes(file), "{file} beside {name}");
        }
        assert!(stdout(&output).contains("1 of 2 inputs could not"), "{}", stdout(&output));
    }
}

// Ways in.

#[test]
fn standard_input_and_compressed_files_give_what_the_file_gives() {
    let plain = fs::read(capture("home-proxy")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    let file = Out::new();
    exits(&file.run(&[&capture("home-proxy")]), 0);
    let same = |out: &Out, how: &str| {
        for name in ["sessions.jsonl", "endpoints.jsonl", "findings.jsonl"] {
            assert!(out.bytes(name) == file.bytes(name), "{name} differs, {how}");
        }
        assert!(!file.bytes("sessions.jsonl").is_empty());
    };
    for (how, bytes) in [("plain", &plain), ("gzip", &gzip), ("zstd", &zstd)] {
        let out = Out::new();
        let path = out.file(how, bytes);
        exits(&out.run(&[&path]), 0);
        same(&out, how);
        let piped = Out::new();
        let output =
            farmlight().args(["analyze", "-", "--out"]).arg(piped.path()).write_stdin(bytes.clone()).output().unwrap();
        exits(&output, 0);
        same(&piped, &format!("{how} through a pipe"));
        let redirected = Out::new();
        let output = std::process::Command::new(BINARY)
            .args(["analyze", "-", "--out"])
            .arg(redirected.path())
            .stdin(fs::File::open(&path).unwrap())
            .output()
            .unwrap();
        exits(&output, 0);
        same(&redirected, &format!("{how} as standard input"));
    }
}

#[test]
fn a_directory_gives_all_captures_in_it_merged() {
    let out = Out::new();
    let inputs = tempfile::tempdir().unwrap();
    fs::create_dir(inputs.path().join("b")).unwrap();
    let (one, two) = (inputs.path().join("b/one.pcap"), inputs.path().join("two.pcap"));
    fs::copy(capture("home-proxy"), &one).unwrap();
    fs::copy(capture("home-proxy-loss"), &two).unwrap();
    fs::write(inputs.path().join("notes.txt"), "not a capture").unwrap();
    exits(&out.run(&[inputs.path()]), 0);
    let summary = out.summary();
    assert_eq!(summary["inputs"].as_array().unwrap().len(), 2);
    let named = Out::new();
    exits(&named.run(&[&one, &two]), 0);
    assert_eq!(out.bytes("sessions.jsonl"), named.bytes("sessions.jsonl"));
    let times: Vec<String> =
        out.lines("sessions.jsonl").iter().map(|s| s["start"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_filter_leaves_frames_out() {
    let out = Out::new();
    let output = farmlight()
        .arg("analyze")
        .arg(capture("home-direct"))
        .args(["--filter", "tcp port 22", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    exits(&output, 0);
    let sessions = out.lines("sessions.jsonl");
    assert!(!sessions.is_empty());
    assert!(sessions.iter().all(|s| s["protocol"] == "ssh"), "{sessions:?}");
}

// Ways out.

#[test]
fn standard_output_carries_results_only() {
    for more in [&[][..], &["-vv"], &["--quiet"]] {
        let words: Vec<&str> = ["--all", "--format", "jsonl"].iter().chain(more).copied().collect();
        let output = analyze_own("home-proxy", &words);
        exits(&output, 0);
        let records: Vec<Value> =
            stdout(&output).lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect();
        let kinds: Vec<&str> = records.iter().map(|r| r["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["finding", "finding", "finding", "summary"]);

        let words: Vec<&str> = ["--format", "json"].iter().chain(more).copied().collect();
        let output = analyze_own("home-proxy", &words);
        let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(whole["findings"].as_array().unwrap().len(), 1);
        assert_eq!(whole["summary"]["type"], "summary");
    }
    let loud = analyze_own("home-proxy", &["-vv"]);
    assert!(stderr(&loud).contains("read"), "-vv says nothing: {}", stderr(&loud));
    for quiet in [analyze_own("home-proxy", &[]), analyze_own("home-proxy", &["--quiet"])] {
        assert!(quiet.stderr.is_empty(), "{}", stderr(&quiet));
        assert!(stdout(&quiet).starts_with("RELAYED"));
    }
    let (bytes, _) = cut("home-proxy", 100);
    let out = Out::new();
    let path = out.file("cut.pcap", &bytes);
    let output = analyze([path.to_str().unwrap(), "--format", "jsonl", "-vv"]);
    exits(&output, 1);
    for line in stdout(&output).lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn the_files_of_a_run_are_there_and_add_up() {
    for name in names() {
        let out = Out::new();
        let path = out.path().join("new/folder");
        let output = analyze_own(&name, &["--all", "--out", path.to_str().unwrap()]);
        exits(&output, 0);
        let of = |file: &str, kind: &str| {
            let records = lines(&path.join(file));
            assert!(records.iter().all(|r| r["type"] == kind && r["schema"] == 1), "{name}: {file}");
            records
        };
        let (sessions, endpoints, findings) =
            (of("sessions.jsonl", "session"), of("endpoints.jsonl", "endpoint"), of("findings.jsonl", "finding"));
        let summary = json(&path.join("summary.json"));
        assert_eq!(summary["sessions"], sessions.len(), "{name}");
        let told = |r: &&Value| {
            let kinds = ["remote-desktop", "remote-shell", "kvm", "vpn", "proxy", "conferencing"];
            kinds.iter().any(|kind| r["category"] == *kind) && r["confidence"] != "port-only"
        };
        let recognised: u64 =
            summary["recognised"].as_array().unwrap().iter().map(|kind| kind["sessions"].as_u64().unwrap()).sum();
        assert_eq!(recognised, sessions.iter().filter(told).count() as u64, "{name}");
        assert_eq!(summary["endpoints"], endpoints.len(), "{name}");
        assert_eq!(findings.len(), endpoints.len(), "{name}: --all tells of every endpoint");
        let frames = &summary["frames"];
        let left: u64 = frames["not_understood"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(frames["read"].as_u64().unwrap(), frames["decoded"].as_u64().unwrap() + left, "{name}: {frames}");
        assert_eq!(frames["read"], summary["inputs"][0]["frames"], "{name}");
        let mut here: Vec<_> = fs::read_dir(&path).unwrap().map(|f| f.unwrap().file_name()).collect();
        here.sort();
        let files = ["endpoints.jsonl", "findings.jsonl", "identities.jsonl", "sessions.jsonl", "summary.json"];
        assert_eq!(here, files, "{name}: something else was left behind");
    }
}

#[test]
fn no_line_of_the_table_is_longer_than_80_columns() {
    for name in names() {
        let output = analyze_own(&name, &["--all"]);
        exits(&output, 0);
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{name}: {}: {line}", line.chars().count());
            assert_eq!(line, line.trim_end(), "{name}: blanks at the end of a line");
        }
    }
    // A long name of an owner, and a long address.
    let out = Out::new();
    let organisation = "Consolidated Rural Electric and Telephone Cooperative of the Upper Missouri Valley, Inc.";
    let csv = fs::read_to_string(geo_csv("home-proxy")).unwrap().replace("cable-isp", &format!("\"{organisation}\""));
    let path = out.file("geo.csv", csv.as_bytes());
    let output = farmlight().arg("analyze").arg(capture("home-proxy")).arg("--geo-csv").arg(path).arg("--all").output();
    let output = output.unwrap();
    let text = stdout(&output);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains(organisation), "{text}");
}

#[test]
fn fail_on_turns_a_finding_into_an_exit_code() {
    exits(&analyze_own("home-proxy", &["--fail-on", "low"]), 3);
    exits(&analyze_own("home-proxy", &["--fail-on", "info"]), 3);
    exits(&analyze_own("home-direct", &["--fail-on", "low"]), 0);
    exits(&analyze_own("home-direct", &["--fail-on", "info", "--all"]), 0);
    let finding: Value = serde_json::from_slice(&analyze_own("home-proxy", &["--format", "json"]).stdout).unwrap();
    let severity = finding["findings"][0]["severity"].as_str().unwrap();
    exits(&analyze_own("home-proxy", &["--fail-on", severity]), 3);
    exits(&analyze_own("home-proxy", &["--fail-on", "critical"]), if severity == "critical" { 3 } else { 0 });
}

#[test]
fn a_closed_pipe_is_no_error_and_hides_no_exit_code() {
    for (more, code) in [(&["--all"][..], 0), (&["--all", "--fail-on", "low"], 3), (&["--format", "json"], 0)] {
        let out = Out::new();
        let mut child = std::process::Command::new(BINARY)
            .arg("analyze")
            .arg(capture("home-proxy"))
            .args(SITE)
            .arg("--geo-csv")
            .arg(geo_csv("home-proxy"))
            .args(more)
            .arg("--out")
            .arg(out.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        exits(&output, code);
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        assert_eq!(out.summary()["findings"], 1);
    }
    for words in [
        &["completions", "bash"][..],
        &["man"],
        &["simulate", "list"],
        &["config", "print"],
        &["--help"],
        &["watch", "-i", "list"],
    ] {
        let mut child = std::process::Command::new(BINARY)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        exits(&output, 0);
        assert!(output.stderr.is_empty(), "{words:?}: {}", stderr(&output));
    }
}

// Signals.

#[expect(clippy::disallowed_methods, reason = "measures how long a program takes to end")]
fn now() -> Instant {
    Instant::now()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end: how long it took, and the exit code.
    fn end(&mut self) -> (Duration, Option<i32>) {
        let began = now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return (began.elapsed(), status.code());
            }
            assert!(began.elapsed() < Duration::from_secs(20), "still running 20 s after the signal");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ctrl_c_ends_a_silent_standard_input_and_reports_what_was_read() {
    let (bytes, at) = cut("home-direct", 400);
    for (signal, bytes, frames) in [("INT", &bytes[..at], 400), ("TERM", &bytes[..], 400), ("INT", &[], 0)] {
        let out = Out::new();
        let child = std::process::Command::new(BINARY)
            .args(["analyze", "-", "--out"])
            .arg(out.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let mut stdin = running.0.stdin.take().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
        std::thread::sleep(Duration::from_millis(1_000));
        assert!(running.0.try_wait().unwrap().is_none(), "ended by itself: {}", running.said());
        running.signal(signal);
        let (took, code) = running.end();
        println!("SIG{signal} after {} bytes: {took:?}", bytes.len());
        assert!(took < Duration::from_secs(10), "{took:?}");
        let said = running.said();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        assert_eq!(out.summary()["frames"]["read"], frames);
        assert_eq!(out.lines("sessions.jsonl").is_empty(), frames == 0);
        drop(stdin);
    }
}

// The other commands.

#[test]
fn completions_the_manual_page_and_help_print_something() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = farmlight().args(["completions", shell]).output().unwrap();
        exits(&output, 0);
        assert!(stdout(&output).contains("geo-csv") && output.stderr.is_empty(), "{shell}");
    }
    let man = farmlight().arg("man").output().unwrap();
    exits(&man, 0);
    assert!(stdout(&man).contains(".TH farmlight"), "{}", stdout(&man));
    for words in [
        &["--help"][..],
        &["analyze", "--help"],
        &["watch", "--help"],
        &["simulate", "--help"],
        &["explain", "--help"],
        &["slice", "--help"],
    ] {
        let output = farmlight().args(words).output().unwrap();
        exits(&output, 0);
        for line in stdout(&output).lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line}");
        }
    }
    let version = farmlight().arg("--version").output().unwrap();
    assert_eq!(stdout(&version), format!("farmlight {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_simulated_relay_is_found_with_the_files_that_simulate_wrote() {
    let list = farmlight().args(["simulate", "list"]).output().unwrap();
    exits(&list, 0);
    for scenario in farmlight::simulate::SCENARIOS {
        assert!(stdout(&list).lines().any(|l| l.split_whitespace().next() == Some(scenario.name)), "{}", scenario.name);
    }
    let dir = tempfile::tempdir().unwrap();
    let made = farmlight().args(["simulate", "home-proxy", "--seed", "3", "-o"]).arg(dir.path()).output().unwrap();
    exits(&made, 0);
    let output = farmlight()
        .arg("analyze")
        .arg(dir.path().join("capture.pcap"))
        .arg("--geo-csv")
        .arg(dir.path().join("geo.csv"))
        .args(SITE)
        .args(["--format", "json"])
        .output()
        .unwrap();
    exits(&output, 0);
    let truth = json(&dir.path().join("truth.json"));
    let findings = serde_json::from_slice::<Value>(&output.stdout).unwrap()["findings"].clone();
    let found: Vec<_> = findings.as_array().unwrap().iter().map(|f| (&f["endpoint"], &f["verdict"])).collect();
    assert_eq!(found, [(&truth["endpoint_ip"], &Value::from("relayed"))]);
}

/// The configuration of the next test: `{day}` is the traveller's last day.
const ALLOW: &str = r#"
[[allow]]
allow = "traveller"
identities = ["alice"]
reason = "conference, ticket 4711"
owner = "hr@example.com"
expires = "{day}"

[[allow]]
allow = "exit"
networks = ["203.0.113.0/24"]
reason = "security gateway"
owner = "net@example.com"
expires = "2027-01-31"

[[allow]]
allow = "tool"
tools = ["ssh"]
networks = ["198.18.7.0/24"]
reason = "build hosts"
owner = "it@example.com"
expires = "2027-01-31"
"#;

#[test]
fn what_is_allowed_is_recorded_and_not_raised() {
    let out = Out::new();
    let who = out.file(
        "who.csv",
        b"time,address,identity,until\n2026-03-02T14:00:00Z,198.18.1.120,alice,2026-03-02T18:00:00Z\n",
    );
    let run = |day: &str, more: &[&str]| {
        let config = out.file("farmlight.toml", ALLOW.replace("{day}", day).as_bytes());
        let path = out.path().join(day);
        let mut words = vec!["--config", config.to_str().unwrap(), "--identities", who.to_str().unwrap()];
        words.extend(["--fail-on", "low", "--out", path.to_str().unwrap()]);
        words.extend(more);
        (analyze_own("home-proxy", &words), path)
    };
    let (output, path) = run("2026-03-02", &[]);
    exits(&output, 0);
    let finding = &lines(&path.join("findings.jsonl"))[0];
    assert_eq!(finding["suppressed"]["reason"], "conference, ticket 4711");
    assert_eq!(finding["identities"], serde_json::json!(["alice"]));
    let summary = json(&path.join("summary.json"));
    assert_eq!((&summary["suppressed"], &summary["findings"]), (&Value::from(1), &Value::from(0)));
    assert_eq!(summary["allow"][0]["state"], "unused");
    let allowed = lines(&path.join("sessions.jsonl")).iter().filter(|s| s["allowed"] == "build hosts").count();
    assert_eq!(allowed, 1);
    assert!(stdout(&output).contains("1 finding suppressed by the allow-list"), "{}", stdout(&output));
    // A day too late: the finding is raised, and the entry told as expired.
    let (output, path) = run("2026-03-01", &[]);
    exits(&output, 3);
    assert_eq!(json(&path.join("summary.json"))["allow"][0]["state"], "expired");
    // Under pseudonyms the entry counts as well, and nobody's name is in any file.
    let key = out.file("key", &[7; 32]);
    let (output, path) = run("2026-03-03", &["--hash-identities", key.to_str().unwrap()]);
    exits(&output, 0);
    for file in fs::read_dir(&path).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        // The configuration in effect names it, as the user wrote it.
        let text = text.split("\"config\"").next().unwrap();
        assert!(!text.contains("alice"), "{text}");
    }
}

#[test]
fn every_command_line_of_the_manifest_gives_its_capture() {
    let manifest = fs::read_to_string(root().join("captures/MANIFEST.tsv")).unwrap();
    let mut lines = manifest.lines();
    let column = lines.next().unwrap().split('\t').position(|name| name == "command").unwrap();
    let mut made = 0;
    for line in lines {
        let command = line.split('\t').nth(column).unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        let [program, options @ .., out, kept] = &words[..] else { panic!("{command}") };
        assert_eq!((*program, *out), ("farmlight", "-o"), "{command}");
        let fresh = tempfile::tempdir().unwrap();
        let output = farmlight().args(options).arg("-o").arg(fresh.path()).output().unwrap();
        exits(&output, 0);
        for file in ["capture.pcap", "truth.json", "geo.csv"] {
            let (fresh, kept) = (fs::read(fresh.path().join(file)), fs::read(root().join(kept).join(file)));
            assert!(fresh.unwrap() == kept.unwrap(), "{command}: {file} differs");
        }
        made += 1;
    }
    assert_eq!(made, names().len());
}

#[test]
fn every_option_of_the_simulator_is_an_option_of_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let options = "--seed 5 --home Phoenix --operator Dandong --last-mile-ms 6.5 --last-mile-jitter-ms 1.25 \
                   --hidden-rtt-ms 222 --hidden-jitter-ms 3.5 --loss 0.01 --sessions 4 --bystanders 1 \
                   --duration-s 700 --start-unix 1700000000 --access dsl --vantage a --laptops 2";
    let words: Vec<&str> = options.split_whitespace().collect();
    let output = farmlight().args(["simulate", "home-proxy"]).args(&words).arg("-o").arg(dir.path()).output().unwrap();
    exits(&output, 0);
    let expected = farmlight::simulate::Options {
        seed: 5,
        home: Some("Phoenix".into()),
        operator: Some("Dandong".into()),
        last_mile_ms: Some(6.5),
        last_mile_jitter_ms: Some(1.25),
        hidden_rtt_ms: Some(222.0),
        hidden_jitter_ms: Some(3.5),
        loss: Some(0.01),
        sessions: Some(4),
        bystanders: Some(1),
        duration: Some(Duration::from_secs(700)),
        start: farmlight::base::Timestamp::from_parts(1_700_000_000, 0),
        access: Some(farmlight::simulate::Access::Dsl),
        vantage: Some(farmlight::simulate::Vantage::Outside),
        laptops: Some(2),
        ..farmlight::simulate::Options::default()
    };
    let outcome = farmlight::simulate::run("home-proxy", &expected).unwrap();
    let wanted = tempfile::tempdir().unwrap();
    farmlight::simulate::write(&outcome, wanted.path()).unwrap();
    for file in ["capture.pcap", "truth.json", "geo.csv"] {
        let (made, wanted) = (fs::read(dir.path().join(file)), fs::read(wanted.path().join(file)));
        assert!(made.unwrap() == wanted.unwrap(), "{file}");
    }
}
