//! One flow of datagrams that STUN, TURN, DTLS and RTP share: who gets which datagram, and what the whole is called.
//!
//! Reads: the first byte of each datagram (RFC 7983, RFC 9443), and of what TURN carries. Emits: the events of the
//! readers below it, the flow's name as it becomes clear, `webrtc` as the program where keys for SRTP are agreed on or
//! DTLS follows ICE, and at the end how much media each end has sent, and whether that looks like a screen. Does not: follow a session to another flow.
//!
//! A flow is `dtls` from its first hello on, over `stun` where ICE was seen; `turn` once a message of TURN was seen,
//! whatever it carries; else `stun`, and `rtp` where no more than media was seen.

use super::dtls::Dtls;
use super::dtls_record::{Shape, is_unified, shape};
use super::rtp::{Tracker, Verdict};
use super::stun::{Message, channel_data};
use super::stun_dialogue::{Dialogue, Shown, Way};
use crate::base::{Direction, Events, Key, Link, Timestamp};

/// All keys that the readers of such a flow emit: whatever it is called, the others may share it.
pub const ATTRIBUTES: &[Key] = &[
    "tls.version",
    "tls.sni",
    "tls.alpn",
    "tls.alpn_offered",
    "tls.cipher",
    "tls.ja3",
    "tls.ja3s",
    "tls.ja4",
    "tls.resumed",
    "tls.hrr",
    "tls.ech",
    "tls.cert_subject",
    "tls.cert_issuer",
    "tls.cert_san",
    "tls.client_cert_subject",
    "dtls.srtp_offered",
    "dtls.srtp",
    "dtls.connection_id",
    "dtls.cookie",
    "dtls.client",
    "dtls.client_bytes",
    "dtls.server_bytes",
    "rtp.client_sent",
    "rtp.server_sent",
    "stun.software",
    "stun.client_software",
    "stun.username",
    "stun.mapped_address",
    "stun.controlling",
    "stun.nominated",
    "stun.error",
    "stun.origin",
    "stun.dialect",
    "turn.username",
    "turn.realm",
    "turn.relayed_address",
    "turn.peer_address",
    "turn.requested_transport",
];

/// Payload types as `type:packets:bytes`.
const SENT_BY_CLIENT: Key = "rtp.client_sent";
const SENT_BY_SERVER: Key = "rtp.server_sent";
/// Bytes of datagrams of protected records.
const DATA_BY_CLIENT: Key = "dtls.client_bytes";
const DATA_BY_SERVER: Key = "dtls.server_bytes";

/// What the flow is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// STUN, so far.
    Stun,
    /// TURN.
    Turn,
    /// DTLS.
    Dtls,
    /// Media alone.
    Rtp,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Turn => "turn",
            Self::Dtls => "dtls",
            Self::Rtp => "rtp",
        }
    }
}

/// Reads one flow.
#[derive(Debug)]
pub struct Multiplex {
    name: Name,
    confirmed: bool,
    stun: Dialogue,
    dtls: Dtls,
    rtp: Tracker,
    media: Verdict,
    /// Bytes of protected data of each end.
    data: [u64; 2],
    seen: Seen,
    /// Nothing more is to be learned.
    done: bool,
}

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Seen {
    stun: bool,
    ice: bool,
    /// DTLS, a hello or protected data.
    dtls: bool,
    /// The carrier was told.
    over: bool,
    /// The program was told.
    program: bool,
}

/// What passed: when, who sent it, and which way.
#[derive(Debug, Clone, Copy)]
struct Passed {
    at: Timestamp,
    dir: Direction,
    way: Way,
    missing: u32,
}

