//! How often the judgement is right on simulated endpoints, and whether `farmlight evaluate` tells so.
//!
//! A short matrix each time; the whole one makes `docs/evaluation.md` (`make evaluation`). Does not: say anything about
//! real networks. The simulator and the rules share a model of how fast the Internet is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops by panicking, and tells what it saw"
)]

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

fn farmlight(words: &[&str]) -> Output {
    Command::cargo_bin("farmlight").unwrap().args(words).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The endpoints of the short matrix, and the report on them.
fn quick() -> &'static (Vec<Value>, Value) {
    static QUICK: OnceLock<(Vec<Value>, Value)> = OnceLock::new();
    QUICK.get_or_init(|| {
        let mut lines = lines(&farmlight(&["evaluate", "--matrix", "quick", "--no-ablation", "--format", "jsonl"]));
        let report = lines.pop().unwrap();
        (lines, report)
    })
}

fn scenario(one: &Value) -> &str {
    one["truth"]["scenario"].as_str().unwrap()
}

#[test]
fn no_honest_endpoint_is_accused_and_few_relays_within_reach_are_missed() {
    let (all, report) = quick();
    let honest: Vec<&Value> = all.iter().filter(|one| one["truth"]["label"] == "benign").collect();
    let accused: Vec<&&Value> = honest.iter().filter(|one| one["accused"] == true).collect();
    assert!(honest.len() > 120 && accused.is_empty(), "honest endpoints accused: {accused:#?}");
    assert_eq!((&report["false_alarms"]["hits"], &report["false_alarms"]["n"]), (&0.into(), &honest.len().into()));
    let reach = ["home-proxy", "proxy-connect", "many-laptops-proxied", "home-exit", "exit-vpn"];
    let long = |one: &&Value| one["truth"]["hidden_leg_rtt_ms"].as_f64().unwrap() >= 140.0;
    let relays: Vec<&Value> = all.iter().filter(|one| reach.contains(&scenario(one))).filter(long).collect();
    let missed: Vec<&&Value> = relays.iter().filter(|one| one["accused"] == false).collect();
    println!("{} of {} relays within reach found", relays.len() - missed.len(), relays.len());
    assert!(relays.len() >= 10 && missed.len() * 5 <= relays.len(), "missed: {missed:#?}");
    for one in relays.iter().filter(|one| one["accused"] == true) {
        assert!(
            one["found_after"][0].as_f64().unwrap() >= 0.0 && one["found_after"][1].as_u64().unwrap() >= 1,
            "{one}"
        );
    }
}

/// Scenarios whose queues are seldom empty: their median is no estimate of the quiet line.
const FULL: &[&str] = &["bufferbloat", "wifi-jitter", "dorm", "leo-satellite"];

#[test]
fn the_ladder_measures_what_the_simulation_put_there() {
    let (all, _) = quick();
    let near = |measured: f64, truth: f64| (measured - truth).abs() <= 2.0 + 0.05 * truth;
    let (mut tcp, mut application) = (0, 0);
    // Three packets in a hundred lost make the handshakes that were sent again longer.
    let quiet =
        |one: &&Value| !FULL.iter().any(|full| scenario(one).starts_with(full)) && !scenario(one).contains("loss");
    // Company opens one session or two: none of them need have been quick.
    for one in all.iter().filter(quiet).filter(|one| scenario(one) != "company") {
        let truth = |key: &str| one["truth"][key].as_f64();
        if let (Some(measured), Some(truth)) = (one["measured"]["tcp"][1].as_f64(), truth("expected_tcp_rtt_ms")) {
            assert!(near(measured, truth), "TCP {measured} is not {truth}: {one:#}");
            tcp += 1;
        }
        if let (Some(measured), Some(truth)) =
            (one["measured"]["application"][0].as_f64(), truth("expected_app_rtt_ms"))
        {
            // The shortest of many lies between the empty path and what a ping would average.
            let floor = one["truth"]["minimum_app_rtt_ms"].as_f64().unwrap() - 0.001;
            assert!(
                measured >= floor && measured <= truth || near(measured, truth),
                "application {measured} is not {truth}: {one:#}"
            );
            application += 1;
        }
    }
    assert!(tcp > 60 && application > 80, "{tcp} {application}");
}

#[test]
fn the_report_adds_up_and_does_not_depend_on_the_number_of_threads() {
    let (all, report) = quick();
    let groups = report["groups"].as_array().unwrap();
    let count = |key: &str| groups.iter().map(|group| group[key].as_u64().unwrap()).sum::<u64>();
    let whole: u64 = groups.iter().map(|group| group["accused"]["n"].as_u64().unwrap()).sum();
    let found = |label: &str| report[label]["hits"].as_u64().unwrap();
    assert_eq!(whole, all.len() as u64);
    assert_eq!(count("clear") + count("undecided") + count("unseen") + found("recall") + found("false_alarms"), whole);
    let bins = report["calibration"]["bins"].as_array().unwrap();
    let binned: u64 = bins.iter().map(|bin| bin["malicious"].as_u64().unwrap() + bin["honest"].as_u64().unwrap()).sum();
    assert_eq!(binned, whole);
    for scenario in farmlight::simulate::SCENARIOS {
        assert!(groups.iter().any(|group| group["scenario"] == scenario.name), "{}", scenario.name);
    }
    let fleet = |workers: &str| {
        let words = ["evaluate", "--matrix", "fleet", "--honest", "70", "--format", "jsonl", "--workers", workers];
        let mut lines = lines(&farmlight(&words));
        lines.pop();
        lines
    };
    assert_eq!(fleet("1"), fleet("3"));
}

