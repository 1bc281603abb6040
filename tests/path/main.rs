//! What is told of an endpoint's path, against captures whose truth is known: hops and sizes of labelled runs, and the
//! families of TCP stacks against what programs say of their system. Skipped, and said so, where the captures are not
//! there.
//!
//! `explained.tsv`: every capture in which a stack and a program disagree, with the reason; a disagreement that is not in
//! it fails the test, and so does a reason for nothing. `FARMLIGHT_UPDATE=1 cargo test --test path` writes the table of
//! docs/path.md anew.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop, and tells what it saw"
)]

#[path = "../common/mod.rs"]
mod common;

use common::{analyze, analyze_within, shared, table};
use farmlight::fingerprint::{Family, Path as EndpointPath, Role, Stack};
use farmlight::flow::Flow;
use farmlight::intel::Networks;
use farmlight::session::{Connection, Session};
use farmlight::source::Inputs;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of the endpoint that a labelled run is about.
fn path_of(folder: &Path) -> EndpointPath {
    let truth: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("truth.json")).unwrap()).unwrap();
    let captures: Vec<PathBuf> =
        ["span-a.pcap", "span-b.pcap"].iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
    let mut inputs = Inputs::open(&captures, None).unwrap();
    let analysis = analyze_within(&mut inputs, 1, "208.77.188.0/24,10.0.0.0/8".parse::<Networks>().unwrap());
    let endpoint = truth["endpoint_ip"].as_str().unwrap().parse().unwrap();
    analysis.ledger.look(endpoint, |account| account.path.clone()).unwrap()
}

/// Real tunnels of real software, over paths that are known: one router more than without, and the tunnel's own MTU.
#[test]
fn an_exit_behind_a_tunnel_shows_its_hop_and_its_tax() {
    let Some(shared) = shared() else { return };
    let path = |name: &str| path_of(&shared.join("scenarios").join(name));
    let direct = path("b1-direct-s11");
    let seen = |path: &EndpointPath| (path.hops().unwrap(), path.mtu(), path.clamped());
    let (hops, mtu, clamped) = seen(&direct);
    assert_eq!((mtu, clamped, direct.family()), (Some(1_500), 0, Some(Family::Linux)));

    // WireGuard's interface takes 1,420 bytes, and the operator's machine knows.
    let wireguard = path("r2-wg-s21");
    assert_eq!(seen(&wireguard), (hops + 1, Some(1_420), 0));
    assert!(wireguard.causes().contains(&"wireguard"));

    // OpenVPN's takes 1,500; the exit writes a smaller MSS, and the window still shows the larger.
    let openvpn = path("r2-ovpn-s21");
    assert_eq!(seen(&openvpn), (hops + 1, Some(1_440), openvpn.announced()));
    assert!(openvpn.causes().contains(&"openvpn"));

    // A proxy has a path of its own: nothing shows.
    let proxy = path("r3-microsocks-s11");
    assert_eq!(seen(&proxy), (hops, Some(1_500), 0));
    assert!(proxy.causes().contains(&"proxy"));
}

/// Offsets of this kernel are random for each connection: 14 connections, no line, and no machine too many.
#[test]
fn machines_are_never_counted_double() {
    let Some(shared) = shared() else { return };
    for name in ["b1-direct-s11", "r3-connect-s21", "r3-sshd-s21"] {
        let hosts = path_of(&shared.join("scenarios").join(name)).hosts().unwrap();
        assert_eq!((hosts.at_least, hosts.lines), (1, 0), "{name}");
    }
}

/// A flow that is settled costs no more than this in the table, its state included; `tests/alloc.rs` has what its meters add.
#[test]
fn a_settled_flow_stays_small() {
    let flow = size_of::<Flow>() + size_of::<Connection>();
    assert!(flow <= 448, "{} + {}", size_of::<Flow>(), size_of::<Connection>());
}

/// The system that a program says it runs on.
fn said(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 16] = [
        ("Android", "android"),
        ("Dalvik", "android"),
        ("FreeBSD", "freebsd"),
        ("Windows", "windows"),
        ("Microsoft-IIS", "windows"),
        ("Microsoft-HTTPAPI", "windows"),
        ("Win32", "windows"),
        ("Win64", "windows"),
        ("iPhone", "apple"),
        ("iPad", "apple"),
        ("Darwin", "apple"),
        ("Mac OS X", "apple"),
        ("Ubuntu", "linux"),
        ("Debian", "linux"),
        ("CentOS", "linux"),
        ("Linux", "linux"),
    ];
    WORDS.iter().find(|(word, _)| text.contains(word)).map(|(_, system)| *system)
}

