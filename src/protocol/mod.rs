//! Which protocol a flow speaks, and what its handshake says.
//!
//! A leaf room: one file a protocol, none imports another. Each declares one [`Protocol`] and stands in [`REGISTRY`].
//! Emits: [`Event`]s with an open vocabulary of attributes, so that no consumer changes when a protocol is added.
//! Does not: weigh, judge, keep state beyond the handshake, or fail: malformed bytes are [`EventKind::Violation`]s.
//!
//! To add one: the file, its `mod` line and its [`REGISTRY`] line here, a page in `docs/protocols/`.

pub mod codec;
mod dns;
mod http;
mod openvpn;
mod rdp;
mod rfb;
mod ssh;
#[cfg(test)]
pub(crate) mod testkit;
mod wireguard;

use crate::base::{Direction, Ends, Layer, Timestamp};
use std::net::IpAddr;

/// All protocols, in the order they are tried when no port gives a hint: exact openings first.
pub static REGISTRY: &[&Protocol] = &[
    &ssh::SSH,
    &wireguard::WIREGUARD,
    &openvpn::OPENVPN,
    &rdp::RDP,
    &rfb::RFB,
    &http::HTTP_CONNECT,
    &http::HTTP,
    &dns::DNS,
    &dns::MDNS,
    &dns::LLMNR,
];

/// The entry of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Protocol> {
    REGISTRY.iter().copied().find(|p| p.name == name)
}

/// One protocol: how to recognise it and who reads it.
#[derive(Debug)]
pub struct Protocol {
    /// Name in records, lower-case kebab.
    pub name: &'static str,
    /// What it is used for.
    pub category: Category,
    /// What carries it.
    pub carriers: &'static [Carrier],
    /// Ports that make it a candidate to try first; never a verdict.
    pub ports: &'static [u16],
    /// Every attribute key its analyzer may emit.
    pub attributes: &'static [Key],
    /// Looks at the first bytes. Cheap: runs for each new flow.
    pub probe: fn(&Opening<'_>) -> Probe,
    /// Makes the reader of a flow that matched (or was handed over by another protocol).
    pub analyzer: fn() -> Box<dyn Analyzer>,
}

/// What a session is used for (the contract's `category`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// A screen driven from afar.
    RemoteDesktop,
    /// A shell.
    RemoteShell,
    /// A keyboard-video-mouse box.
    Kvm,
    /// A tunnel for packets.
    Vpn,
    /// A relay for connections.
    Proxy,
    /// Calls.
    Conferencing,
    /// Who somebody is.
    Identity,
    /// The web.
    Web,
    /// Anything else.
    Other,
}

impl Category {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RemoteDesktop => "remote-desktop",
            Self::RemoteShell => "remote-shell",
            Self::Kvm => "kvm",
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::Conferencing => "conferencing",
            Self::Identity => "identity",
            Self::Web => "web",
            Self::Other => "other",
        }
    }
}

/// What carries a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// An ordered byte stream (TCP).
    Stream,
    /// Datagrams (UDP): one PDU is one whole datagram.
    Datagram,
}

/// What of a flow a probe gets to see.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Stream or datagrams.
    pub carrier: Carrier,
    /// Stream: the first bytes each end sent, as far as seen. Datagrams: the newest one of each end. Empty when none.
    pub sent: Ends<&'a [u8]>,
    /// The end that sent the newest bytes.
    pub newest: Direction,
    /// Originator's and responder's port.
    pub ports: Ends<u16>,
}

/// A probe's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol: give the flow to its analyzer. Said on one direction alone only if the bytes are
    /// distinctive; the analyzer [confirms](EventKind::Confirmed) once both ends agree, or takes it back.
    Match,
    /// It may be; show more bytes.
    NeedMore,
    /// It is not, whatever follows.
    NoMatch,
}

/// A piece of what one end sent: the next bytes of a stream, or a whole datagram.
#[derive(Debug, Clone, Copy)]
pub struct Pdu<'a> {
    /// When it passed the capture point. For a stream: when the last missing byte before it had passed.
    pub at: Timestamp,
    /// Who sent it.
    pub dir: Direction,
    /// The bytes. A stream may be cut anywhere; analyzers must give the same events for any cut.
    pub bytes: &'a [u8],
    /// Stream or datagram.
    pub carrier: Carrier,
    /// Bytes of a datagram that the snap length cut off; 0 for streams.
    pub missing: u32,
}

