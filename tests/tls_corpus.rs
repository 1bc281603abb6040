//! JA3, JA3S and JA4 of real captures against what other programs say of them.
//!
//! Reads: the shared captures and their expected/*.tsv, where they are there; says so and passes where they are not.
//! Brings its own TCP order (by sequence number, retransmissions dropped) so that it tests the analyzers alone.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use farmlight::base::{Direction, Ends, Timestamp};
use farmlight::protocol::{Analyzer, Carrier, EventKind, Events, Opening, Pdu, Probe, Protocol, named};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

type Facts = BTreeMap<&'static str, Vec<String>>;

/// Attributes by (transport, sender, receiver).
type Seen = HashMap<(&'static str, SocketAddr, SocketAddr), Facts>;

fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("FARMLIGHT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("captures");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no captures at {}", path.display());
    None
}

struct Flow {
    protocol: &'static Protocol,
    orig: SocketAddr,
    resp: SocketAddr,
    analyzer: Option<Box<dyn Analyzer>>,
    tcp: Ends<Tcp>,
}

#[derive(Default)]
struct Tcp {
    next: Option<u32>,
    waiting: BTreeMap<u32, Vec<u8>>,
}

impl Tcp {
    /// The bytes that are in order now.
    fn take(&mut self, seq: u32, syn: bool, payload: &[u8]) -> Vec<Vec<u8>> {
        if syn {
            self.next = Some(seq.wrapping_add(1));
            self.waiting.clear();
            return Vec::new();
        }
        let mut next = *self.next.get_or_insert(seq);
        if !payload.is_empty() && self.waiting.len() < 256 {
            let known = self.waiting.entry(seq).or_default();
            if known.len() < payload.len() {
                *known = payload.to_vec();
            }
        }
        let mut out = Vec::new();
        loop {
            let usable = self
                .waiting
                .iter()
                .find(|(s, p)| {
                    let behind = next.wrapping_sub(**s);
                    behind < 0x8000_0000 && (behind as usize) < p.len()
                })
                .map(|(s, _)| *s);
            let Some(s) = usable else { break };
            let piece = self.waiting.remove(&s).unwrap();
            let new = piece[next.wrapping_sub(s) as usize..].to_vec();
            next = next.wrapping_add(new.len() as u32);
            out.push(new);
        }
        self.waiting.retain(|s, p| {
            let behind = next.wrapping_sub(*s);
            behind >= 0x8000_0000 || behind as usize <= p.len() && behind == 0
        });
        self.next = Some(next);
        out
    }
}

impl Flow {
    fn feed(&mut self, at: Timestamp, dir: Direction, carrier: Carrier, bytes: &[u8], seen: &mut Seen) {
        let other = Ends { orig: self.orig.port(), resp: self.resp.port() };
        let mut sent: Ends<&[u8]> = Ends::default();
        *sent.of_mut(dir) = bytes;
        // A stream may become TLS at any segment: the test plays the protocols that hand over.
        if self.analyzer.is_none()
            && (self.protocol.probe)(&Opening { carrier, sent, newest: dir, ports: other }) == Probe::Match
        {
            self.analyzer = Some((self.protocol.analyzer)());
        }
        let Some(analyzer) = &mut self.analyzer else { return };
        let mut events = Events::default();
        analyzer.on_pdu(&Pdu { at, dir, bytes, carrier, missing: 0 }, &mut events);
        let transport = if carrier == Carrier::Stream { "tcp" } else { "udp" };
        for event in events.drain() {
            let (from, to) = match event.dir {
                Direction::Orig => (self.orig, self.resp),
                Direction::Resp => (self.resp, self.orig),
            };
            match event.kind {
                EventKind::Attribute { key, value } => {
                    assert!(self.protocol.attributes.contains(&key), "{key} is not declared");
                    seen.entry((transport, from, to)).or_default().entry(key).or_default().push(value);
                }
                EventKind::Settled => self.analyzer = None,
                _ => {}
            }
        }
    }
}

fn slice(link: i32, bytes: &[u8]) -> Option<SlicedPacket<'_>> {
    match link {
        1 => SlicedPacket::from_ethernet(bytes).ok(),
        113 => SlicedPacket::from_ip(bytes.get(16..)?).ok(),
        276 => SlicedPacket::from_ip(bytes.get(20..)?).ok(),
        0 | 108 => SlicedPacket::from_ip(bytes.get(4..)?).ok(),
        12 | 101 | 228 | 229 => SlicedPacket::from_ip(bytes).ok(),
        _ => None,
    }
}

