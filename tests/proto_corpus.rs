//! Probes and analyzers on real captures: each flow is shown to every registry entry, and what is found is compared
//! with the labels that came with the captures. Skipped where the captures are not there.
//!
//! Flows are put together here in the plainest way that is right for whole captures (segments sorted by sequence
//! number, up to the first gap), so that this test says something about the protocols alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and print; what helpers of tests do is not covered by the test allowances"
)]

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use farmlight::base::{Direction, Ends, Timestamp};
use farmlight::protocol::{Carrier, Event, EventKind, Events, Opening, Pdu, Probe, Protocol, REGISTRY};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Packets of one file that are read; identification happens early in a flow.
const PACKETS: usize = 20_000;
/// Bytes of a stream that are kept for each end, and datagrams of a flow.
const KEPT: usize = 64 * 1024;
const DATAGRAMS: usize = 200;

fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("FARMLIGHT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("captures");
    if root.is_dir() {
        return Some(root);
    }
    println!("skipped: no captures at {}", root.display());
    None
}

/// One payload of a flow.
struct Piece {
    at: Timestamp,
    dir: Direction,
    seq: u32,
    missing: u32,
    bytes: Vec<u8>,
}

struct Flow {
    orig: SocketAddr,
    resp: SocketAddr,
    tcp: bool,
    /// First sequence number of each end's data, from its SYN.
    start: Ends<Option<u32>>,
    pieces: Vec<Piece>,
    held: usize,
}

/// What was made of a flow.
struct Found {
    orig: SocketAddr,
    resp: SocketAddr,
    protocol: Option<&'static str>,
    confirmed: bool,
    fault: Option<&'static str>,
    events: Vec<Event>,
}

fn flows(path: &Path) -> Vec<Flow> {
    let Ok(mut capture) = pcap::Capture::from_file(path) else { return Vec::new() };
    let link = capture.get_datalink().0;
    let mut flows = Vec::new();
    let mut index = HashMap::new();
    for _ in 0..PACKETS {
        let Ok(packet) = capture.next_packet() else { break };
        let at = Timestamp::from_parts(packet.header.ts.tv_sec, packet.header.ts.tv_usec * 1000);
        add(&mut flows, &mut index, at, link, packet.data);
    }
    flows
}

fn sliced(link: i32, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let ip = |bytes| LaxSlicedPacket::from_ip(bytes).ok();
    match link {
        1 => LaxSlicedPacket::from_ethernet(bytes).ok(),
        0 | 108 => ip(bytes.get(4..)?),
        12 | 14 | 101 | 228 | 229 => ip(bytes),
        113 => ip(bytes.get(16..)?),
        276 => ip(bytes.get(20..)?),
        _ => None,
    }
}

type Index = HashMap<(SocketAddr, SocketAddr, bool), usize>;

