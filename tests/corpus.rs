//! Real captures from elsewhere: nothing panics, counts add up, handshakes and fingerprints equal what other tools say.
//! Skipped, and said so, where the folder of outside captures is not there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may stop, and tells what it saw"
)]

mod common;

use common::{Analysis, analyze, analyze_flows, shared, table};
use farmlight::base::{Layer, RttSample, Side};
use farmlight::session::Session;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// All captures of the folder, in order.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = table(&folder.join("captures/MANIFEST.tsv"))
        .iter()
        .map(|row| folder.join("captures").join(&row["path"]))
        .collect();
    all.sort();
    all
}

fn sum_of_parts(analysis: &Analysis) -> u64 {
    analysis.totals.decoded + analysis.totals.not_understood.values().sum::<u64>()
}

#[test]
fn every_capture_is_read_and_the_counts_add_up() {
    let Some(folder) = shared() else { return };
    let mut frames = 0;
    for path in captures(&folder) {
        let analysis = analyze(&path, 1);
        let read: u64 = analysis.inputs.iter().map(|i| i.frames).sum();
        assert_eq!(analysis.totals.frames, read, "{}", path.display());
        assert_eq!(analysis.totals.frames, sum_of_parts(&analysis), "{}", path.display());
        assert_eq!(
            analysis.totals.workers.packets + analysis.totals.fragments,
            analysis.totals.decoded,
            "{}",
            path.display()
        );
        let counted: u64 = analysis.sessions.iter().map(|s| s.ends.orig.packets + s.ends.resp.packets).sum();
        assert_eq!(counted + analysis.totals.workers.duplicates, analysis.totals.workers.packets, "{}", path.display());
        frames += read;
    }
    println!("{frames} frames");
    assert!(frames > 100_000);
}

/// One handshake sample of a session, in microseconds.
fn handshake(session: &Session, side: Side) -> Option<i64> {
    let is = |s: &&RttSample| s.layer == Layer::TcpHandshake && s.side == side;
    session.samples.iter().find(is).map(|s| i64::try_from(s.rtt.as_nanos()).unwrap_or(i64::MAX))
}

/// Seconds as written by tshark, in nanoseconds.
fn nanos(seconds: &str) -> Option<i64> {
    let value: f64 = seconds.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "far below 2^63")]
    Some((value * 1e9).round() as i64)
}

/// tcp-rtt.tsv: for at least 99.5 % of the streams with a whole handshake both round trips equal tshark's to 1 µs, and
/// so do MSS and TTL. docs/accuracy.md names and explains the others.
#[test]
fn tcp_handshakes_equal_tsharks() {
    let Some(folder) = shared() else { return };
    let rows = table(&folder.join("captures/expected/tcp-rtt.tsv"));
    let mut cache: HashMap<String, Analysis> = HashMap::new();
    let (mut whole, mut equal) = (0u32, 0u32);
    for row in &rows {
        let (Some(server), Some(client)) = (nanos(&row["synack_delta_s"]), nanos(&row["ack_delta_s"])) else {
            continue;
        };
        if !folder.join("captures").join(&row["file"]).is_file() {
            continue;
        }
        whole += 1;
        let analysis = cache
            .entry(row["file"].clone())
            .or_insert_with(|| analyze_flows(&folder.join("captures").join(&row["file"])));
        let syn = nanos(&row["syn_time_epoch"]).unwrap_or_default();
        let matches = |s: &&Session| {
            s.tuple.orig.ip.to_string() == row["client_ip"]
                && s.tuple.orig.port.to_string() == row["client_port"]
                && s.tuple.resp.ip.to_string() == row["server_ip"]
                && s.tuple.resp.port.to_string() == row["server_port"]
                && (s.start.nanos() - syn).abs() <= 1_000_000_000
        };
        let verdict = match analysis.sessions.iter().find(matches) {
            None => Err("no session".to_owned()),
            Some(session) => compare(session, row, server, client),
        };
        match verdict {
            Ok(()) => equal += 1,
            Err(why) => println!("{} stream {}: {why}", row["file"], row["stream"]),
        }
    }
    println!("{equal} of {whole} handshakes equal");
    assert!(whole > 600);
    assert!(f64::from(equal) >= 0.995 * f64::from(whole), "{equal} of {whole}");
}