fn read(path: &Path) -> Option<Seen> {
    let mut capture = pcap::Capture::from_file(path).ok()?;
    let link = capture.get_datalink().0;
    let mut flows: HashMap<(&str, SocketAddr, SocketAddr), Flow> = HashMap::new();
    let mut seen = Seen::new();
    let mut decoded = 0;
    while let Ok(packet) = capture.next_packet() {
        let time = packet.header.ts;
        let at = Timestamp::from_parts(time.tv_sec, time.tv_usec * 1000);
        let Some(sliced) = slice(link, packet.data) else { continue };
        let (src, dst): (IpAddr, IpAddr) = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            Some(NetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            _ => continue,
        };
        let (transport, src, dst) = match &sliced.transport {
            Some(TransportSlice::Tcp(t)) => {
                ("tcp", SocketAddr::new(src, t.source_port()), SocketAddr::new(dst, t.destination_port()))
            }
            Some(TransportSlice::Udp(u)) => {
                ("udp", SocketAddr::new(src, u.source_port()), SocketAddr::new(dst, u.destination_port()))
            }
            _ => continue,
        };
        decoded += 1;
        let key = (transport, src.min(dst), src.max(dst));
        let fresh_syn = matches!(&sliced.transport, Some(TransportSlice::Tcp(t)) if t.syn() && !t.ack());
        let name = if transport == "tcp" { "tls" } else { "quic" };
        let Some(protocol) = named(name) else { continue };
        let make = || Flow { protocol, orig: src, resp: dst, analyzer: None, tcp: Ends::default() };
        if fresh_syn {
            let known = flows.get(&key).and_then(|f| f.tcp.orig.next);
            let Some(TransportSlice::Tcp(t)) = &sliced.transport else { continue };
            if known.is_some_and(|next| next != t.sequence_number().wrapping_add(1)) {
                flows.remove(&key);
            }
        }
        let flow = flows.entry(key).or_insert_with(make);
        let dir = if src == flow.orig { Direction::Orig } else { Direction::Resp };
        match &sliced.transport {
            Some(TransportSlice::Tcp(t)) => {
                let pieces = flow.tcp.of_mut(dir).take(t.sequence_number(), t.syn(), t.payload());
                for piece in pieces {
                    flow.feed(at, dir, Carrier::Stream, &piece, &mut seen);
                }
            }
            Some(TransportSlice::Udp(u)) => flow.feed(at, dir, Carrier::Datagram, u.payload(), &mut seen),
            _ => {}
        }
    }
    (decoded > 0).then_some(seen)
}

/// One value another program gives: file, transport, sender, receiver, attribute, value.
struct Expected {
    file: String,
    transport: &'static str,
    src: SocketAddr,
    dst: SocketAddr,
    key: &'static str,
    value: String,
}

fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines.map(|l| head.iter().map(|h| h.to_string()).zip(l.split('\t').map(str::to_owned)).collect()).collect()
}

fn socket(ip: &str, port: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

fn expectations(root: &Path) -> Vec<(&'static str, Expected)> {
    let mut out = Vec::new();
    let dir = root.join("expected");
    let mut add = |source, row: &HashMap<String, String>, names: [&str; 4], transport, key, value: &str| {
        let [a, b, c, d] = names.map(|n| row[n].as_str());
        if let (Some(src), Some(dst), false) = (socket(a, b), socket(c, d), value.is_empty()) {
            let file = row["file"].clone();
            out.push((source, Expected { file, transport, src, dst, key, value: value.to_owned() }));
        }
    };
    let ends = ["src", "src_port", "dst", "dst_port"];
    for row in table(&dir.join("tls-ja3-tshark.tsv")) {
        let transport = if row["l4"] == "tcp" { "tcp" } else { "udp" };
        add("tshark ja3", &row, ends, transport, "tls.ja3", &row["ja3_client"]);
        add("tshark ja3s", &row, ends, transport, "tls.ja3s", row.get("ja3_server").map_or("", |v| v));
    }
    for row in table(&dir.join("tcp-rtt.tsv")) {
        let ends = ["client_ip", "client_port", "server_ip", "server_port"];
        add("rtt ja3", &row, ends, "tcp", "tls.ja3", row.get("ja3").map_or("", |v| v));
    }
    for row in table(&dir.join("ja4.tsv")) {
        let transport = if row["transport"] == "tcp" { "tcp" } else { "udp" };
        add("ja4", &row, ends, transport, "tls.ja4", &row["ja4"]);
    }
    for row in table(&dir.join("ja4-python.tsv")) {
        let transport = if row["value"].starts_with('q') { "udp" } else { "tcp" };
        add("ja4 python", &row, ends, transport, "tls.ja4", &row["value"]);
    }
    for row in table(&dir.join("ndpi-flows.tsv")) {
        let transport = if row["l4"] == "TCP" { "tcp" } else { "udp" };
        let ends = ["a_ip", "a_port", "b_ip", "b_port"];
        add("ndpi ja4", &row, ends, transport, "tls.ja4", row.get("ja4").map_or("", |v| v));
        add("ndpi ja3", &row, ends, transport, "tls.ja3", row.get("ja3").map_or("", |v| v));
    }
    out
}

#[test]
fn fingerprints_of_real_captures() {
    let Some(root) = shared() else { return };
    let all = std::env::var_os("FARMLIGHT_CORPUS_ALL").is_some();
    let expected = expectations(&root);
    let files: BTreeSet<&str> = expected.iter().map(|(_, e)| e.file.as_str()).collect();
    let mut seen = HashMap::new();
    for file in files {
        let path = root.join(file);
        let size = std::fs::metadata(&path).map_or(u64::MAX, |m| m.len());
        // The large captures repeat the same few clients; they are read on demand.
        if all || size < 1_000_000 {
            if let Some(facts) = read(&path) {
                seen.insert(file.to_owned(), facts);
            }
        }
    }
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (source, e) in &expected {
        let Some(facts) = seen.get(&e.file) else { continue };
        let values = facts.get(&(e.transport, e.src, e.dst)).and_then(|f| f.get(e.key));
        let equal = values.is_some_and(|v| v.contains(&e.value));
        let count = tally.entry(source).or_default();
        count.0 += usize::from(equal);
        count.1 += 1;
        if !equal {
            println!("{source}\t{}\t{} {} > {}\t{}\t{:?}", e.file, e.transport, e.src, e.dst, e.value, values);
        }
    }
    println!("{tally:?}");
}