fn add(flows: &mut Vec<Flow>, index: &mut Index, at: Timestamp, link: i32, bytes: &[u8]) {
    let Some(packet) = sliced(link, bytes) else { return };
    let (from, to, fragmented): (IpAddr, IpAddr, bool) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.is_fragmenting_payload())
        }
        Some(LaxNetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into(), false),
        _ => return,
    };
    if fragmented {
        return;
    }
    let (ports, tcp, payload, missing) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => ((tcp.source_port(), tcp.destination_port()), true, tcp.payload(), 0),
        Some(TransportSlice::Udp(udp)) => {
            let missing = usize::from(udp.length()).saturating_sub(8 + udp.payload().len());
            ((udp.source_port(), udp.destination_port()), false, udp.payload(), missing)
        }
        _ => return,
    };
    let (from, to) = (SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1));
    let header = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => Some((tcp.syn(), tcp.ack(), tcp.sequence_number())),
        _ => None,
    };
    let opens = header.is_some_and(|(syn, ack, _)| syn && !ack);
    let key = (from.min(to), from.max(to), tcp);
    let reused = |at: usize| opens && flows.get(at).is_some_and(|f: &Flow| !f.pieces.is_empty());
    let slot = match index.get(&key).copied().filter(|at| !reused(*at)) {
        Some(slot) => slot,
        None => {
            let swapped =
                header.is_some_and(|(syn, ack, _)| syn && ack) || (!opens && ports.0 < 1024 && ports.1 >= 1024);
            let (orig, resp) = if swapped { (to, from) } else { (from, to) };
            flows.push(Flow { orig, resp, tcp, start: Ends::default(), pieces: Vec::new(), held: 0 });
            index.insert(key, flows.len() - 1);
            flows.len() - 1
        }
    };
    let flow = &mut flows[slot];
    let dir = if flow.orig == from { Direction::Orig } else { Direction::Resp };
    let seq = header.map_or(0, |(syn, _, seq)| {
        if syn {
            *flow.start.of_mut(dir) = Some(seq.wrapping_add(1));
        }
        seq.wrapping_add(u32::from(syn))
    });
    let full = if tcp { flow.held > 2 * KEPT } else { flow.pieces.len() >= DATAGRAMS };
    if payload.is_empty() || full {
        return;
    }
    flow.held += payload.len();
    flow.pieces.push(Piece { at, dir, seq, missing: u32::try_from(missing).unwrap(), bytes: payload.to_vec() });
}

/// Puts a stream's segments in order, cuts what was sent twice, and stops at the first gap of each end. A piece passes
/// when the last missing byte before it has passed.
fn in_order(flow: &Flow) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut next = flow.start;
    let mut waiting: Ends<Vec<&Piece>> = Ends::default();
    for piece in &flow.pieces {
        let expected = next.of_mut(piece.dir).get_or_insert(piece.seq);
        let queue = waiting.of_mut(piece.dir);
        queue.push(piece);
        queue.sort_by_key(|p| i64::from(p.seq.wrapping_sub(*expected).cast_signed()));
        while let Some(i) = queue.iter().position(|p| p.seq.wrapping_sub(*expected).cast_signed() <= 0) {
            let taken = queue.remove(i);
            let overlap = usize::try_from(expected.wrapping_sub(taken.seq)).unwrap();
            let Some(fresh) = taken.bytes.get(overlap..).filter(|b| !b.is_empty()) else { continue };
            *expected = expected.wrapping_add(u32::try_from(fresh.len()).unwrap());
            out.push(Piece { at: piece.at, dir: piece.dir, seq: 0, missing: 0, bytes: fresh.to_vec() });
        }
    }
    out
}

/// Candidates by port first, then in the registry's order, as the pipeline tries them.
fn candidates(flow: &Flow, carrier: Carrier) -> Vec<&'static Protocol> {
    let mut all: Vec<&Protocol> = REGISTRY.iter().copied().filter(|p| p.carriers.contains(&carrier)).collect();
    all.sort_by_key(|p| !p.ports.contains(&flow.resp.port()) && !p.ports.contains(&flow.orig.port()));
    all
}

fn identify(flow: &Flow) -> Found {
    let carrier = if flow.tcp { Carrier::Stream } else { Carrier::Datagram };
    let pieces = if flow.tcp {
        in_order(flow)
    } else {
        flow.pieces.iter().map(|p| Piece { bytes: p.bytes.clone(), ..*p }).collect()
    };
    let mut found =
        Found { orig: flow.orig, resp: flow.resp, protocol: None, confirmed: false, fault: None, events: Vec::new() };
    let mut left = candidates(flow, carrier);
    let mut sent: Ends<Vec<u8>> = Ends::default();
    for (i, piece) in pieces.iter().enumerate() {
        if carrier == Carrier::Datagram {
            sent.of_mut(piece.dir).clear();
        }
        sent.of_mut(piece.dir).extend(&piece.bytes);
        let opening = Opening {
            carrier,
            sent: Ends { orig: &sent.orig, resp: &sent.resp },
            newest: piece.dir,
            before: &[],
            ports: Ends { orig: flow.orig.port(), resp: flow.resp.port() },
        };
        let answers: Vec<_> = left.iter().map(|p| (*p, (p.probe)(&opening))).collect();
        if let Some((protocol, _)) = answers.iter().find(|(_, answer)| *answer == Probe::Match) {
            found.protocol = Some(protocol.name);
            read(protocol, carrier, &pieces, &mut found);
            return found;
        }
        left = answers.into_iter().filter(|(_, answer)| *answer == Probe::NeedMore).map(|(p, _)| p).collect();
        if left.is_empty() || i > 50 {
            break;
        }
    }
    found
}

