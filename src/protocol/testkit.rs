//! Feeds an analyzer a dialogue, cut any way, and gives its events: for the tests beside the parsers.

use super::{Carrier, Event, EventKind, Events, Opening, Pdu, Probe, Protocol};
use crate::base::{Direction, Ends, Timestamp};

/// One end's turn: who, and the bytes.
pub(crate) type Turn<'a> = (Direction, &'a [u8]);

/// Message `i` of the dialogue passes at `i` milliseconds.
pub(crate) fn at(i: usize) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(i).unwrap() * 1_000_000)
}

/// The events of a stream whose turns are each cut into pieces of at most `piece` bytes.
pub(crate) fn stream(protocol: &Protocol, turns: &[Turn<'_>], piece: usize) -> Vec<Event> {
    let mut analyzer = (protocol.analyzer)();
    let mut events = Events::default();
    for (i, (dir, bytes)) in turns.iter().enumerate() {
        for part in bytes.chunks(piece.max(1)) {
            analyzer
                .on_pdu(&Pdu { at: at(i), dir: *dir, bytes: part, carrier: Carrier::Stream, missing: 0 }, &mut events);
        }
    }
    analyzer.on_close(at(turns.len()), &mut events);
    events.drain().collect()
}

/// The events of a dialogue of datagrams.
pub(crate) fn datagrams(protocol: &Protocol, turns: &[Turn<'_>]) -> Vec<Event> {
    let mut analyzer = (protocol.analyzer)();
    let mut events = Events::default();
    for (i, (dir, bytes)) in turns.iter().enumerate() {
        analyzer.on_pdu(&Pdu { at: at(i), dir: *dir, bytes, carrier: Carrier::Datagram, missing: 0 }, &mut events);
    }
    events.drain().collect()
}

/// What the probe says when both ends have sent this.
pub(crate) fn probe(protocol: &Protocol, carrier: Carrier, orig: &[u8], resp: &[u8]) -> Probe {
    (protocol.probe)(&Opening {
        carrier,
        sent: Ends { orig, resp },
        newest: if resp.is_empty() { Direction::Orig } else { Direction::Resp },
        before: &[],
        ports: Ends { orig: 50_000, resp: 50_001 },
    })
}

/// Loops as (time of the question, time of the answer, method), those never answered left out.
pub(crate) fn loops(events: &[Event]) -> Vec<(Timestamp, Timestamp, &'static str)> {
    let mut asked = std::collections::HashMap::new();
    let mut out = Vec::new();
    for event in events {
        match &event.kind {
            EventKind::Ask(l) => {
                asked.insert(l.method, event.at);
            }
            EventKind::Answer(l) => out.push((asked.remove(l.method).unwrap(), event.at, l.method)),
            _ => {}
        }
    }
    out
}

/// The value of an attribute, if it was said.
pub(crate) fn said<'e>(events: &'e [Event], wanted: &str) -> Option<&'e str> {
    events.iter().find_map(|e| match &e.kind {
        EventKind::Attribute { key, value } if *key == wanted => Some(&value[..]),
        _ => None,
    })
}
