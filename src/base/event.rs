//! What analyzers say: events with an open vocabulary, so that no consumer changes when a protocol is added.
//!
//! Stands here and not in `protocol` because protocols write events and meters read them, and neither knows the other.

use super::{Claim, Direction, Layer, Timestamp};
use std::net::{IpAddr, SocketAddr};

/// The name of an attribute, as `protocol.field`.
pub type Key = &'static str;

/// Where a [`EventKind::Handover`] goes if only the bytes that follow can tell: the cargo of a proxy is recognised
/// afresh, as if it were a flow of its own, and read; the flow keeps the proxy's name.
pub const CARGO: &str = "*";
/// The attribute that tells which protocol was recognised as cargo.
pub const CARGO_PROTOCOL: Key = "proxy.cargo";

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

/// What makes two flows parts of one session: flows that give equal links, at about the same time, are joined.
///
/// The word names the kind of session (`ike`, `webrtc`): links of different kinds never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// A flow between the same two addresses as the one that leads the session: the flow whose protocol has the word
    /// as its name (`ike` leads ESP, `rdp` over TCP leads RDP over UDP). Two that lead are two sessions.
    Pair(&'static str),
    /// Flows that know the same secret or random value (ICE's user fragments), whatever their addresses.
    Token(&'static str, u64),
    /// As [`Link::Token`], for values that are unique at one server only (WireGuard's index): meets only flows with
    /// the same responder address.
    AtServer(&'static str, u64),
    /// The responder's address and port of this flow, as another flow names it with [`Link::Endpoint`].
    Here(&'static str),
    /// This flow names the address and port where another flow's responder listens (SOCKS' UDP ASSOCIATE). An
    /// unspecified address means the responder of this flow.
    Endpoint(&'static str, SocketAddr),
    /// This flow sets up calls of a kind, whose flows name each other by tokens: calls between its own two ends, and
    /// one of its client's, if that is [`Link::Signalled`] and follows soon.
    Signals(&'static str),
    /// As [`Link::Signals`], for calls between its own two ends alone.
    SignalsHere(&'static str),
    /// This flow is part of a call of a kind that somebody elsewhere may have set up, and looks like a screen.
    Signalled(&'static str),
}

impl Link {
    /// A token of bytes, by their hash (FNV-1a, 64 bits).
    #[must_use]
    pub fn token(kind: &'static str, bytes: &[u8]) -> Self {
        Self::Token(kind, fnv(bytes))
    }

    /// A token of bytes that are unique at one server, by their hash.
    #[must_use]
    pub fn at_server(kind: &'static str, bytes: &[u8]) -> Self {
        Self::AtServer(kind, fnv(bytes))
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
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
    /// As [`EventKind::Ask`], where the answer may come on another flow between the same two addresses (IKE goes on at
    /// another port). Both ends know `token` and nobody else chooses it.
    AskAcross {
        /// The loop.
        of: Loop,
        /// What the answer will bear as well.
        token: u64,
    },
    /// The answer to an [`EventKind::AskAcross`] of another flow.
    AnswerAcross {
        /// The loop.
        of: Loop,
        /// What the question bore.
        token: u64,
    },
    /// The bytes that follow, from both ends, belong to another protocol; `rest` of them have already been read.
    Handover {
        /// Name in the registry, or [`CARGO`].
        to: &'static str,
        /// True if the child carries this protocol on (RDP's TLS); false if the child is the cargo (CONNECT).
        as_carrier: bool,
        /// What this analyzer has got of the child's bytes, of either end, in the order in which it passed.
        rest: Vec<Piece>,
    },
    /// The flow turns out to be something more specific than what it was called so far: STUN that was only ICE's checks
    /// before DTLS. Whether another name is certain is asked anew.
    Becomes {
        /// Name in the registry.
        to: &'static str,
        /// What carries it, if that is now known.
        over: Option<&'static str>,
    },
    /// An address has this name (DNS).
    Name {
        /// The address.
        address: IpAddr,
        /// The name asked for.
        name: String,
    },
    /// Somebody is said to be at an address.
    Claim(Box<Claim>),
    /// The program behind the protocol, where the bytes tell it (`realvnc`); lower-case kebab. The first stays.
    Application(&'static str),
    /// The flow is one of several of one session.
    Link(Link),
    /// The handshake has been read, and what follows is what the session is for, though the analyzer stays.
    Established,
    /// Nothing more is to be learned: the analyzer may be dropped.
    Settled,
}

/// Bytes of a stream that one analyzer leaves to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// When they passed.
    pub at: Timestamp,
    /// Who sent them.
    pub dir: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
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

    /// See [`EventKind::AskAcross`].
    pub fn ask_across(&mut self, at: Timestamp, dir: Direction, of: Loop, token: u64) {
        self.push(at, dir, EventKind::AskAcross { of, token });
    }

    /// See [`EventKind::AnswerAcross`].
    pub fn answer_across(&mut self, at: Timestamp, dir: Direction, of: Loop, token: u64) {
        self.push(at, dir, EventKind::AnswerAcross { of, token });
    }

    /// See [`EventKind::Handover`].
    pub fn handover(&mut self, at: Timestamp, dir: Direction, to: &'static str, as_carrier: bool, rest: Vec<Piece>) {
        self.push(at, dir, EventKind::Handover { to, as_carrier, rest });
    }

    /// See [`EventKind::Becomes`].
    pub fn becomes(&mut self, at: Timestamp, dir: Direction, to: &'static str, over: Option<&'static str>) {
        self.push(at, dir, EventKind::Becomes { to, over });
    }

    /// See [`EventKind::Name`].
    pub fn name(&mut self, at: Timestamp, dir: Direction, address: IpAddr, name: impl Into<String>) {
        self.push(at, dir, EventKind::Name { address, name: name.into() });
    }

    /// See [`EventKind::Claim`].
    pub fn claim(&mut self, at: Timestamp, dir: Direction, claim: Claim) {
        self.push(at, dir, EventKind::Claim(Box::new(claim)));
    }

    /// See [`EventKind::Application`].
    pub fn application(&mut self, at: Timestamp, dir: Direction, name: &'static str) {
        self.push(at, dir, EventKind::Application(name));
    }

    /// See [`EventKind::Link`].
    pub fn link(&mut self, at: Timestamp, dir: Direction, link: Link) {
        self.push(at, dir, EventKind::Link(link));
    }

    /// See [`EventKind::Established`].
    pub fn established(&mut self, at: Timestamp, dir: Direction) {
        self.push(at, dir, EventKind::Established);
    }

    /// See [`EventKind::Settled`].
    pub fn settled(&mut self, at: Timestamp, dir: Direction) {
        self.push(at, dir, EventKind::Settled);
    }

    /// Takes in what another reader told.
    pub fn pass_on(&mut self, event: Event) {
        self.0.push(event);
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