fn read(protocol: &Protocol, carrier: Carrier, pieces: &[Piece], found: &mut Found) {
    let mut analyzer = (protocol.analyzer)();
    let mut events = Events::default();
    for piece in pieces {
        let pdu = Pdu { at: piece.at, dir: piece.dir, bytes: &piece.bytes, carrier, missing: piece.missing };
        analyzer.on_pdu(&pdu, &mut events);
    }
    analyzer.on_close(pieces.last().map_or(Timestamp::default(), |p| p.at), &mut events);
    found.events = events.drain().collect();
    for event in &found.events {
        match event.kind {
            EventKind::Confirmed => found.confirmed = true,
            EventKind::Violation(fault) if !found.confirmed => found.fault = Some(fault.0),
            EventKind::Attribute { key, .. } => {
                assert!(protocol.attributes.contains(&key), "{key} is not declared by {}", protocol.name);
            }
            _ => {}
        }
    }
    // A violation before both ends agreed takes the match back.
    if found.fault.is_some() && !found.confirmed {
        found.protocol = None;
    }
}

impl Found {
    fn attribute(&self, wanted: &str) -> Option<&str> {
        self.events.iter().find_map(|e| match &e.kind {
            EventKind::Attribute { key, value } if *key == wanted => Some(value.as_str()),
            _ => None,
        })
    }

    fn line(&self) -> String {
        let state = if self.confirmed { "confirmed" } else { "likely" };
        let mut out = format!("{} > {} {} {state}", self.orig, self.resp, self.protocol.unwrap_or("-"));
        let mut asked = HashMap::new();
        for event in &self.events {
            match &event.kind {
                EventKind::Attribute { key, value } => out += &format!(" {key}={value:?}"),
                EventKind::Handover { to, .. } => out += &format!(" ->{to}"),
                EventKind::Violation(fault) => out += &format!(" !{}", fault.0),
                EventKind::Ask(l) => {
                    asked.entry(*l).and_modify(|at: &mut Vec<Timestamp>| at.push(event.at)).or_insert(vec![event.at]);
                }
                EventKind::Answer(l) => {
                    if let Some(rtt) = asked.remove(l).filter(|a| a.len() == 1).and_then(|a| event.at.since(a[0])) {
                        out += &format!(" {}:{:.1}ms", l.method, rtt.as_secs_f64() * 1000.0);
                    }
                }
                _ => {}
            }
        }
        out
    }
}

/// Tab-separated rows by column name.
fn rows(path: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let row = |line: &str| head.iter().zip(line.split('\t')).map(|(k, v)| (String::from(*k), v.to_owned())).collect();
    lines.map(row).collect()
}

/// The words nDPI uses for what we read, and ours.
const LABELS: [(&str, &[&str]); 17] = [
    ("SSH", &["ssh"]),
    ("RDP", &["rdp"]),
    ("VNC", &["rfb"]),
    ("OpenVPN", &["openvpn"]),
    ("WireGuard", &["wireguard"]),
    ("DNS", &["dns"]),
    ("HTTP", &["http", "http-connect"]),
    ("HTTP_Connect", &["http-connect"]),
    ("MDNS", &["mdns"]),
    ("LLMNR", &["llmnr"]),
    ("SMTP", &["smtp"]),
    ("IMAP", &["imap"]),
    ("POP3", &["pop3"]),
    ("FTP_CONTROL", &["ftp"]),
    ("Jabber", &["xmpp"]),
    ("PostgreSQL", &["postgresql"]),
    ("MySQL", &["mysql"]),
];

