//! Nobody but its own reader takes a flow for certain: the beginning of each flow of the captures is given to every
//! protocol of the registry, at that protocol's own port, and no stranger may confirm it.
//!
//! The order of the registry and the ports decide who is asked first; this says that they decide nothing else. Reads:
//! the captures of this repository, and those beside it where they are there. Does not: look at what is only likely.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops by panicking")]

mod common;

use common::{analyze_flows, shared};
use farmlight::base::{Direction, Ends, Timestamp};
use farmlight::flow::{Assembler, Chunk, FiveTuple, FlowKey, Limits};
use farmlight::protocol::{Carrier, EventKind, Events, Opening, Pdu, Probe, Protocol, REGISTRY};
use farmlight::source::{Inputs, Next, Source};
use farmlight::wire::{Decoded, Decoder, Packet, Transport};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Flows of one capture, turns of one flow, and datagrams that are probed.
const FLOWS: usize = 40;
const TURNS: usize = 40;
const PROBED: usize = 6;

/// Who may confirm what is another's, because it is that as well.
const KIN: &[(&str, &[&str])] = &[
    // They speak HTTP before they are themselves; a CONNECT is read by the same reader.
    ("http", &["http-connect", "websocket", "meshcentral", "rd-gateway", "wstunnel"]),
    ("http-connect", &["http"]),
    // One format: the port is what tells them apart (RFC 6762, RFC 4795; rsh and rexec).
    ("dns", &["mdns", "llmnr"]),
    ("mdns", &["dns", "llmnr"]),
    ("llmnr", &["dns", "mdns"]),
    ("rsh", &["rexec"]),
    ("rexec", &["rsh"]),
    // One flow of datagrams that all of these may share (RFC 7983).
    ("stun", &["turn", "dtls", "rtp"]),
    ("turn", &["stun", "dtls", "rtp"]),
    ("dtls", &["stun", "turn", "rtp", "anyconnect"]),
    ("rtp", &["stun", "turn", "dtls"]),
];

/// What one flow begins with.
#[derive(Default)]
struct Talk {
    assemblers: Ends<Assembler>,
    turns: Vec<(Direction, Vec<u8>)>,
}

impl Talk {
    fn add(&mut self, dir: Direction, packet: &Packet<'_>) {
        let turns = &mut self.turns;
        let Transport::Tcp(tcp) = packet.transport else {
            turns.push((dir, packet.payload.to_vec()));
            return;
        };
        let assembler = self.assemblers.of_mut(dir);
        if tcp.flags.is_syn() || tcp.flags.is_syn_ack() {
            assembler.on_syn(tcp.seq);
            return;
        }
        let mut keep = |chunk: Chunk<'_>| {
            if let Chunk::Bytes(_, bytes) = chunk {
                turns.push((dir, bytes.to_vec()));
            }
        };
        let at = Timestamp::default();
        assembler.on_segment(at, tcp.seq, packet.payload, packet.payload_len, &Limits::default(), &mut keep);
    }
}

/// The first flows of a capture over TCP and UDP.
fn talks(capture: &Path) -> Vec<(FlowKey, Carrier, Talk)> {
    let mut source = Inputs::open(&[capture.to_owned()], None).unwrap();
    let (mut decoder, mut known) = (Decoder::default(), HashMap::new());
    let mut talks: Vec<(FlowKey, Carrier, Talk)> = Vec::new();
    loop {
        let frame = match source.next() {
            Next::Frame(frame) => frame,
            Next::Idle(_) => continue,
            Next::End => return talks,
        };
        let Decoded::Packet(packet) = decoder.decode(&frame) else { continue };
        let carrier = match packet.transport {
            Transport::Tcp(_) => Carrier::Stream,
            Transport::Udp { .. } => Carrier::Datagram,
            _ => continue,
        };
        let (key, low) = FlowKey::of(&FiveTuple::of(&packet));
        let (index, orig_is_low) = *known.entry(key).or_insert((talks.len(), low));
        if index == talks.len() {
            talks.push((key, carrier, Talk::default()));
        }
        let dir = if low == orig_is_low { Direction::Orig } else { Direction::Resp };
        if index < FLOWS && talks[index].2.turns.len() < TURNS {
            talks[index].2.add(dir, &packet);
        }
    }
}