impl Multiplex {
    /// A flow that its first datagrams give that name.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            confirmed: false,
            stun: Dialogue::default(),
            dtls: Dtls::default(),
            rtp: Tracker::default(),
            media: Verdict::Open,
            data: [0; 2],
            seen: Seen::default(),
            done: false,
        }
    }

    /// The next datagram, or frame of a stream, of which the snap length cut `missing` bytes.
    pub fn on_datagram(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], missing: u32, events: &mut Events) {
        if !self.done {
            self.route(Passed { at, dir, way: Way::Direct, missing }, bytes, events);
        }
    }

    /// The flow has ended.
    pub fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.stun.on_close(at, events);
        if self.name == Name::Rtp && self.media == Verdict::Open && !self.rtp.saw_compound() {
            events.violation(at, Direction::Orig, "rtp.too-short");
        }
        for (dir, sent, data) in
            [(Direction::Orig, SENT_BY_CLIENT, DATA_BY_CLIENT), (Direction::Resp, SENT_BY_SERVER, DATA_BY_SERVER)]
        {
            if self.media == Verdict::Sure {
                let types: Vec<String> =
                    self.rtp.sent(dir).map(|s| format!("{}:{}:{}", s.payload_type, s.packets, s.bytes)).collect();
                if !types.is_empty() {
                    events.attribute(at, dir, sent, types.join(","));
                }
            }
            let bytes = self.data.get(dir.index()).copied().unwrap_or(0);
            if bytes > 0 {
                events.attribute(at, dir, data, bytes.to_string());
            }
        }
        if self.looks_like_a_screen() {
            events.link(at, Direction::Orig, Link::Signalled("webrtc"));
        }
    }

    /// Pictures and sound from one end alone, and keys and pointer beside them: in a call both ends speak.
    fn looks_like_a_screen(&self) -> bool {
        let sends = |dir| self.rtp.sent(dir).next().is_some();
        let one_way = sends(Direction::Orig) != sends(Direction::Resp);
        self.seen.ice
            && self.seen.dtls
            && self.media == Verdict::Sure
            && one_way
            && self.data.iter().all(|sum| *sum > 0)
    }

    fn route(&mut self, passed: Passed, bytes: &[u8], events: &mut Events) {
        match bytes.first() {
            Some(0..=3) => self.on_stun(passed, bytes, events),
            Some(20..=63) => self.on_dtls(passed, bytes, events),
            Some(64..=127) if passed.way == Way::Direct && matches!(self.name, Name::Turn | Name::Stun) => {
                if let Some(carried) = channel_data(bytes, passed.missing) {
                    self.route(Passed { way: Way::Relayed, ..passed }, carried, events);
                }
            }
            Some(128..=191) => self.on_media(passed, bytes, events),
            _ => {}
        }
    }

    fn on_stun(&mut self, passed: Passed, bytes: &[u8], events: &mut Events) {
        let Passed { at, dir, way, missing } = passed;
        let Some(message) = Message::parse(bytes, missing) else { return };
        self.seen.stun |= message.is_distinctive() || self.name == Name::Stun;
        if way == Way::Direct {
            if message.is_turn() {
                self.become_named(Name::Turn, passed, events);
            } else if self.name == Name::Rtp && message.is_distinctive() {
                self.become_named(Name::Stun, passed, events);
            }
        }
        let Shown { answered, ice, carried, program } = self.stun.on_message(at, dir, &message, way, events);
        let own = match self.name {
            Name::Stun => true,
            Name::Turn => message.is_turn(),
            Name::Dtls | Name::Rtp => false,
        };
        if answered && own && way == Way::Direct {
            self.confirm(passed, events);
        }
        self.seen.ice |= ice;
        if let Some(program) = program {
            self.program(program, passed, events);
        }
        if self.name == Name::Dtls {
            self.over_ice(passed, events);
        }
        if let Some(carried) = carried.filter(|_| way == Way::Direct) {
            self.route(Passed { way: Way::Relayed, missing: 0, ..passed }, carried, events);
        }
    }

    fn on_dtls(&mut self, passed: Passed, bytes: &[u8], events: &mut Events) {
        let shape = shape(bytes, passed.missing);
        let protected =
            shape == Shape::Protected || self.dtls.progress.agreed && bytes.first().is_some_and(|b| is_unified(*b));
        if protected
            && (self.dtls.progress.finished || !self.dtls.progress.hello)
            && let Some(sum) = self.data.get_mut(passed.dir.index())
        {
            *sum += u64::try_from(bytes.len()).unwrap_or(0) + u64::from(passed.missing);
        }
        let known = self.seen.dtls;
        self.seen.dtls |= protected || shape == Shape::Hello;
        if !self.seen.dtls {
            return;
        }
        if !known && passed.way == Way::Direct && self.name != Name::Turn {
            self.become_named(Name::Dtls, passed, events);
        }
        let through_relay = passed.way == Way::Relayed && self.stun.turn_client() != Some(passed.dir);
        self.dtls.on_datagram(passed.at, passed.dir, bytes, through_relay, events);
        let progress = self.dtls.progress;
        if progress.agreed && self.name == Name::Dtls {
            self.confirm(passed, events);
        }
        if self.name == Name::Dtls {
            self.over_ice(passed, events);
        }
        if self.seen.ice || progress.call || progress.srtp && !progress.named {
            self.program("webrtc", passed, events);
        }
        // A tunnel, say: nothing that follows tells more.
        if self.name == Name::Dtls && progress.finished && !self.seen.stun && !progress.srtp {
            self.done = true;
            events.settled(passed.at, passed.dir);
        }
    }

    fn on_media(&mut self, passed: Passed, bytes: &[u8], events: &mut Events) {
        if self.media == Verdict::No {
            return;
        }
        self.media = self.rtp.on_datagram(passed.dir, bytes, passed.missing);
        if self.media == Verdict::No && self.name == Name::Rtp {
            events.violation(passed.at, passed.dir, "rtp.inconsistent");
            self.done = true;
            events.settled(passed.at, passed.dir);
        }
    }

    /// DTLS after ICE's checks, or before them where the capture begins late.
    fn over_ice(&mut self, passed: Passed, events: &mut Events) {
        if self.seen.ice && !std::mem::replace(&mut self.seen.over, true) {
            events.becomes(passed.at, passed.dir, "dtls", Some("stun"));
            self.program("webrtc", passed, events);
        }
    }

    fn program(&mut self, name: &'static str, passed: Passed, events: &mut Events) {
        if !std::mem::replace(&mut self.seen.program, true) {
            events.application(passed.at, passed.dir, name);
        }
    }

    fn become_named(&mut self, name: Name, passed: Passed, events: &mut Events) {
        if self.name != name {
            self.name = name;
            self.confirmed = false;
            events.becomes(passed.at, passed.dir, name.text(), None);
        }
    }

    fn confirm(&mut self, passed: Passed, events: &mut Events) {
        if !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(passed.at, passed.dir);
        }
    }
}
