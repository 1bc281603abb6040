//! Protocols of which no real capture could be made here, as their public descriptions say they look: whole dialogues
//! through the whole engine, and their look-alikes, which must not be taken for them.
//!
//! One file a group of protocols. Does not: prove that the real software does so; docs/identification.md says of which
//! protocols only a description was at hand.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test stops by panicking; each group uses a part of what is here"
)]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod desktops;
mod proxies;
mod rfb_kvm;
mod thin;
mod tools;
mod tunnels;
mod vpns;
mod webrtc;

use etherparse::PacketBuilder;
use farmlight::base::{LinkType, Timestamp};
use farmlight::session::Session;
use farmlight::source::{Memory, MemoryFrame};

/// Who sends: the client or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Client,
    Server,
}
pub use Who::{Client, Server};

/// The client's address in all dialogues.
pub const CLIENT: [u8; 4] = [198, 51, 100, 7];
/// The server's.
pub const SERVER: [u8; 4] = [192, 0, 2, 9];

/// Milliseconds between two turns.
const STEP: i64 = 20;

/// Collects the frames of one or more flows.
#[derive(Debug, Default)]
pub struct Tape {
    frames: Vec<MemoryFrame>,
    at: i64,
}

impl Tape {
    /// Lets time pass, in milliseconds.
    pub fn wait(&mut self, ms: i64) {
        self.at += ms;
    }

    fn frame(&mut self, bytes: Vec<u8>) {
        self.at += STEP;
        let at = Timestamp::from_nanos(1_700_000_000_000_000_000 + self.at * 1_000_000);
        let orig_len = u32::try_from(bytes.len()).unwrap();
        self.frames.push(MemoryFrame { at, link: LinkType::ETHERNET, orig_len, bytes });
    }

    /// A whole TCP connection: handshake, the turns in segments of at most 1,400 bytes, the end.
    pub fn tcp(&mut self, ports: (u16, u16), turns: &[(Who, &[u8])]) {
        let mut next = [1_000u32, 5_000u32];
        self.segment(ports, Client, &mut next, Flags::Syn, b"");
        self.segment(ports, Server, &mut next, Flags::SynAck, b"");
        self.segment(ports, Client, &mut next, Flags::Ack, b"");
        for (from, bytes) in turns {
            for part in bytes.chunks(1_400) {
                self.segment(ports, *from, &mut next, Flags::Ack, part);
            }
        }
        self.segment(ports, Client, &mut next, Flags::Fin, b"");
        self.segment(ports, Server, &mut next, Flags::Fin, b"");
    }

    /// The same from its middle: no handshake, no end.
    pub fn middle_of_tcp(&mut self, ports: (u16, u16), turns: &[(Who, &[u8])]) {
        let mut next = [1_000u32, 5_000u32];
        for (from, bytes) in turns {
            for part in bytes.chunks(1_400) {
                self.segment(ports, *from, &mut next, Flags::Ack, part);
            }
        }
    }

    fn segment(&mut self, ports: (u16, u16), from: Who, next: &mut [u32; 2], flags: Flags, payload: &[u8]) {
        let (src, dst, sport, dport) = match from {
            Client => (CLIENT, SERVER, ports.0, ports.1),
            Server => (SERVER, CLIENT, ports.1, ports.0),
        };
        let own = usize::from(from == Server);
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 60).tcp(sport, dport, next[own], 60_000);
        let builder = match flags {
            Flags::Syn => builder.syn(),
            Flags::SynAck => builder.syn().ack(next[1 - own]),
            Flags::Ack => builder.ack(next[1 - own]),
            Flags::Fin => builder.fin().ack(next[1 - own]),
        };
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        let grows = u32::try_from(payload.len()).unwrap() + u32::from(!matches!(flags, Flags::Ack));
        next[own] = next[own].wrapping_add(grows);
        self.frame(bytes);
    }

    /// Datagrams of one UDP flow.
    pub fn udp(&mut self, ports: (u16, u16), turns: &[(Who, &[u8])]) {
        for (from, payload) in turns {
            let (src, dst) = if *from == Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
            let (sport, dport) = if *from == Client { ports } else { (ports.1, ports.0) };
            self.udp_between((src, sport), (dst, dport), payload);
        }
    }

    /// One datagram between any two ends.
    pub fn udp_between(&mut self, src: ([u8; 4], u16), dst: ([u8; 4], u16), payload: &[u8]) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src.0, dst.0, 60).udp(src.1, dst.1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        self.frame(bytes);
    }

    /// One packet of another IP protocol.
    pub fn ip(&mut self, from: Who, number: u8, payload: &[u8]) {
        let (src, dst) = if from == Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 60);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, etherparse::IpNumber(number), payload).unwrap();
        self.frame(bytes);
    }

    /// What is found on the tape.
    pub fn sessions(self) -> Vec<Session> {
        common::analyze_source(&mut Memory::new(self.frames), 1).sessions
    }
}

#[derive(Debug, Clone, Copy)]
enum Flags {
    Syn,
    SynAck,
    Ack,
    Fin,
}

/// The sessions of one TCP connection.
pub fn tcp(port: u16, turns: &[(Who, &[u8])]) -> Vec<Session> {
    let mut tape = Tape::default();
    tape.tcp((50_123, port), turns);
    tape.sessions()
}

/// The sessions of one UDP flow.
pub fn udp(port: u16, turns: &[(Who, &[u8])]) -> Vec<Session> {
    let mut tape = Tape::default();
    tape.udp((50_123, port), turns);
    tape.sessions()
}

/// The name of the only session and how sure it is; `-` where there is none.
#[track_caller]
pub fn named(sessions: &[Session]) -> (&'static str, &'static str) {
    let [session] = sessions else { panic!("{} sessions: {sessions:#?}", sessions.len()) };
    (session.protocol.unwrap_or("-"), session.confidence.map_or("-", farmlight::session::Confidence::name))
}

/// That no session is more than guessed from a port to be remote control, a tunnel or a proxy.
#[track_caller]
pub fn nothing(sessions: &[Session]) {
    use farmlight::protocol::Category::{Conferencing, Identity, Other, Web};
    use farmlight::session::Confidence::PortOnly;
    for session in sessions {
        let tame = session.category.is_none_or(|category| matches!(category, Web | Other | Identity | Conferencing));
        assert!(tame || session.confidence == Some(PortOnly), "{session:#?}");
    }
}

/// Bytes that look encrypted, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    };
    (0..len).map(next).collect()
}

#[test]
fn a_page_on_any_port_is_a_page() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nRFB 003.008\n";
    let get = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    for port in [80, 3389, 5900, 7070, 5938] {
        let sessions = tcp(port, &[(Client, get), (Server, page)]);
        assert_eq!(named(&sessions), ("http", "confirmed"));
        nothing(&sessions);
    }
}