/// After how many turns a protocol takes a flow, if it does.
fn taken(protocol: &Protocol, carrier: Carrier, turns: &[(Direction, Vec<u8>)]) -> Option<usize> {
    let port = protocol.ports.first().copied().unwrap_or(443);
    let mut sent = Ends::<Vec<u8>>::default();
    for (i, (newest, bytes)) in turns.iter().enumerate() {
        let before = sent.of(*newest).clone();
        let kept = sent.of_mut(*newest);
        if carrier == Carrier::Datagram {
            kept.clear();
        }
        kept.extend(bytes);
        let opening = Opening {
            carrier,
            sent: Ends { orig: &sent.orig, resp: &sent.resp },
            before: if carrier == Carrier::Datagram { &before } else { &[] },
            newest: *newest,
            ports: Ends { orig: 50_000, resp: port },
        };
        match (protocol.probe)(&opening) {
            Probe::Match => return Some(i),
            Probe::NoMatch if carrier == Carrier::Stream => return None,
            _ if carrier == Carrier::Datagram && i + 1 == PROBED => return None,
            _ => {}
        }
    }
    None
}

/// Whether a protocol's reader is certain of a flow that its probe takes.
fn confirms(protocol: &Protocol, carrier: Carrier, turns: &[(Direction, Vec<u8>)]) -> bool {
    let Some(first) = taken(protocol, carrier, turns) else { return false };
    let first = if carrier == Carrier::Stream { 0 } else { first };
    let (mut reader, mut events) = ((protocol.analyzer)(), Events::default());
    for (i, (dir, bytes)) in turns.iter().enumerate().skip(first) {
        let at = Timestamp::from_nanos(i64::try_from(i).unwrap() * 1_000_000);
        reader.on_pdu(&Pdu { at, dir: *dir, bytes, carrier, missing: 0 }, &mut events);
        for event in events.drain() {
            match event.kind {
                EventKind::Confirmed => return true,
                EventKind::Violation(_) | EventKind::Settled | EventKind::Handover { .. } => return false,
                _ => {}
            }
        }
    }
    false
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng" || ext == "cap") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The strangers that confirm a flow of these captures; how many pairs of flow and stranger were tried; and how many
/// flows their own readers confirm here, without which the first would say nothing.
fn strangers(captures: &[PathBuf]) -> (BTreeSet<String>, usize, usize) {
    let (mut found, mut tried, mut confirmed) = (BTreeSet::new(), 0, 0);
    for capture in captures {
        let sessions = analyze_flows(capture).sessions;
        for (key, carrier, talk) in talks(capture) {
            let own: Vec<&str> = sessions
                .iter()
                .filter(|session| FlowKey::of(&session.tuple).0 == key)
                .flat_map(|session| [session.protocol, session.carrier].into_iter().flatten())
                .collect();
            let kin =
                |name: &str| KIN.iter().any(|(kin, others)| *kin == name && own.iter().any(|own| others.contains(own)));
            let named = REGISTRY.iter().filter(|p| p.carriers.contains(&carrier) && own.contains(&p.name));
            confirmed += usize::from(named.copied().any(|p| confirms(p, carrier, &talk.turns)));
            let others = REGISTRY.iter().filter(|p| p.carriers.contains(&carrier));
            for other in others.filter(|p| !own.contains(&p.name) && !kin(p.name)) {
                tried += 1;
                if confirms(other, carrier, &talk.turns) {
                    let name = capture.file_name().unwrap().to_string_lossy();
                    found.insert(format!("{name}: {} is what {own:?} is", other.name));
                }
            }
        }
    }
    (found, tried, confirmed)
}

#[test]
fn no_stranger_confirms_a_flow_of_our_captures() {
    let (found, tried, confirmed) = strangers(&captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")));
    assert!(found.is_empty(), "{found:#?}");
    assert!(tried > 10_000 && confirmed > 200, "{tried} {confirmed}");
}

#[test]
fn no_stranger_confirms_a_flow_of_outside_captures() {
    let Some(folder) = shared() else { return };
    let all: Vec<PathBuf> = ["remote-desktop", "vpn", "ssh", "tls-quic", "webrtc", "mixed"]
        .iter()
        .flat_map(|sub| captures(&folder.join("captures").join(sub)))
        .collect();
    let (found, tried, confirmed) = strangers(&all);
    assert!(found.is_empty(), "{found:#?}");
    assert!(tried > 200_000 && confirmed > 1_400, "{tried} {confirmed}");
}