/// Reads one flow of one protocol.
pub trait Analyzer: Send {
    /// The next piece.
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events);

    /// `len` bytes of the stream from `dir` were never captured. The default gives up.
    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        let _ = len;
        events.settled(at, dir);
    }

    /// The flow has ended.
    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        let _ = (at, events);
    }
}

/// The name of an attribute, as `protocol.field`.
pub type Key = &'static str;

/// A rule of a protocol that bytes broke, by name (`tls.record-length-beyond-limit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault(pub &'static str);

/// A closed loop: one end cannot send the answer before it has got what asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loop {
    /// Whose endpoints close it.
    pub layer: Layer,
    /// The method's name in records; its bias is documented in `docs/meters.md`.
    pub method: &'static str,
}

/// Something an analyzer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who sent what showed it.
    pub dir: Direction,
    /// What.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Both ends behave as the protocol says; from here on the name is certain.
    Confirmed,
    /// The bytes break a rule of the protocol. Before `Confirmed` this takes the match back.
    Violation(Fault),
    /// A fact, said in clear on the wire. A key said twice keeps the first value.
    Attribute {
        /// Which.
        key: Key,
        /// Printable text; bytes that are not UTF-8 are replaced.
        value: String,
    },
    /// `dir` has just sent the last byte of something that the other end must have before it can answer.
    Ask(Loop),
    /// `dir` has just sent the first byte of the answer.
    Answer(Loop),
    /// The bytes that follow (from both ends, this PDU's rest included in `rest`) belong to another protocol.
    Handover {
        /// Name in the registry.
        to: &'static str,
        /// True if the child carries this protocol on (RDP's TLS); false if the child is the cargo (CONNECT).
        as_carrier: bool,
        /// Bytes of this PDU, sent by `dir`, that already belong to the child.
        rest: Vec<u8>,
    },
    /// An address has this name (DNS).
    Name {
        /// The address.
        address: IpAddr,
        /// The name asked for.
        name: String,
    },
    /// Nothing more is to be learned: the analyzer may be dropped.
    Settled,
}

/// Where an analyzer puts its events; reused from PDU to PDU.
#[derive(Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, at: Timestamp, dir: Direction, kind: EventKind) {
        self.0.push(Event { at, dir, kind });
    }

    /// See [`EventKind::Confirmed`].
    pub fn confirmed(&mut self, at: Timestamp, dir: Direction) {
        self.push(at, dir, EventKind::Confirmed);
    }

    /// See [`EventKind::Violation`].
    pub fn violation(&mut self, at: Timestamp, dir: Direction, fault: &'static str) {
        self.push(at, dir, EventKind::Violation(Fault(fault)));
    }

    /// See [`EventKind::Attribute`].
    pub fn attribute(&mut self, at: Timestamp, dir: Direction, key: Key, value: impl Into<String>) {
        self.push(at, dir, EventKind::Attribute { key, value: value.into() });
    }

    /// See [`EventKind::Ask`].
    pub fn ask(&mut self, at: Timestamp, dir: Direction, layer: Layer, method: &'static str) {
        self.push(at, dir, EventKind::Ask(Loop { layer, method }));
    }

    /// See [`EventKind::Answer`].
    pub fn answer(&mut self, at: Timestamp, dir: Direction, layer: Layer, method: &'static str) {
        self.push(at, dir, EventKind::Answer(Loop { layer, method }));
    }

    /// See [`EventKind::Handover`].
    pub fn handover(&mut self, at: Timestamp, dir: Direction, to: &'static str, as_carrier: bool, rest: &[u8]) {
        self.push(at, dir, EventKind::Handover { to, as_carrier, rest: rest.to_vec() });
    }

    /// See [`EventKind::Name`].
    pub fn name(&mut self, at: Timestamp, dir: Direction, address: IpAddr, name: impl Into<String>) {
        self.push(at, dir, EventKind::Name { address, name: name.into() });
    }

    /// See [`EventKind::Settled`].
    pub fn settled(&mut self, at: Timestamp, dir: Direction) {
        self.push(at, dir, EventKind::Settled);
    }

    /// Takes the events out, oldest first.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Event> {
        self.0.drain(..)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
