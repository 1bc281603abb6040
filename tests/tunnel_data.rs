//! Round trips through the data of tunnels, against what is known of the way: simulated tunnels of every kind, and the
//! labelled runs of real software where they are there.
//!
//! No round trip may be shorter than the empty path by more than a bin of the meter. Does not: say how often real traffic
//! gives one; `docs/meters.md` has runs of real software.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops by panicking, and tells what it saw"
)]

mod common;

use common::{analyze, analyze_source, shared};
use farmlight::base::{LinkType, RttKind, Side};
use farmlight::session::Session;
use farmlight::simulate::{self, Options};
use farmlight::source::Memory;
use std::time::Duration;

/// What the data of a tunnel may be shorter by: half a bin, and what the lower edge of the bins loses.
const SHORTER_MS: f64 = 2.0;

/// How often it was measured through data, and the shortest and the longest, in ms.
fn through_data(sessions: &[Session]) -> Option<(u64, f64, f64)> {
    let ms = |d: Option<Duration>| d.unwrap().as_secs_f64() * 1e3;
    let kinds = sessions.iter().flat_map(|session| &session.digests);
    let data = kinds.filter(|(kind, _)| kind.method == RttKind::DATA_ECHO && kind.side == Side::Client);
    data.map(|(_, digest)| (digest.n(), ms(digest.min()), ms(digest.quantile(1.0))))
        .reduce(|a, b| (a.0 + b.0, a.1.min(b.1), a.2.max(b.2)))
}

#[test]
fn simulated_tunnels_are_as_long_as_they_are() {
    let all = [
        "home-vpn",
        "home-openvpn",
        "home-ipsec",
        "home-openvpn-tcp",
        "exit-vpn",
        "exit-openvpn",
        "exit-ipsec",
        "proxy-openvpn",
    ];
    for name in all {
        let mut measured = 0;
        for seed in 1..=6 {
            let options =
                Options { seed, bystanders: Some(0), duration: Some(Duration::from_secs(900)), ..Options::default() };
            let outcome = simulate::run(name, &options).unwrap();
            let frames = outcome.frames.into_iter();
            let length = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap();
            let mut memory: Memory =
                frames.map(|(at, bytes)| (at, LinkType::ETHERNET, length(&bytes), bytes)).collect();
            let told = through_data(&analyze_source(&mut memory, 1).sessions);
            let truth = outcome.truth.subject;
            let (least, usual) = (truth.minimum_app_rtt_ms, truth.expected_app_rtt_ms);
            println!("{name} {seed}: {told:?}, at least {least}, usually {usual}");
            let Some((n, shortest, longest)) = told else { continue };
            assert!(shortest >= least - SHORTER_MS, "{name} {seed}: {shortest} of {least}");
            assert!(longest <= usual + 25.0, "{name} {seed}: {longest} of {usual}");
            measured += u64::from(n >= 3);
        }
        // Some only call or sleep.
        assert!(measured >= 3, "{name}: {measured} of 6");
    }
}

/// Real OpenVPN, WireGuard, strongSwan and ocserv.
#[test]
fn nothing_real_is_shorter_than_the_way() {
    let Some(shared) = shared() else { return };
    let mut measured = 0;
    let runs = std::fs::read_dir(shared.join("scenarios")).unwrap().map(|entry| entry.unwrap().path());
    for run in runs.filter(|run| run.join("truth.json").is_file()) {
        let text = std::fs::read_to_string(run.join("truth.json")).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&text).unwrap();
        let Some((n, shortest, _)) = through_data(&analyze(&run.join("span-a.pcap"), 1).sessions) else { continue };
        let ping = |way: &str| truth["measured_ping_ms"][way]["min"].as_f64();
        let least = ping("op_via_exit_to_gw").or_else(|| ping("lap_to_gw")).unwrap();
        println!("{}: {n} round trips, {shortest} ms of {least}", run.display());
        assert!(shortest >= least - SHORTER_MS, "{}: {shortest} of {least}", run.display());
        measured += 1;
    }
    assert!(measured >= 2, "{measured}");
}