/// The transport protocol in a label like `DNS.Google`.
fn ours(label: &str) -> Option<&'static [&'static str]> {
    let first = label.split('.').find_map(|part| LABELS.iter().find(|(word, _)| *word == part));
    first.map(|(_, names)| *names)
}

fn every_file(root: &Path) -> Vec<String> {
    let mut files: Vec<String> =
        rows(&root.join("MANIFEST.tsv")).into_iter().filter_map(|mut r| r.remove("path")).collect();
    files.sort();
    files.dedup();
    files
}

/// The whole table, for people: `cargo test --test proto_corpus -- --ignored --nocapture`.
#[test]
#[ignore = "reads every capture and prints"]
fn table() {
    let Some(root) = shared() else { return };
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted: BTreeSet<_> = every_file(&root).into_iter().filter(|f| f.contains(&only)).collect();
    let mut totals: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for file in &wanted {
        let found: Vec<Found> = flows(&root.join(file)).iter().map(identify).collect();
        for flow in found.iter().filter(|f| f.protocol.is_some() || f.fault.is_some()) {
            println!("{file}\t{}", flow.line());
            let name = flow.protocol.unwrap_or("taken-back");
            *totals.entry((name.to_owned(), if flow.confirmed { "confirmed" } else { "likely" })).or_default() += 1;
        }
    }
    println!("\n{totals:#?}");
    compare(&root, &wanted, true);
}

/// What must be found again among the labelled flows: protocol, flows at least, missed and false at most.
///
/// Missed DNS: captures in tunnels or fragments that this harness does not undo, an inverse query without question, a
/// NetBIOS name sent to port 53. Missed HTTP: a tunnel, and bytes sent ahead of the request to lead astray.
/// Missed RDP: RDP over UDP, which is another protocol here. Missed SSH: a person typing at an SSH server.
/// Missed XMPP: port 5223, with bytes that aren't XMPP's.
/// False DNS, HTTP and OpenVPN are right: the label is a rule of the origin, or a guess by port. False SMTP, IMAP and
/// FTP are right too: the label tells that they went over to TLS.
const EXPECTED: [(&str, u32, u32, u32); 16] = [
    ("ssh", 5, 1, 0),
    ("rdp", 2, 6, 0),
    ("rfb", 2, 0, 0),
    ("openvpn", 36, 0, 1),
    ("wireguard", 3, 0, 0),
    ("dns", 125, 5, 1),
    ("http", 100, 2, 3),
    ("http-connect", 1, 0, 0),
    ("mdns", 10, 0, 0),
    ("llmnr", 5, 0, 0),
    ("smtp", 1, 0, 2),
    ("imap", 1, 0, 1),
    ("ftp", 0, 0, 1),
    ("xmpp", 0, 2, 0),
    ("postgresql", 6, 0, 0),
    ("mysql", 2, 0, 0),
];

#[test]
fn labelled_flows_are_found_again() {
    let Some(root) = shared() else { return };
    let files: BTreeSet<_> = every_file(&root).into_iter().filter(|f| !f.starts_with("malformed/fuzz/")).collect();
    let scores = compare(&root, &files, false);
    for (name, agree, missed, extra) in EXPECTED {
        let score = scores.get(name).copied().unwrap_or_default();
        let good = score.agree >= agree && score.missed <= missed && score.extra <= extra;
        assert!(good, "{name}: {score:?}, wanted at least {agree} found, at most {missed} missed and {extra} false");
    }
}

