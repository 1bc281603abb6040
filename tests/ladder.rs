//! The ladder against real paths: every rung of every labelled run over emulated legs, next to what ping said.
//!
//! Writes `docs/ladder.md` with `FARMLIGHT_UPDATE=1`, and compares it otherwise. Skipped, and said so, where the folder
//! of outside captures is not there.
//!
//! A run's truth is ping's. The least of many round trips lies between the least ping and the mean one, with 2 ms and
//! 5 % to either side where TCP or the tunnel ends and with 5 ms and 10 % above. None at all may be shorter than the fixed
//! delay of the legs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop, and tells what it saw"
)]

mod common;

use common::{analyze, shared};
use farmlight::base::{Layer, RttKind, Side, WideDigest};
use farmlight::session::Session;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the capture's clock may take away from a round trip, in ms.
const CLOCK_MS: f64 = 0.1;

/// What is known of one run.
struct Truth {
    run: String,
    endpoint: IpAddr,
    captures: Vec<String>,
    /// Means of the pings to where TCP ends and to where the application does, in ms.
    tcp: f64,
    app: f64,
    /// The least pings of the same paths, where they were made.
    tcp_floor: f64,
    app_floor: f64,
    /// The fixed delays of the legs to there and back, in ms.
    tcp_legs: f64,
    app_legs: f64,
    /// From the capture point to who looks at a screen, through a relay: least and mean.
    viewer: Option<(f64, f64)>,
}

impl Truth {
    fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("truth.json")).ok()?;
        let truth: Value = serde_json::from_str(&text).unwrap();
        let ping = |path: &str, what: &str| truth["measured_ping_ms"][path][what].as_f64();
        let (tcp, app) = (truth["expected_tcp_rtt_ms"].as_f64()?, truth["expected_app_rtt_ms"].as_f64()?);
        let tcp_floor = ping("op_via_exit_to_gw", "min").or(ping("lap_to_gw", "min"))?;
        // A relay at home: the way to it, and from it to the operator. Where TCP ends at the laptop, so does the rest.
        let relayed = if app > tcp { ping("op_to_home", "min").unwrap_or(0.0) } else { 0.0 };
        let leg = |name: &str| truth["legs_one_way_ms"][name].as_f64().unwrap_or(0.0) * 2.0;
        let (home, operator) = (leg("home_lastmile") + leg("us_internet"), leg("operator_to_us"));
        let exit = ping("op_via_exit_to_gw", "min").map_or(0.0, |_| operator);
        let to_relay = ping("op_to_relay", "min").zip(ping("op_to_relay", "avg"));
        let viewer = to_relay.or(ping("helper_to_relay", "min").zip(ping("helper_to_relay", "avg")));
        Some(Self {
            run: folder.file_name()?.to_string_lossy().into_owned(),
            endpoint: truth["endpoint_ip"].as_str()?.parse().ok()?,
            captures: truth["captures"].as_array()?.iter().map(|c| c.as_str().unwrap().to_owned()).collect(),
            tcp,
            app,
            tcp_floor,
            app_floor: tcp_floor + relayed,
            tcp_legs: home + exit,
            app_legs: home + if app > tcp { operator } else { exit },
            viewer,
        })
    }
}

/// Round trips of one layer and method.
#[derive(Default)]
struct Rung(WideDigest);

impl Rung {
    fn min(&self) -> f64 {
        ms(self.0.min())
    }

    fn p05(&self) -> f64 {
        ms(self.0.quantile(0.05))
    }
}

fn ms(rtt: Option<Duration>) -> f64 {
    rtt.map_or(f64::NAN, |rtt| rtt.as_secs_f64() * 1e3)
}

type Rungs = BTreeMap<(Layer, &'static str), Rung>;

/// The way to the laptop as one tap sees it: the endpoint's own sessions outside the gateway, those of the addresses
/// that the gateway gave it inside.
fn rungs(sessions: &[Session], truth: &Truth, tap: &str) -> Rungs {
    let inside = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10 && v4.octets()[1] != 20);
    let mine = |session: &&Session| match tap {
        "span-a.pcap" => session.tuple.orig.ip == truth.endpoint,
        // What goes on to the Internet is the control flow of who sits at the laptop.
        _ => inside(session.tuple.orig.ip) && session.tuple.resp.ip.to_string().starts_with("10.20."),
    };
    let mut rungs = Rungs::new();
    let counts = |kind: RttKind| kind.side == Side::Client && !kind.ambiguous;
    for session in sessions.iter().filter(mine) {
        for sample in session.samples.iter().filter(|sample| counts(sample.kind())) {
            rungs.entry((sample.layer, sample.method)).or_default().0.add(sample.rtt);
        }
        for (kind, digest) in session.digests.iter().filter(|(kind, _)| counts(*kind)) {
            rungs.entry((kind.layer, kind.method)).or_default().0.merge(digest);
        }
    }
    rungs
}