fn simulate(scenario: &str, dir: &Path) {
    let dir = dir.join(scenario);
    let words = ["simulate", scenario, "--seed", "3", "--bystanders", "1", "-o", dir.to_str().unwrap()];
    assert_eq!(farmlight(&words).status.code(), Some(0));
}

/// A KVM box that is worked from the other side of the world for an hour and a half, and the same laptop's helpdesk.
#[test]
fn who_works_a_machine_for_long_and_from_afar_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for (scenario, minutes) in [("ip-kvm", 90), ("helpdesk", 10)] {
        let (seconds, dir) = ((minutes * 60).to_string(), dir.path().join(scenario));
        let words = ["simulate", scenario, "--seed", "5", "--duration-s", &seconds, "--bystanders", "0", "-o"];
        assert_eq!(farmlight(&[&words[..], &[dir.to_str().unwrap()]].concat()).status.code(), Some(0));
    }
    let lines = lines(&farmlight(&["evaluate", dir.path().to_str().unwrap(), "--no-ablation", "--format", "jsonl"]));
    let said = |name: &str| lines.iter().find(|one| one["truth"]["scenario"] == name).unwrap();
    assert_eq!(said("ip-kvm")["verdict"], "remote-controlled", "{:#}", said("ip-kvm"));
    assert_eq!(said("helpdesk")["accused"], false, "{:#}", said("helpdesk"));
    // The tool alone says as much of both.
    assert!(said("helpdesk")["alone"]["remote-tool"].as_f64().unwrap() > 3.0, "{:#}", said("helpdesk"));
}

#[test]
fn folders_are_read_as_simulate_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    simulate("home-proxy", dir.path());
    simulate("home-direct", dir.path());
    let folder = dir.path().to_str().unwrap();
    let plot = dir.path().join("plot.svg");
    let output = farmlight(&["evaluate", folder, "--format", "jsonl", "--plot", plot.to_str().unwrap()]);
    let lines = lines(&output);
    let said = |name: &str| lines.iter().find(|one| one["truth"]["scenario"] == name).unwrap();
    assert_eq!((&said("home-proxy")["verdict"], &said("home-direct")["verdict"]), (&"relayed".into(), &"clear".into()));
    assert_eq!(said("company")["accused"], false);
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
    assert_eq!(svg.matches("<polyline ").count(), 4);
    // The folder itself, its text, and what the tables are in.
    let one = dir.path().join("home-proxy");
    let plain = farmlight(&["evaluate", one.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&plain.stdout);
    assert!(text.contains("Found: 1 of 1") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let markdown = farmlight(&["evaluate", one.to_str().unwrap(), "--markdown"]);
    assert!(String::from_utf8_lossy(&markdown.stdout).contains("| home-proxy | r3 |"));
}

#[test]
fn wrong_usage_a_broken_capture_and_an_accused_innocent_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for words in [&["evaluate"][..], &["evaluate", folder], &["evaluate", "/nowhere"], &["evaluate", "--matrix", "all"]]
    {
        assert_eq!(farmlight(words).status.code(), Some(2), "{words:?}");
    }
    simulate("home-proxy", dir.path());
    let truth = dir.path().join("home-proxy/truth.json");
    let told = std::fs::read_to_string(&truth).unwrap();
    // The same relay, said to be honest.
    std::fs::write(&truth, told.replace("\"relayed\"", "\"benign\"")).unwrap();
    assert_eq!(farmlight(&["evaluate", folder]).status.code(), Some(0));
    let alarm = farmlight(&["evaluate", folder, "--fail-on", "low"]);
    assert_eq!(alarm.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&alarm.stdout).contains("Honest endpoints accused: 1 of 2"));
    let capture = dir.path().join("home-proxy/capture.pcap");
    let bytes = std::fs::read(&capture).unwrap();
    std::fs::write(&capture, &bytes[..bytes.len() - 7]).unwrap();
    assert_eq!(farmlight(&["evaluate", folder]).status.code(), Some(1));
}

#[test]
fn tshark_finds_nothing_wrong_in_any_scenario() {
    if std::process::Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: no tshark here");
        return;
    }
    // All of them in one capture, each in a home of its own.
    let short = std::time::Duration::from_secs(60);
    let part = |(number, scenario): (u8, &&farmlight::simulate::Scenario)| {
        let options = farmlight::simulate::Options {
            seed: u64::from(number),
            number,
            bystanders: Some(0),
            sessions: Some(3),
            duration: Some(short),
            ..farmlight::simulate::Options::default()
        };
        (scenario.name, options)
    };
    let parts: Vec<_> = (1_u8..).zip(farmlight::simulate::SCENARIOS).map(part).collect();
    let outcome = farmlight::simulate::run_together(&parts).unwrap();
    let dir = tempfile::tempdir().unwrap();
    farmlight::simulate::write(&outcome, dir.path()).unwrap();
    let checks = ["ip", "tcp", "udp"].map(|layer| format!("-o{layer}.check_checksum:TRUE"));
    let wrong = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
                 || stun.att.crc32.status == 0";
    let output = std::process::Command::new("tshark")
        .arg("-r")
        .arg(dir.path().join("capture.pcap"))
        .args(checks)
        .args(["-Y", wrong])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