/// Confirmed flows of files whose content is known from their origin.
#[test]
fn known_files_show_their_protocol() {
    let Some(root) = shared() else { return };
    let known: [(&str, &str, usize); 12] = [
        ("ssh/zeek__ssh__ssh.pcap", "ssh", 22),
        ("ssh/zeek__ssh__ssh-on-port-80.pcap", "ssh", 1),
        ("ssh/zeek__ssh__reverse-ssh.pcap", "ssh", 1),
        ("ssh/zeek__http__get-to-ssh-server.pcap", "ssh", 0),
        ("remote-desktop/zeek__rdp__rdp-to-ssl.pcap", "rdp", 2),
        ("remote-desktop/zeek__rdp__rdp-proprietary-encryption.pcap", "rdp", 2),
        ("remote-desktop/zeek__rdp__rdp-invalid-length.pcap", "rdp", 0),
        ("mixed/zeek__modbus__modbus-and-non-modbus-p502.pcap", "rdp", 0),
        ("remote-desktop/zeek__rfb__vnc-mac-to-linux.pcap", "rfb", 3),
        ("vpn/cl-openvpn__openvpn_udp_hmac_256.pcap", "openvpn", 1),
        ("vpn/ipfixprobe__wg.pcap", "wireguard", 3),
        ("vpn/ndpi__http_connect.pcap", "http-connect", 1),
    ];
    for (file, protocol, wanted) in known {
        let found: Vec<Found> = flows(&root.join(file)).iter().map(identify).collect();
        let confirmed = found.iter().filter(|f| f.protocol == Some(protocol) && f.confirmed).count();
        assert_eq!(confirmed, wanted, "{file}: {protocol}");
    }
}

#[test]
fn hassh_is_as_others_compute_it() {
    let Some(root) = shared() else { return };
    let files: BTreeSet<_> = every_file(&root).into_iter().collect();
    let (agree, differ, without) = hassh(&root, &files, false);
    // Without: one flow in GRE, which this harness does not undo.
    assert!(agree >= 10 && differ == 0 && without <= 2, "{agree} agree, {differ} differ, {without} without");
}

/// What Zeek's baselines say of a flow, in our keys and words.
#[test]
fn zeek_reads_the_same() {
    let Some(root) = shared() else { return };
    let keys = [
        ("ssh", "client", "ssh.client_banner"),
        ("ssh", "server", "ssh.server_banner"),
        ("ssh", "kex_alg", "ssh.kex"),
        ("ssh", "cipher_alg", "ssh.cipher"),
        ("ssh", "mac_alg", "ssh.mac"),
        ("ssh", "host_key_alg", "ssh.host_key_algorithm"),
        ("rdp", "cookie", "rdp.cookie"),
        ("rdp", "client_name", "rdp.client_name"),
        ("rfb", "desktop_name", "rfb.desktop_name"),
    ];
    let mut compared = 0;
    let mut read: HashMap<String, Vec<Found>> = HashMap::new();
    for row in rows(&root.join("expected/zeek-logs.tsv")) {
        let file = row["file"].clone();
        // What travels in tunnels is not for this harness.
        if file.starts_with("link-layers/") || !["ssh", "rdp", "rfb"].contains(&row["log"].as_str()) {
            continue;
        }
        let found = read.entry(file.clone()).or_insert_with(|| flows(&root.join(&file)).iter().map(identify).collect());
        let end = |ip: &str, port: &str| SocketAddr::new(row[ip].parse().unwrap(), row[port].parse().unwrap());
        let (orig, resp) = (end("orig_ip", "orig_port"), end("resp_ip", "resp_port"));
        let Some(flow) = found.iter().find(|f| (f.orig, f.resp) == (orig, resp)) else { continue };
        for (name, value) in row["fields"].split("; ").filter_map(|field| field.split_once('=')) {
            let Some((.., key)) = keys.iter().find(|(log, field, _)| *log == row["log"] && *field == name) else {
                continue;
            };
            let value = value.replace("\\\\", "\\");
            assert_eq!(flow.attribute(key), Some(value.as_str()), "{file} {orig} {key}");
            compared += 1;
        }
    }
    println!("{compared} values compared");
    assert!(compared >= 60, "only {compared} values were compared");
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Score {
    agree: u32,
    missed: u32,
    extra: u32,
}

/// Our names against nDPI's labels, flow by flow.
fn compare(root: &Path, files: &BTreeSet<String>, verbose: bool) -> BTreeMap<&'static str, Score> {
    let mut labels: BTreeMap<String, Vec<HashMap<String, String>>> = BTreeMap::new();
    for row in rows(&root.join("expected/ndpi-flows.tsv")) {
        if row["ndpi_config"] == "default" && files.contains(&row["file"]) {
            labels.entry(row["file"].clone()).or_default().push(row);
        }
    }
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    for (file, rows) in labels {
        let found: Vec<Found> = flows(&root.join(&file)).iter().map(identify).collect();
        for row in rows {
            let end = |ip: &str, port: &str| Some(SocketAddr::new(row[ip].parse().ok()?, row[port].parse().ok()?));
            let (Some(a), Some(b)) = (end("a_ip", "a_port"), end("b_ip", "b_port")) else { continue };
            let same = |f: &&Found| (f.orig, f.resp) == (a, b) || (f.orig, f.resp) == (b, a);
            let seen: Vec<_> = found.iter().filter(same).collect();
            let names: BTreeSet<_> = seen.iter().filter_map(|f| f.protocol).collect();
            let label = row["protocol"].as_str();
            let guessed = row["confidence"] != "DPI";
            match ours(label) {
                Some(expected) if expected.iter().any(|e| names.contains(e)) => {
                    scores.entry(expected[0]).or_default().agree += 1;
                }
                Some(expected) if !guessed => {
                    scores.entry(expected[0]).or_default().missed += 1;
                    if verbose {
                        let faults: Vec<_> = seen.iter().filter_map(|f| f.fault).collect();
                        println!("missed\t{file}\t{a} {b}\t{label}\t{names:?} {faults:?} flows {}", seen.len());
                    }
                }
                _ => {
                    for name in names {
                        scores.entry(name).or_default().extra += 1;
                        if verbose {
                            println!("extra\t{file}\t{a} {b}\t{label} ({})\t{name}", row["confidence"]);
                        }
                    }
                }
            }
        }
    }
    if verbose {
        println!("{scores:#?}");
        hassh(root, files, true);
    }
    scores
}

