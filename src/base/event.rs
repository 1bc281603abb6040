//! What analyzers say: events with an open vocabulary, so that no consumer changes when a protocol is added.
//!
//! Stands here and not in `protocol` because protocols write events and meters read them, and neither knows the other.

use super::{Direction, Layer, Timestamp};
use std::net::IpAddr;

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
    /// The bytes that follow, from both ends, belong to another protocol; `rest` of them have already been read.
    Handover {
        /// Name in the registry.
        to: &'static str,
        /// True if the child carries this protocol on (RDP's TLS); false if the child is the cargo (CONNECT).
        as_carrier: bool,
        /// What this analyzer has got of the child's bytes, of either end, in the order in which it passed.
        rest: Vec<Piece>,
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

    /// See [`EventKind::Handover`].
    pub fn handover(&mut self, at: Timestamp, dir: Direction, to: &'static str, as_carrier: bool, rest: Vec<Piece>) {
        self.push(at, dir, EventKind::Handover { to, as_carrier, rest });
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