/// What the programs of a session say of their systems, and the stacks beside it.
fn statements(session: &Session) -> Vec<(&'static str, &'static str, Stack)> {
    const KEYS: [(&str, &str, Role); 4] = [
        ("http.user_agent", "browser", Role::Client),
        ("ssh.client_banner", "ssh client", Role::Client),
        ("http.server", "web server", Role::Server),
        ("ssh.server_banner", "ssh server", Role::Server),
    ];
    let of = |(key, who, role): (&str, &'static str, Role)| {
        let (_, text) = session.attributes.iter().find(|(known, _)| *known == key)?;
        let (end, peer) = match role {
            Role::Client => (&session.ends.orig, session.tuple.orig),
            Role::Server => (&session.ends.resp, session.tuple.resp),
        };
        Some((who, said(text)?, Stack::of(end, peer.ip.is_ipv6(), role)?))
    };
    KEYS.into_iter().filter_map(of).collect()
}

/// Whether a family is what a program of that system runs on.
fn agrees(system: &str, family: Family) -> bool {
    match family {
        Family::Linux => matches!(system, "linux" | "android"),
        other => other.name() == system,
    }
}

#[derive(Default)]
struct Count {
    sessions: usize,
    files: BTreeSet<String>,
    alone: usize,
    among: usize,
    none: usize,
    other: usize,
}

#[test]
fn families_agree_with_what_programs_say_but_for_what_is_explained() {
    let Some(folder) = shared() else { return };
    let mut counts: BTreeMap<(&str, &str), Count> = BTreeMap::new();
    let mut disagree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table(&folder.join("captures/MANIFEST.tsv")) {
        let layers: Vec<&str> = row["tshark_protocols"].split(',').collect();
        if !layers.contains(&"http") && !layers.contains(&"ssh") || row["path"].starts_with("malformed/") {
            continue;
        }
        for session in &analyze(&folder.join("captures").join(&row["path"]), 1).sessions {
            for (who, system, stack) in statements(session) {
                let count = counts.entry((system, who)).or_default();
                count.sessions += 1;
                count.files.insert(row["path"].clone());
                let families = stack.families();
                match families.as_slice() {
                    [] => count.none += 1,
                    [family] if agrees(system, *family) => count.alone += 1,
                    several if several.iter().any(|family| agrees(system, *family)) => count.among += 1,
                    _ => {
                        count.other += 1;
                        let words: Vec<&str> = families.iter().map(|family| family.name()).collect();
                        let what = format!("{who} says {system}, stack {}: {stack}", words.join(" or "));
                        disagree.entry(row["path"].clone()).or_default().insert(what);
                    }
                }
            }
        }
    }
    let mut out = String::from(
        "| a program says | who | captures | sessions | that family alone | that among others | no family | another |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for ((system, who), c) in &counts {
        let files = c.files.len();
        let _ = writeln!(
            out,
            "| {system} | {who} | {files} | {} | {} | {} | {} | {} |",
            c.sessions, c.alone, c.among, c.none, c.other
        );
    }
    let explained: BTreeSet<String> =
        table(&root().join("tests/path/explained.tsv")).iter().map(|row| row["file"].clone()).collect();
    let found: BTreeSet<String> = disagree.keys().cloned().collect();
    assert_eq!(found, explained, "{disagree:#?}");
    keep(&out);
}

/// Compares the table of the page, between its marks, with what was found; or writes it.
fn keep(found: &str) {
    const PAGE: &str = "docs/path.md";
    let (begin, end) = ("<!-- families -->\n", "<!-- end of families -->\n");
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let (head, rest) = page.split_once(begin).unwrap();
    let (kept, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("FARMLIGHT_UPDATE").is_some() {
        fs::write(root().join(PAGE), format!("{head}{begin}{found}{end}{tail}")).unwrap();
    } else {
        assert!(kept == found, "the table of {PAGE} is not what was found; FARMLIGHT_UPDATE=1 writes it:\n{found}");
    }
}