/// Whether a layer closes where TCP or the tunnel does.
fn is_bottom(layer: Layer) -> bool {
    matches!(layer, Layer::TcpHandshake | Layer::WireGuard | Layer::OpenVpn | Layer::Ike | Layer::Dtls)
        || layer.name() == "tcp-data"
}

/// The shortest of some rungs.
fn shortest(rungs: &Rungs, of: impl Fn(Layer) -> bool) -> Option<f64> {
    let least = rungs.iter().filter(|((layer, _), _)| of(*layer)).map(|(_, rung)| rung.min());
    least.min_by(f64::total_cmp)
}

/// Within the target: between the least ping and the mean one, with so much to either side.
fn met(ms: f64, floor: f64, mean: f64, (plus, percent): (f64, f64)) -> bool {
    let room = plus + mean * percent / 100.0;
    ms >= floor - room && ms <= mean + room
}

const BOTTOM: (f64, f64) = (2.0, 5.0);
const TOP: (f64, f64) = (5.0, 10.0);

/// Runs and taps at which a target is missed, and why. Nothing else may miss it.
const MISSED: &[(&str, &str, &str)] = &[
    ("b2-ikev2-s12", "span-a.pcap", "one handshake of 45 s: the laptop computes 13 ms between its two requests"),
    (
        "b2-ovpn-tcp-s12",
        "span-b.pcap",
        "the tunnel's own TCP holds the second piece of a flight back for a round trip (Nagle)",
    ),
    ("b3-bufferbloat-s21", "span-a.pcap", "one handshake, in a full queue"),
];

#[test]
fn rungs_are_as_long_as_ping_says() {
    let Some(folder) = shared().map(|folder| folder.join("scenarios")).filter(|folder| folder.is_dir()) else {
        println!("skipped: no scenarios");
        return;
    };
    let mut runs: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    let (mut told, mut rows, mut faults) = (String::new(), String::new(), Vec::new());
    for truth in runs.iter().filter_map(|run| Truth::read(run)) {
        for tap in &truth.captures {
            let analysis = analyze(&folder.join(&truth.run).join(tap), 1);
            let rungs = rungs(&analysis.sessions, &truth, tap);
            let verdict = judge(&truth, tap, &rungs, &mut faults);
            summary(&mut told, &truth, tap, &rungs, &verdict);
            viewer(&mut told, &truth, tap, &analysis.sessions, &mut faults);
            detail(&mut rows, &truth, tap, &rungs);
        }
    }
    let page = PAGE.replace("@SUMMARY@", told.trim_end()).replace("@DETAIL@", rows.trim_end());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ladder.md");
    if std::env::var_os("FARMLIGHT_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(faults, Vec::<String>::new());
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, page, "docs/ladder.md is not what comes out: FARMLIGHT_UPDATE=1 writes it");
}

/// Whether the run meets its targets here; what it must not be is a fault.
fn judge(truth: &Truth, tap: &str, rungs: &Rungs, faults: &mut Vec<String>) -> String {
    for ((layer, method), rung) in rungs {
        let legs = if is_bottom(*layer) { truth.tcp_legs } else { truth.app_legs };
        if rung.min() < legs - CLOCK_MS {
            faults.push(format!("{} {tap}: {} {method} is {:.2} ms", truth.run, layer.name(), rung.min()));
        }
    }
    let (bottom, top) = (shortest(rungs, is_bottom), shortest(rungs, |layer| !is_bottom(layer)));
    let low = bottom.is_none_or(|ms| met(ms, truth.tcp_floor, truth.tcp, BOTTOM));
    let high = top.is_none_or(|ms| met(ms, truth.app_floor, truth.app, TOP));
    let excuse = MISSED.iter().find(|(run, at, _)| (*run, *at) == (truth.run.as_str(), tap)).map(|m| m.2);
    match (low && high, excuse) {
        (true, None) if bottom.is_some() || top.is_some() => "met".to_owned(),
        (true, None) => "no round trip".to_owned(),
        (true, Some(_)) => {
            faults.push(format!("{} {tap} is met and counts as missed", truth.run));
            String::new()
        }
        (false, Some(why)) => format!("missed: {why}"),
        (false, None) => {
            faults
                .push(format!("{} {tap}: bottom {bottom:?} of {}, top {top:?} of {}", truth.run, truth.tcp, truth.app));
            String::new()
        }
    }
}

