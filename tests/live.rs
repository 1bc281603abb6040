//! `farmlight watch` on a link of its own: a network namespace with a pair of virtual interfaces, frames sent into
//! one end and watched on the other.
//!
//! Needs root and `ip`; says so and passes where they are not. Namespaces go when the test ends, failed or not.
//! Does not: touch any interface that was there before.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops by panicking")]
#![allow(clippy::print_stdout, reason = "says what is skipped and how long things took")]

use farmlight::evidence::{BaselineOrigin, DayMeasured, Learner, Line, Measured};
use farmlight::intel::Kind;
use farmlight::simulate::{self, Options};
use pcap::{Capture, Device};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_farmlight");
/// Set in the copy of this test that sends from inside the namespace.
const SENDER: &str = "FARMLIGHT_TEST_SENDS";
const WATCHED: &str = "flwatch0";
const SENDING: &str = "flsend0";
/// How many milliseconds a pause of the replay lasts at most.
const LONGEST_PAUSE: &str = "FARMLIGHT_TEST_PAUSE_MS";
const KNOWN: [&str; 4] = ["--site", "39.0438,-77.4874", "--internal", "192.0.2.0/24,2001:db8:c0::/48"];

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name).join("capture.pcap")
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(words).output().map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A namespace with two interfaces tied together; it goes when this is dropped.
struct Namespace(String);

impl Namespace {
    /// `None`, with the reason printed, where such a thing can't be made.
    fn new(name: &str) -> Option<Self> {
        let name = format!("farmlight-{name}-{}", std::process::id());
        if let Err(why) = ip(&["netns", "add", &name]) {
            println!("skipped: {why}");
            return None;
        }
        let made = Self(name);
        let inside = ["-n", made.0.as_str()];
        let steps: [&[&str]; 4] = [
            &["link", "add", WATCHED, "type", "veth", "peer", "name", SENDING],
            // No addresses of its own, so that nothing but the replay is on the link.
            &["link", "set", WATCHED, "addrgenmode", "none"],
            &["link", "set", SENDING, "addrgenmode", "none"],
            &["link", "set", WATCHED, "up"],
        ];
        for step in steps.into_iter().chain([&["link", "set", SENDING, "up"][..]]) {
            if let Err(why) = ip(&[&inside[..], step].concat()) {
                println!("skipped: {why}");
                return None;
            }
        }
        Some(made)
    }

    /// A command inside.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]).env_remove("FARMLIGHT_LOG");
        command
    }

    /// Starts a watch and waits until it listens.
    fn watch(&self, words: &[&str], out: &Path) -> Watch {
        let mut child = self
            .command(BINARY)
            .args(["watch", "-i", WATCHED, "--format", "jsonl", "--all", "--out"])
            .arg(out)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("watching"), "{line}");
        Watch { child, stderr }
    }

    /// Sends a capture into the far end. Another process, as only a whole process can be put into a namespace.
    /// Pauses longer than `pause` are cut to it.
    fn replay(&self, path: &Path, pause: Duration) {
        let myself = std::env::current_exe().unwrap();
        let output = self
            .command(myself.to_str().unwrap())
            .args(["--exact", "sends_what_it_is_told_to", "--ignored", "--nocapture"])
            .env(SENDER, path)
            .env(LONGEST_PAUSE, pause.as_millis().to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its interfaces go with it.
        let _ = ip(&["netns", "delete", &self.0]);
    }
}