fn compare(session: &Session, row: &HashMap<String, String>, server: i64, client: i64) -> Result<(), String> {
    let near = |got: Option<i64>, want: i64| got.is_some_and(|got| (got - want).abs() <= 1_500);
    if !near(handshake(session, Side::Server), server) {
        return Err(format!("server {:?} not {server}", handshake(session, Side::Server)));
    }
    if !near(handshake(session, Side::Client), client) {
        return Err(format!("client {:?} not {client}", handshake(session, Side::Client)));
    }
    let text = |n: Option<String>| n.unwrap_or_default();
    let ends = &session.ends;
    for (what, got, want) in [
        ("client MSS", text(ends.orig.mss.map(|n| n.to_string())), &row["mss_client"]),
        ("server MSS", text(ends.resp.mss.map(|n| n.to_string())), &row["mss_server"]),
        ("client TTL", text(ends.orig.ttl.map(|n| n.to_string())), &row["ttl_client"]),
        ("server TTL", text(ends.resp.ttl.map(|n| n.to_string())), &row["ttl_server"]),
    ] {
        if got != *want && !want.is_empty() {
            return Err(format!("{what} {got} not {want}"));
        }
    }
    Ok(())
}

fn attribute<'a>(session: &'a Session, key: &str) -> Option<&'a str> {
    session.attributes.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
}

/// Why a fingerprint of an expected file is not ours, by the file's name (a part of it is enough). Every difference
/// stands here; docs/accuracy.md tells more.
const EXPLAINED: &[(&str, &str)] = &[
    ("ja4__tls-non-ascii-alpn", "the reference is of an older JA4, which wrote 99 for an ALPN that is not ASCII"),
    ("rdp2.pcap", "the hello is DTLS or TLS inside RDP over UDP"),
    ("rdp3.pcap", "the hello is DTLS or TLS inside RDP over UDP"),
    ("adb_synthetic", "TLS begins after a dialogue in clear of a protocol that isn't read (ADB)"),
    ("nomachine", "TLS begins after a dialogue in clear of a protocol that isn't read (NoMachine)"),
    ("socks-with-ssl", "the hello is inside SOCKS, which isn't read"),
    ("vmess", "the hello is inside SOCKS, which isn't read"),
    ("tls_invalid_reads", "the hello contradicts its own lengths"),
    ("tls_cipher_lens", "the hello contradicts its own lengths"),
    ("6in4tunnel", "the expected row has the tunnel's addresses with the inner ports"),
    ("gtp6_gtp", "the expected row has the tunnel's addresses with the inner ports"),
];

/// Fingerprints of one expected file: every difference is one of those explained.
fn fingerprints(
    file: &str,
    keys: &[&str],
    pick: impl Fn(&HashMap<String, String>) -> Option<(String, u16, u16, String)>,
) {
    let Some(folder) = shared() else { return };
    let mut cache: HashMap<String, Analysis> = HashMap::new();
    let (mut all, mut equal, mut unexplained) = (0u32, 0u32, 0u32);
    for row in table(&folder.join("captures/expected").join(file)) {
        let Some((client, from, to, want)) = pick(&row) else { continue };
        all += 1;
        let analysis = cache
            .entry(row["file"].clone())
            .or_insert_with(|| analyze_flows(&folder.join("captures").join(&row["file"])));
        let of_flow = |s: &&Session| {
            s.tuple.orig.ip.to_string() == client && s.tuple.orig.port == from && s.tuple.resp.port == to
        };
        let said = |s: &Session| keys.iter().filter_map(|key| attribute(s, key)).any(|value| value == want);
        if analysis.sessions.iter().filter(of_flow).any(said) {
            equal += 1;
            continue;
        }
        let why = EXPLAINED.iter().find(|(name, _)| row["file"].contains(name)).map(|(_, why)| *why);
        unexplained += u32::from(why.is_none());
        println!("{} {client}:{from} -> {to}: not {want}: {}", row["file"], why.unwrap_or("NOT EXPLAINED"));
    }
    println!("{file}: {equal} of {all} equal");
    assert!(all > 0);
    assert_eq!(unexplained, 0);
}

fn port(row: &HashMap<String, String>, column: &str) -> Option<u16> {
    row.get(column)?.parse().ok()
}

#[test]
fn ja3_equals_tsharks() {
    fingerprints("tls-ja3-tshark.tsv", &["tls.ja3", "tls.second_ja3"], |row| {
        let want = row.get("ja3_client").filter(|v| !v.is_empty())?.clone();
        Some((row.get("src").filter(|v| !v.is_empty())?.clone(), port(row, "src_port")?, port(row, "dst_port")?, want))
    });
}

#[test]
fn ja4_equals_the_reference() {
    fingerprints("ja4.tsv", &["tls.ja4"], |row| {
        let want = row.get("ja4").filter(|v| !v.is_empty())?.clone();
        Some((row["src"].clone(), port(row, "src_port")?, port(row, "dst_port")?, want))
    });
}

#[test]
fn hassh_equals_the_reference() {
    fingerprints("ja4.tsv", &["ssh.hassh"], |row| {
        let want = row.get("hassh").filter(|v| !v.is_empty())?.clone();
        Some((row["src"].clone(), port(row, "src_port")?, port(row, "dst_port")?, want))
    });
}