fn figure(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"))
}

fn summary(out: &mut String, truth: &Truth, tap: &str, rungs: &Rungs, verdict: &str) {
    let (bottom, top) = (shortest(rungs, is_bottom), shortest(rungs, |layer| !is_bottom(layer)));
    let tap = tap.trim_end_matches(".pcap");
    let (run, tcp, app) = (&truth.run, truth.tcp, truth.app);
    let (low, high) = (figure(bottom), figure(top));
    let (tcp_floor, app_floor) = (truth.tcp_floor, truth.app_floor);
    writeln!(
        out,
        "| {run} | {tap} | {tcp_floor:.1} to {tcp:.1} | {low} | {app_floor:.1} to {app:.1} | {high} | {verdict} |"
    )
    .unwrap();
}

/// The viewer behind a relay, where the control flow passes the tap.
fn viewer(out: &mut String, truth: &Truth, tap: &str, sessions: &[Session], faults: &mut Vec<String>) {
    let Some((least, mean)) = truth.viewer else { return };
    for session in sessions.iter().filter(|s| s.attributes.iter().any(|(_, v)| v == "reverse-forward")) {
        let rtt = session.rtt();
        let of =
            |layer: Layer| rtt.iter().find(|r| r.side == Side::Server && r.layer == layer).map(|r| ms(Some(r.min)));
        let Some(relay) = of(Layer::TcpHandshake) else { continue };
        let echo = of(Layer::RemoteEcho);
        let (run, tap) = (&truth.run, tap.trim_end_matches(".pcap"));
        let verdict = match echo {
            None => "too few bursts stand out in 45 s",
            Some(echo) if met(echo, relay + least, relay + mean, TOP) => "met",
            Some(_) => {
                faults.push(format!("{run} {tap}: the viewer is {echo:?} away, not {}", relay + mean));
                ""
            }
        };
        let (low, high, echo) = (relay + least, relay + mean, figure(echo));
        writeln!(
            out,
            "| {run}, viewer through the relay | {tap} | - | {relay:.1} | {low:.1} to {high:.1} | {echo} | {verdict} |"
        )
        .unwrap();
    }
}

fn detail(out: &mut String, truth: &Truth, tap: &str, rungs: &Rungs) {
    let tap = tap.trim_end_matches(".pcap");
    for ((layer, method), rung) in rungs {
        let expected = if is_bottom(*layer) { truth.tcp } else { truth.app };
        let (run, layer, n) = (&truth.run, layer.name(), rung.0.n());
        let (min, p05) = (rung.min(), rung.p05());
        writeln!(out, "| {run} | {tap} | {layer} | `{method}` | {n} | {min:.1} | {p05:.1} | {expected:.1} |").unwrap();
    }
}

const PAGE: &str = "# The ladder against ping

Written by `tests/ladder.rs` (`FARMLIGHT_UPDATE=1 cargo test --test ladder`) from labelled runs of real software over
emulated wide-area legs; the captures are not part of this repository.
The truth of a run is ping's: from the least to the mean of the pings made before it.
A minimum has to lie between the two, with 2 ms and 5 % to either side where TCP or the tunnel ends, and 5 ms and 10 % where the program does; no single round trip may be shorter than the fixed delay of the legs.
`span-a` is outside the VPN's gateway, `span-b` inside.
All in ms, to the laptop's side and back.

## By run

| run | tap | TCP or tunnel ends at | shortest rung there | program ends at | shortest rung above | target |
|---|---|---|---|---|---|---|
@SUMMARY@

## Every rung

A rung may be long without fault: a key that is checked, a flight that a relay passes on in two pieces, a program that waits.
That is why the shortest of several methods counts.

| run | tap | layer | method | n | least | 5th percentile | mean ping |
|---|---|---|---|---|---|---|---|
@DETAIL@
";