/// A running watch that does not outlive its test.
struct Watch {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Watch {
    /// `ip netns exec` becomes the program, so its process is the program's.
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end: how long that took, the exit code, and the records on standard output.
    fn end(mut self, within: Duration) -> (Duration, Option<i32>, Vec<Value>) {
        let began = now();
        let mut stdout = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < within, "still running after {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(said.is_empty(), "{said}");
        let text = reader.join().unwrap();
        let records = text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect();
        (took, status.code(), records)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "measures how long a program takes to end")]
fn now() -> Instant {
    Instant::now()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// What does not depend on the pace: who, with whom, what, and how much, by Community ID.
fn essentials(sessions: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut session in lines(sessions) {
        let record = session.as_object_mut().unwrap();
        for timed in ["id", "start", "end", "rtt", "hello_lag_ms", "server_name"] {
            record.remove(timed);
        }
        // How fast a clock ticks shows in time.
        for end in ["client", "server"] {
            record.get_mut(end).and_then(Value::as_object_mut).map(|end| end.remove("clock_hz"));
        }
        // What a flow was used for shows in its pauses.
        if let Some(attributes) = record.get_mut("attributes").and_then(Value::as_object_mut) {
            attributes.remove("ssh.behaviour");
        }
        // A clock is measured over the time that passed.
        for end in ["client", "server"] {
            record.get_mut(end).and_then(Value::as_object_mut).and_then(|end| end.remove("clock_hz"));
        }
        let id = record["community_id"].as_str().unwrap().to_owned();
        all.entry(id).or_default().push(session);
    }
    all
}

/// Run by [`Namespace::replay`] inside the namespace: sends the capture named by the environment.
#[test]
#[ignore = "the sending half of the others"]
fn sends_what_it_is_told_to() {
    let Some(path) = std::env::var_os(SENDER) else { return };
    let longest = Duration::from_millis(std::env::var(LONGEST_PAUSE).unwrap().parse().unwrap());
    let mut link = Capture::from_device(Device::from(SENDING)).unwrap().open().unwrap();
    let mut file = Capture::from_file(path).unwrap();
    let began = now();
    let (mut due, mut before) = (Duration::ZERO, None);
    while let Ok(packet) = file.next_packet() {
        let at = Duration::from_secs(packet.header.ts.tv_sec.unsigned_abs())
            + Duration::from_micros(packet.header.ts.tv_usec.unsigned_abs());
        due += before.map_or(Duration::ZERO, |before| at.saturating_sub(before)).min(longest);
        before = Some(at);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        link.sendpacket(packet.data).unwrap();
    }
}

/// A capture watched while it is sent, and read from its file: two output directories and the records of the watch.
struct Both {
    live: tempfile::TempDir,
    file: tempfile::TempDir,
    records: Vec<Value>,
}

impl Both {
    fn of(namespace: &Namespace, path: &Path, pause: Duration) -> Self {
        let (live, file) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let geo = path.with_file_name("geo.csv");
        let known = [&["--geo-csv", geo.to_str().unwrap()][..], &KNOWN].concat();
        let watch = namespace.watch(&known, live.path());
        namespace.replay(path, pause);
        // Longer than the kernel may hold the last frames back.
        std::thread::sleep(Duration::from_millis(500));
        watch.signal("INT");
        let (took, code, records) = watch.end(Duration::from_secs(20));
        println!("ended {took:?} after the signal");
        assert_eq!(code, Some(0));
        let mut read = Command::new(BINARY);
        read.arg("analyze").arg(path).args(known).args(["--quiet", "--all", "--out"]).arg(file.path());
        assert!(read.stdout(Stdio::null()).status().unwrap().success());
        Self { live, file, records }
    }

    /// The same sessions, whatever the pace; nothing lost; the counts agree. Gives the number of sessions.
    #[track_caller]
    fn agree(&self) -> usize {
        let of = |dir: &tempfile::TempDir| essentials(&dir.path().join("sessions.jsonl"));
        let (watched, read) = (of(&self.live), of(&self.file));
        assert_eq!(watched.keys().collect::<Vec<_>>(), read.keys().collect::<Vec<_>>());
        for (id, sessions) in &read {
            assert_eq!(&watched[id], sessions, "{id}");
        }
        let summary = self.records.last().unwrap();
        assert_eq!(summary["type"], "summary");
        let of = |dir: &tempfile::TempDir| -> Value {
            serde_json::from_slice(&fs::read(dir.path().join("summary.json")).unwrap()).unwrap()
        };
        assert_eq!(*summary, of(&self.live));
        assert_eq!(summary["dropped"]["kernel"], 0, "{summary}");
        assert_eq!(summary["inputs"][0]["path"], WATCHED);
        assert_eq!(summary["frames"], of(&self.file)["frames"]);
        assert_eq!(ips(&self.live), ips(&self.file));
        read.len()
    }
}

fn ips(dir: &tempfile::TempDir) -> BTreeSet<String> {
    lines(&dir.path().join("endpoints.jsonl")).iter().map(|e| e["ip"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_capture_sent_quickly_gives_the_sessions_of_its_file() {
    let Some(namespace) = Namespace::new("quick") else { return };
    for name in ["home-proxy", "exit-vpn"] {
        // Half an hour of pauses becomes seconds; round trips are cut as well, and not compared.
        let both = Both::of(&namespace, &capture(name), Duration::from_millis(8));
        let sessions = both.agree();
        println!("{name}: {sessions} sessions");
        assert!(sessions >= 2);
    }
}

#[test]
fn a_relay_sent_in_its_own_time_is_found_as_in_its_file() {
    let Some(namespace) = Namespace::new("paced") else { return };
    let options = Options {
        seed: 7,
        sessions: Some(8),
        bystanders: Some(1),
        duration: Some(Duration::from_secs(6)),
        ..Options::default()
    };
    let mut outcome = simulate::run("home-proxy", &options).unwrap();
    let end = outcome.frames[0].0.plus(Duration::from_secs(9));
    outcome.frames.retain(|(at, _)| *at < end);
    let folder = tempfile::tempdir().unwrap();
    simulate::write(&outcome, folder.path()).unwrap();
    let both = Both::of(&namespace, &folder.path().join("capture.pcap"), Duration::from_secs(3_600));
    let sessions = both.agree();
    assert!(sessions >= 8, "{sessions}");

    let relay = outcome.truth.subject.endpoint_ip.to_string();
    let of = |dir: &tempfile::TempDir| {
        let all = lines(&dir.path().join("findings.jsonl"));
        all.into_iter().find(|f| f["endpoint"] == relay.as_str()).unwrap_or_else(|| panic!("nothing on {relay}"))
    };
    let (watched, read) = (of(&both.live), of(&both.file));
    println!("watched: {} ms, score {}", watched["hidden_leg_ms"], watched["score"]);
    println!("read:    {} ms, score {}", read["hidden_leg_ms"], read["score"]);
    for finding in [&watched, &read] {
        assert_eq!((&finding["verdict"], &finding["hypothesis"]), (&"relayed".into(), &"home-proxy".into()));
    }
    let leg = |finding: &Value| finding["hidden_leg_ms"].as_f64().unwrap();
    assert!((leg(&watched) - leg(&read)).abs() < 25.0, "{} and {} ms", leg(&watched), leg(&read));
    // It was told while the watch went on, not only at the end.
    let told: Vec<_> =
        both.records.iter().filter(|r| r["type"] == "finding" && r["endpoint"] == relay.as_str()).collect();
    assert_eq!(told.last().unwrap()["hypothesis"], "home-proxy");
    let honest = ips(&both.live).into_iter().find(|ip| *ip != relay).unwrap();
    assert!(!both.records.iter().any(|r| r["endpoint"] == honest.as_str() && r["verdict"] == "relayed"));
}

/// What a watch kept, the next one judges on, although it is another source; and who kills the first loses little.
#[test]
fn a_watch_judges_on_what_the_one_before_it_kept() {
    let Some(namespace) = Namespace::new("state") else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let words: Vec<&str> = KNOWN.into_iter().chain(["--state", state.to_str().unwrap()]).collect();
    let endpoints = |out: &tempfile::TempDir| lines(&out.path().join("endpoints.jsonl"));
    let mut sessions = Vec::new();
    for round in 0..2 {
        let out = tempfile::tempdir().unwrap();
        let watch = namespace.watch(&words, out.path());
        namespace.replay(&capture("home-proxy"), Duration::from_millis(8));
        std::thread::sleep(Duration::from_millis(500));
        watch.signal("INT");
        assert_eq!(watch.end(Duration::from_secs(20)).1, Some(0));
        let told = endpoints(&out);
        assert!(!told.is_empty() && told.iter().all(|endpoint| endpoint.get("history").is_some() == (round == 1)));
        sessions.push(told.iter().map(|endpoint| endpoint["sessions"].as_u64().unwrap()).sum::<u64>());
    }
    assert_eq!(sessions[1], 2 * sessions[0]);
}

#[test]
fn ctrl_c_on_a_quiet_link_ends_with_a_full_report() {
    let Some(namespace) = Namespace::new("quiet") else { return };
    for signal in ["INT", "TERM"] {
        let out = tempfile::tempdir().unwrap();
        let watch = namespace.watch(&KNOWN, out.path());
        std::thread::sleep(Duration::from_millis(700));
        watch.signal(signal);
        let (took, code, records) = watch.end(Duration::from_secs(10));
        println!("SIG{signal}: ended after {took:?}");
        assert_eq!(code, Some(0));
        let summary = records.last().unwrap();
        assert_eq!((records.len(), &summary["type"]), (1, &"summary".into()));
        assert_eq!(summary["dropped"]["kernel"], 0, "{summary}");
        assert_eq!((&summary["frames"]["read"], &summary["endpoints"]), (&0.into(), &0.into()));
        for name in ["sessions", "endpoints", "findings"] {
            assert!(lines(&out.path().join(format!("{name}.jsonl"))).is_empty());
        }
    }
}

/// The bytes of a baseline of a site whose lines take so much longer than their places allow.
fn baseline(excess_ms: f64) -> String {
    let mut learner = Learner::default();
    learner.source();
    for last in 0..80u8 {
        let excess = excess_ms + f64::from(last % 9) - 4.0;
        let days = vec![DayMeasured { day: 20_000, excess: Some((9, excess)), gap: None }];
        let measured = Measured { days, ..Measured::default() };
        let endpoint = [198, 51, 100, last].into();
        learner.add(Line { endpoint, kind: Kind::Unknown, asn: None, distant: false, raised: false, measured });
    }
    String::from_utf8(learner.finish(BaselineOrigin::default()).unwrap().to_bytes().unwrap()).unwrap()
}

/// Homes, identities, a baseline and the allow-list change while the watch runs: what is broken is told and not used, what is sound
/// is used from then on, whether somebody asks (SIGHUP) or not.
#[test]
fn files_are_read_again_when_they_change_and_when_somebody_asks() {
    let Some(namespace) = Namespace::new("reload") else { return };
    let desk = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = desk.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let somebody = "time,address,identity,until\n2000-01-01T00:00:00Z,203.0.113.200,zoe,2200-01-01T00:00:00Z\n";
    let (who, homes) =
        (file("who.csv", somebody), file("homes.csv", "identity,lat,lon,city\nalice,41.3,-95.9,Omaha\n"));
    let (config, usual) = (file("farmlight.toml", "retention = 30\n"), file("baseline", &baseline(0.0)));
    let out = tempfile::tempdir().unwrap();
    let words = ["--identities", &who, "--homes", &homes, "--config", &config, "--baseline", &usual];
    let mut watch = namespace.watch(&[&KNOWN[..], &words].concat(), out.path());
    let mut told = || {
        let mut line = String::new();
        watch.stderr.read_line(&mut line).unwrap();
        line
    };

    file("homes.csv", "identity,lat,lon,city\nalice,north,-95.9,Omaha\n");
    let line = told();
    assert!(line.contains("homes.csv:2: lat: 'north' is not a number; what was read before stays in use"), "{line}");
    file("baseline", &baseline(40.0)[..200]);
    let line = told();
    assert!(line.contains("--baseline") && line.contains("what was read before stays in use"), "{line}");
    file("farmlight.toml", "retention = 30\n[[allow]]\nallow = \"everything\"\n");
    let line = told();
    assert!(line.contains("--config") && line.contains("farmlight.toml"), "{line}");
    // The parser's message has several lines.
    while !told().contains("what was read before stays in use") {}

    let alice = "2000-01-01T00:00:00Z,198.18.1.120,alice,2200-01-01T00:00:00Z";
    file("who.csv", &format!("{somebody}{alice}\n2000-01-01T00:00:00Z,198.51.100.1,cut off"));
    file("homes.csv", "identity,lat,lon,city\nalice,47.6,-122.3,Seattle\n");
    file("farmlight.toml", "retention = 30\n");
    file("baseline", &baseline(40.0));
    watch.signal("HUP");
    std::thread::sleep(Duration::from_secs(1));
    namespace.replay(&capture("home-proxy"), Duration::ZERO);
    // What was sent has to be read first, on a busy machine as well.
    std::thread::sleep(Duration::from_secs(2));
    watch.signal("INT");
    let (_, code, _) = watch.end(Duration::from_secs(60));
    assert_eq!(code, Some(0));
    let endpoints = lines(&out.path().join("endpoints.jsonl"));
    let endpoint = endpoints.iter().find(|line| line["ip"] == "198.18.1.120").unwrap();
    assert_eq!((&endpoint["place"]["city"], &endpoint["identities"][0]), (&"Seattle".into(), &"alice".into()));
    let findings = fs::read_to_string(out.path().join("findings.jsonl")).unwrap();
    assert!(findings.contains("+40 as is usual here"), "{findings}");
    let identities = lines(&out.path().join("identities.jsonl"));
    let claims: Vec<_> = identities.iter().map(|line| (&line["identity"], &line["claims"])).collect();
    assert_eq!(claims.len(), 2, "a line without its end is not taken, and none twice: {claims:?}");
    assert!(claims.iter().all(|(_, claims)| **claims == 2), "{claims:?}");
}

#[test]
fn the_duration_ends_a_watch_of_a_quiet_link() {
    let Some(namespace) = Namespace::new("duration") else { return };
    let out = tempfile::tempdir().unwrap();
    let watch = namespace.watch(&["--duration", "1"], out.path());
    let (took, code, records) = watch.end(Duration::from_secs(60));
    println!("ended after {took:?}");
    assert_eq!((code, records.len()), (Some(0), 1));
    assert!(took > Duration::from_millis(500), "{took:?}");
}

#[test]
fn an_interface_that_goes_away_ends_the_watch_with_what_was_seen() {
    let Some(namespace) = Namespace::new("gone") else { return };
    let out = tempfile::tempdir().unwrap();
    let mut watch = namespace.watch(&KNOWN, out.path());
    ip(&["-n", &namespace.0, "link", "delete", WATCHED]).unwrap();
    let began = now();
    let status = loop {
        if let Some(status) = watch.child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "still watching what is gone");
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut said = String::new();
    watch.stderr.read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(WATCHED), "{said}");
    let summary: Value = serde_json::from_slice(&fs::read(out.path().join("summary.json")).unwrap()).unwrap();
    assert!(summary["inputs"][0]["error"]["reason"].is_string(), "{summary}");
}

#[test]
fn an_interface_that_is_not_there_is_told_with_those_that_are() {
    let output = Command::new(BINARY).args(["watch", "-i", "nope0", "--duration", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`nope0`") && output.stdout.is_empty(), "{said}");
    let list = Command::new(BINARY).args(["watch", "-i", "list"]).output().unwrap();
    assert!(list.status.success());
    for line in String::from_utf8(list.stdout).unwrap().lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(said.contains(name), "{name} is missing in: {said}");
    }
}