/// HASSH of both ends against the values that came with the captures: (agree, differ, without).
fn hassh(root: &Path, files: &BTreeSet<String>, verbose: bool) -> (u32, u32, u32) {
    let mut counts = (0, 0, 0);
    let mut read: HashMap<String, Vec<Found>> = HashMap::new();
    for row in rows(&root.join("expected/ja4.tsv")) {
        let file = row["file"].clone();
        if row["hassh"].is_empty() && row["hassh_server"].is_empty() || !files.contains(&file) {
            continue;
        }
        let path = root.join(&file);
        let found = read.entry(file).or_insert_with(|| flows(&path).iter().map(identify).collect());
        let (src, dst) = (row["src"].parse::<IpAddr>().unwrap(), row["dst"].parse::<IpAddr>().unwrap());
        let (sport, dport) = (row["src_port"].parse().unwrap(), row["dst_port"].parse().unwrap());
        let flow = found.iter().find(|f| {
            (f.orig, f.resp) == (SocketAddr::new(src, sport), SocketAddr::new(dst, dport)) && f.protocol == Some("ssh")
        });
        for (key, column) in [("ssh.hassh", "hassh"), ("ssh.hassh_server", "hassh_server")] {
            match (flow.and_then(|f| f.attribute(key)), row[column].as_str()) {
                (_, "") => {}
                (Some(told), wanted) if told == wanted => counts.0 += 1,
                (told, wanted) => {
                    if told.is_some() {
                        counts.1 += 1;
                    } else {
                        counts.2 += 1;
                    }
                    if verbose {
                        println!("hassh\t{}\t{src}:{sport} {column} wanted {wanted} got {told:?}", row["file"]);
                    }
                }
            }
        }
    }
    if verbose {
        println!("hassh agree, differ, without: {counts:?}");
    }
    counts
}
