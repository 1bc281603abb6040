//! The first bytes of a flow: probed against the registry, then read by the analyzer that matches.
//!
//! Reads: stream chunks and datagrams. Emits: events. Bounded: so many bytes are kept for probing, so many are read.
//! Does not: know any protocol, or outlive the handshake.

use crate::base::{CARGO, CARGO_PROTOCOL, Direction, Ends, Event, EventKind, Events, Piece, Timestamp};
use crate::flow::{Assembler, FiveTuple};
use crate::protocol::{Analyzer, Carrier, FROM_THE_START, Opening, Pdu, Probe, Protocol, REGISTRY, named};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How much of a flow is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes kept of each end while probing a stream.
    pub probe_bytes: usize,
    /// Datagrams probed.
    pub probe_datagrams: u8,
    /// Bytes given to an analyzer.
    pub read_bytes: u32,
}

impl Budget {
    /// Nothing is identified or read: flows are followed and their handshakes timed, no more. What identification costs
    /// is measured against this.
    pub const NOTHING: Self = Self { probe_bytes: 0, probe_datagrams: 0, read_bytes: 0 };
}

impl Default for Budget {
    /// A ClientHello with post-quantum key shares is about 2 kB; a long certificate chain 16 kB.
    fn default() -> Self {
        Self { probe_bytes: 2_048, probe_datagrams: 6, read_bytes: 256 * 1024 }
    }
}

/// What the probes say of the first bytes of a flow, or of a datagram. Where it is nothing, nothing need be kept of it;
/// else nobody need be asked the same again.
pub(super) struct Look {
    verdict: Verdict,
    candidates: Candidates,
}

impl Look {
    pub(super) fn at(pdu: &Pdu<'_>, tuple: &FiveTuple) -> Self {
        let mut sent = Ends { orig: &[][..], resp: &[][..] };
        *sent.of_mut(pdu.dir) = pdu.bytes;
        let ports = Ends { orig: tuple.orig.port, resp: tuple.resp.port };
        let opening = Opening { carrier: pdu.carrier, sent, before: &[], newest: pdu.dir, ports };
        let mut candidates = Candidates::MAX;
        let verdict = consult(&opening, &mut candidates);
        Self { verdict, candidates }
    }

    /// Whether every protocol is ruled out.
    pub(super) const fn is_nothing(&self) -> bool {
        matches!(self.verdict, Verdict::Nothing)
    }
}

/// A set of registry entries.
type Candidates = u128;

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, within the bounds of the loop")]
const _: () = {
    // Entries that are known by their signs alone are never candidates, so they may stand beyond the end of the set.
    let mut i = Candidates::BITS as usize;
    while i < REGISTRY.len() {
        assert!(REGISTRY[i].carriers.is_empty(), "more candidates than a set holds: put entries without carrier last");
        i += 1;
    }
};

enum State {
    Probing(Probing),
    Analyzing(Box<dyn Analyzer>),
    Over,
}

#[derive(Default)]
struct Probing {
    /// Entries not yet ruled out (streams); those that wanted to see more when something was kept (datagrams).
    candidates: Candidates,
    kept: Ends<Vec<u8>>,
    /// When the kept bytes passed, in order.
    order: Vec<Kept>,
    datagrams: u8,
}

/// So many bytes of one end, and when they passed.
struct Kept {
    at: Timestamp,
    len: u32,
    dir: Direction,
}

/// One flow being recognised and read.
pub(super) struct Reading {
    pub(super) assemblers: Ends<Assembler>,
    state: State,
    ports: Ends<u16>,
    carrier: Carrier,
    read: u32,
    /// What is read counts against the budget.
    metered: bool,
    /// How many proxies are around what is being read.
    nested: u8,
    events: Events,
}

/// Proxies within proxies that are looked into; a chain of more is rare, and each costs stack.
const NESTED: u8 = 4;

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// What a reader found: the protocol that matched, or an event of its analyzer.
pub(super) enum Found {
    Protocol(&'static Protocol),
    Event(Event),
}

impl Reading {
    /// `whole`: the flow is seen from its beginning.
    pub(super) fn new(tuple: &FiveTuple, carrier: Carrier, whole: bool) -> Self {
        let candidates = if whole { Candidates::MAX } else { !HINTS.from_the_start };
        Self {
            assemblers: Ends::default(),
            state: State::Probing(Probing {
                candidates: if carrier == Carrier::Stream { candidates } else { 0 },
                ..Probing::default()
            }),
            ports: Ends { orig: tuple.orig.port, resp: tuple.resp.port },
            carrier,
            read: 0,
            metered: true,
            nested: 0,
            events: Events::default(),
        }
    }

    /// Whether nothing more is to be learned.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next bytes of one end; with what was seen of them, if they are the first and were looked at.
    pub(super) fn on_bytes(
        &mut self,
        pdu: &Pdu<'_>,
        look: Option<Look>,
        budget: &Budget,
        found: &mut impl FnMut(Found),
    ) {
        match &mut self.state {
            State::Over => {}
            State::Analyzing(_) => self.analyze(pdu, budget, found),
            State::Probing(probing) => {
                let verdict = match pdu.carrier {
                    Carrier::Stream => probing.stream(pdu, look, self.ports, budget),
                    Carrier::Datagram | Carrier::Ip(_) => probing.datagram(pdu, look, self.ports, budget),
                };
                match verdict {
                    Verdict::Open(_) => {}
                    Verdict::Nothing => self.state = State::Over,
                    Verdict::Is(protocol) => self.begin(protocol, pdu, budget, found),
                }
            }
        }
    }

    /// Bytes of one end were never captured.
    pub(super) fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, found: &mut impl FnMut(Found)) {
        match &mut self.state {
            State::Analyzing(analyzer) => {
                analyzer.on_gap(at, dir, len, &mut self.events);
                self.tell(&Budget::default(), found);
            }
            // Without its first bytes nothing can be recognised.
            State::Probing(_) => self.state = State::Over,
            State::Over => {}
        }
    }

    /// The flow has ended.
    pub(super) fn on_close(&mut self, at: Timestamp, found: &mut impl FnMut(Found)) {
        if let State::Analyzing(analyzer) = &mut self.state {
            analyzer.on_close(at, &mut self.events);
            self.tell(&Budget::default(), found);
        }
        self.state = State::Over;
    }

    /// Hands the analyzer what was kept while probing, then the PDU that settled it.
    fn begin(&mut self, protocol: &'static Protocol, pdu: &Pdu<'_>, budget: &Budget, found: &mut impl FnMut(Found)) {
        found(if self.nested == 0 {
            Found::Protocol(protocol)
        } else {
            let kind = EventKind::Attribute { key: CARGO_PROTOCOL, value: protocol.name.to_owned() };
            Found::Event(Event { at: pdu.at, dir: pdu.dir, kind })
        });
        self.metered = !protocol.lasting;
        let State::Probing(probing) = std::mem::replace(&mut self.state, State::Analyzing((protocol.analyzer)()))
        else {
            return;
        };
        let is_kept = pdu.carrier == Carrier::Stream && !probing.order.is_empty();
        let mut at_offset = Ends { orig: 0usize, resp: 0usize };
        for Kept { at, dir, len } in probing.order {
            let len = len as usize;
            let start = *at_offset.of(dir);
            *at_offset.of_mut(dir) = start + len;
            if let Some(bytes) = probing.kept.of(dir).get(start..start + len) {
                self.analyze(&Pdu { at, dir, bytes, ..*pdu }, budget, found);
            }
        }
        if !is_kept {
            self.analyze(pdu, budget, found);
        }
    }

    fn analyze(&mut self, pdu: &Pdu<'_>, budget: &Budget, found: &mut impl FnMut(Found)) {
        let State::Analyzing(analyzer) = &mut self.state else { return };
        analyzer.on_pdu(pdu, &mut self.events);
        if self.metered {
            self.read = self.read.saturating_add(u32::try_from(pdu.bytes.len()).unwrap_or(u32::MAX));
        }
        self.tell(budget, found);
        if self.read > budget.read_bytes {
            self.state = State::Over;
        }
    }

    /// Passes the events on and acts on those that are meant for the reader.
    fn tell(&mut self, budget: &Budget, found: &mut impl FnMut(Found)) {
        if self.events.is_empty() {
            return;
        }
        let mut handover = None;
        for mut event in self.events.drain() {
            match &mut event.kind {
                EventKind::Settled => self.state = State::Over,
                EventKind::Handover { to, rest, .. } => handover = Some((*to, std::mem::take(rest))),
                _ => {}
            }
            found(Found::Event(event));
        }
        if let Some((to, rest)) = handover {
            self.state = self.follower(to);
            for Piece { at, dir, bytes } in rest {
                self.on_bytes(&Pdu { at, dir, bytes: &bytes, carrier: self.carrier, missing: 0 }, None, budget, found);
            }
        }
    }

    /// Who reads what was handed over.
    fn follower(&mut self, to: &str) -> State {
        match named(to) {
            Some(child) => {
                self.metered = !child.lasting;
                State::Analyzing((child.analyzer)())
            }
            None if to == CARGO && self.nested < NESTED => {
                self.nested += 1;
                State::Probing(Probing { candidates: Candidates::MAX, ..Probing::default() })
            }
            None => State::Over,
        }
    }
}

enum Verdict {
    /// These want to see more.
    Open(Candidates),
    Nothing,
    Is(&'static Protocol),
}

impl Probing {
    fn stream(&mut self, pdu: &Pdu<'_>, look: Option<Look>, ports: Ends<u16>, budget: &Budget) -> Verdict {
        let look = look.filter(|_| self.candidates == Candidates::MAX);
        // What is recognised at once need not be kept to be read.
        if let Some(Look { verdict: Verdict::Is(protocol), .. }) = look {
            return Verdict::Is(protocol);
        }
        let kept = self.kept.of_mut(pdu.dir);
        kept.extend_from_slice(pdu.bytes);
        let full = kept.len() >= budget.probe_bytes;
        self.note(pdu.at, pdu.dir, pdu.bytes.len());
        let verdict = match look {
            Some(look) => {
                self.candidates = look.candidates;
                look.verdict
            }
            None => {
                let opening = Opening {
                    carrier: Carrier::Stream,
                    sent: Ends { orig: self.kept.orig.as_slice(), resp: self.kept.resp.as_slice() },
                    before: &[],
                    newest: pdu.dir,
                    ports,
                };
                consult(&opening, &mut self.candidates)
            }
        };
        if full && matches!(verdict, Verdict::Open(_)) { Verdict::Nothing } else { verdict }
    }

    /// Each of the first datagrams gets its chance: a flow may begin with something else.
    fn datagram(&mut self, pdu: &Pdu<'_>, look: Option<Look>, ports: Ends<u16>, budget: &Budget) -> Verdict {
        self.datagrams += 1;
        let mut sent = Ends { orig: self.kept.orig.as_slice(), resp: self.kept.resp.as_slice() };
        *sent.of_mut(pdu.dir) = pdu.bytes;
        let before = self.kept.of(pdu.dir).as_slice();
        let opening = Opening { carrier: pdu.carrier, sent, before, newest: pdu.dir, ports };
        let verdict = match look {
            Some(look) if self.order.is_empty() => look.verdict,
            _ => consult(&opening, &mut { Candidates::MAX }),
        };
        if !matches!(verdict, Verdict::Is(_)) && self.datagrams >= budget.probe_datagrams {
            return Verdict::Nothing;
        }
        // Kept only where somebody wants to see the other end's answer beside it.
        if let Verdict::Open(wanted) = verdict {
            let kept = self.kept.of_mut(pdu.dir);
            kept.clear();
            kept.extend_from_slice(pdu.bytes.get(..budget.probe_bytes).unwrap_or(pdu.bytes));
            let len = kept.len();
            self.order.retain(|kept| kept.dir != pdu.dir);
            self.note(pdu.at, pdu.dir, len);
            self.candidates |= wanted;
            return verdict;
        }
        match verdict {
            Verdict::Nothing => Verdict::Open(0),
            Verdict::Is(protocol) => {
                self.leave_out_what_looked_random(protocol);
                verdict
            }
            other => other,
        }
    }

    fn note(&mut self, at: Timestamp, dir: Direction, len: usize) {
        // Most flows are recognised, or given up, by the first of each end.
        if self.order.capacity() == 0 {
            self.order.reserve_exact(2);
        }
        self.order.push(Kept { at, dir, len: u32::try_from(len).unwrap_or(u32::MAX) });
    }

    /// Datagrams that were kept only because they look like nothing are none of another protocol's.
    fn leave_out_what_looked_random(&mut self, protocol: &'static Protocol) {
        if self.candidates & !HINTS.from_the_start == 0 && !FROM_THE_START.contains(&protocol.name) {
            self.order.clear();
            self.kept = Ends::default();
        }
    }
}

/// Asks the candidates, those that the ports suggest first. `Open` if one wants more, `Nothing` if all say no.
fn consult(opening: &Opening<'_>, candidates: &mut Candidates) -> Verdict {
    let hints = &*HINTS;
    let fitting = *candidates
        & match opening.carrier {
            Carrier::Stream => hints.streams,
            Carrier::Datagram => hints.datagrams,
            Carrier::Ip(number) => hints.of_number(number),
        };
    let fitting = fitting & hints.of_first_bytes(opening);
    let hinted = fitting & (hints.of_port(opening.ports.resp) | hints.of_port(opening.ports.orig));
    let mut open = 0;
    for mut left in [hinted, fitting & !hinted] {
        while left != 0 {
            let i = left.trailing_zeros();
            left &= left - 1;
            let Some(protocol) = REGISTRY.get(i as usize) else { break };
            match (protocol.probe)(opening) {
                Probe::Match => return Verdict::Is(protocol),
                Probe::NeedMore => open |= 1 << i,
                Probe::NoMatch => *candidates &= !(1 << i),
            }
        }
    }
    if open == 0 { Verdict::Nothing } else { Verdict::Open(open) }
}

/// The registry by carrier and port.
struct Hints {
    streams: Candidates,
    datagrams: Candidates,
    /// By IP protocol number.
    packets: Vec<(u8, Candidates)>,
    /// Those that only the beginning of a flow can show.
    from_the_start: Candidates,
    /// Ascending by port.
    ports: Vec<(u16, Candidates)>,
    /// Streams: those that a first byte of that value from the originator, or from the responder, does not rule out.
    first: Ends<Vec<Candidates>>,
}

static HINTS: LazyLock<Hints> = LazyLock::new(|| {
    let mut hints = Hints {
        streams: 0,
        datagrams: 0,
        packets: Vec::new(),
        from_the_start: 0,
        ports: Vec::new(),
        first: Ends { orig: first_bytes(Direction::Orig), resp: first_bytes(Direction::Resp) },
    };
    let mut ports = BTreeMap::<u16, Candidates>::new();
    for (i, protocol) in REGISTRY.iter().enumerate().take(Candidates::BITS as usize) {
        let bit: Candidates = 1 << i;
        if FROM_THE_START.contains(&protocol.name) {
            hints.from_the_start |= bit;
        }
        for carrier in protocol.carriers {
            match carrier {
                Carrier::Stream => hints.streams |= bit,
                Carrier::Datagram => hints.datagrams |= bit,
                Carrier::Ip(number) => match hints.packets.iter_mut().find(|(known, _)| known == number) {
                    Some((_, candidates)) => *candidates |= bit,
                    None => hints.packets.push((*number, bit)),
                },
            }
        }
        protocol.ports.iter().for_each(|port| *ports.entry(*port).or_default() |= bit);
    }
    hints.ports = ports.into_iter().collect();
    hints
});

/// For each value of the first byte of a stream's direction the entries whose probes it doesn't rule out. What a probe
/// refuses at its first byte it refuses for good, so most of them need not be asked at all.
fn first_bytes(dir: Direction) -> Vec<Candidates> {
    let left = |byte: u8| {
        let allows = |protocol: &Protocol| {
            let sent = [byte];
            let mut ends = Ends { orig: &[][..], resp: &[][..] };
            *ends.of_mut(dir) = &sent;
            // A probe may look at ports: its own, and whether the client's is a reserved one, could make it patient.
            let pairs =
                [0].iter().chain(protocol.ports).flat_map(|port| [(50_000, *port), (*port, 50_000), (1_023, *port)]);
            pairs.into_iter().any(|(orig, resp)| {
                let (carrier, ports) = (Carrier::Stream, Ends { orig, resp });
                let opening = Opening { carrier, sent: ends, before: &[], newest: dir, ports };
                (protocol.probe)(&opening) != Probe::NoMatch
            })
        };
        let streams = REGISTRY.iter().enumerate().take(Candidates::BITS as usize);
        let streams = streams.filter(|(_, protocol)| protocol.carriers.contains(&Carrier::Stream));
        streams.filter(|(_, protocol)| allows(protocol)).fold(0, |set, (i, _)| set | 1 << i)
    };
    (0..=u8::MAX).map(left).collect()
}

impl Hints {
    /// Of a stream, those that the first bytes don't rule out.
    fn of_first_bytes(&self, opening: &Opening<'_>) -> Candidates {
        if opening.carrier != Carrier::Stream {
            return Candidates::MAX;
        }
        let of = |sent: &[u8], sets: &[Candidates]| {
            let set = sent.first().and_then(|byte| sets.get(usize::from(*byte)));
            set.copied().unwrap_or(Candidates::MAX)
        };
        of(opening.sent.orig, &self.first.orig) & of(opening.sent.resp, &self.first.resp)
    }

    fn of_number(&self, number: u8) -> Candidates {
        self.packets.iter().find(|(known, _)| *known == number).map_or(0, |(_, candidates)| *candidates)
    }

    fn of_port(&self, port: u16) -> Candidates {
        let found = self.ports.binary_search_by_key(&port, |(known, _)| *known);
        found.ok().and_then(|i| self.ports.get(i)).map_or(0, |(_, candidates)| *candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::flow::{Peer, Protocol as IpProtocol};
    use std::net::{IpAddr, Ipv4Addr};

    fn attributes(turns: &[(Direction, &[u8])]) -> Vec<(&'static str, String)> {
        let peer = |port| Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
        let tuple = FiveTuple { orig: peer(50_000), resp: peer(3128), proto: IpProtocol::TCP };
        let mut reading = Reading::new(&tuple, Carrier::Stream, true);
        let mut told = Vec::new();
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let at = Timestamp::from_nanos(i64::try_from(i).unwrap());
            let pdu = Pdu { at, dir: *dir, bytes, carrier: Carrier::Stream, missing: 0 };
            reading.on_bytes(&pdu, None, &Budget::default(), &mut |found| {
                if let Found::Event(Event { kind: EventKind::Attribute { key, value }, .. }) = found {
                    told.push((key, value));
                }
            });
        }
        reading.on_close(Timestamp::from_nanos(99), &mut |found| {
            if let Found::Event(Event { kind: EventKind::Attribute { key, value }, .. }) = found {
                told.push((key, value));
            }
        });
        told
    }

    /// The third message of IKE, after a packet of the tunnel that was there before.
    #[test]
    fn datagrams_kept_because_they_look_random_are_left_out_of_what_follows() {
        let peer = |port| Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
        let tuple = FiveTuple { orig: peer(14_500), resp: peer(4_500), proto: IpProtocol::UDP };
        let mut reading = Reading::new(&tuple, Carrier::Datagram, true);
        let noise: Vec<u8> = (1..=90u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0]).collect();
        let message = |flags: u8| {
            let head = [&[0; 4][..], &[0xb6; 8], &[0x86; 8], &[46, 0x20, 35, flags, 0, 0, 0, 1, 0, 0, 0, 60]].concat();
            [&head[..], &[36, 0, 0, 32], &[7; 28]].concat()
        };
        let turns = [(Orig, noise), (Orig, message(8)), (Resp, message(32))];
        let mut found = Vec::new();
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let at = Timestamp::from_nanos(i64::try_from(i).unwrap());
            let pdu = Pdu { at, dir: *dir, bytes, carrier: Carrier::Datagram, missing: 0 };
            reading.on_bytes(&pdu, None, &Budget::default(), &mut |what| match what {
                Found::Protocol(protocol) => found.push(protocol.name),
                Found::Event(event) => {
                    assert!(!matches!(event.kind, EventKind::Violation(_)), "{event:?}");
                    if event.kind == EventKind::Confirmed {
                        found.push("confirmed");
                    }
                }
            });
            assert!(i > 0 || matches!(&reading.state, State::Probing(probing) if !probing.order.is_empty()));
        }
        assert_eq!(found, ["ike", "confirmed"]);
    }

    /// What the table of first bytes rules out no probe would have matched, whatever the ports.
    #[test]
    fn the_table_of_first_bytes_rules_out_only_what_its_probe_refuses() {
        for byte in 0..=u8::MAX {
            for (dir, ports) in [Orig, Resp].into_iter().flat_map(|dir| {
                [(50_000, 443), (1_021, 514), (1_023, 513), (50_000, 53), (88, 50_000)].map(|ports| (dir, ports))
            }) {
                let sent = [byte];
                let mut ends = Ends { orig: &[][..], resp: &[][..] };
                *ends.of_mut(dir) = &sent;
                let ports = Ends { orig: ports.0, resp: ports.1 };
                let opening = Opening { carrier: Carrier::Stream, sent: ends, before: &[], newest: dir, ports };
                let allowed = HINTS.of_first_bytes(&opening);
                for (i, protocol) in REGISTRY.iter().enumerate().take(128) {
                    if allowed & 1 << i == 0 && protocol.carriers.contains(&Carrier::Stream) {
                        assert_eq!((protocol.probe)(&opening), Probe::NoMatch, "{} {byte} {ports:?}", protocol.name);
                    }
                }
            }
        }
    }

    #[test]
    fn cargo_of_both_ends_reaches_the_protocol_it_belongs_to() {
        let eager = b"CONNECT a:22 HTTP/1.1\r\n\r\nSSH-2.0-client\r\n";
        let patient = b"CONNECT a:22 HTTP/1.1\r\n\r\n";
        let accept = b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n";
        let orders: [&[(Direction, &[u8])]; 2] =
            [&[(Orig, eager), (Resp, accept)], &[(Orig, patient), (Resp, accept), (Orig, b"SSH-2.0-client\r\n")]];
        for turns in orders {
            let told = attributes(turns);
            for expected in [("ssh.client_banner", "SSH-2.0-client"), ("ssh.server_banner", "SSH-2.0-server")] {
                assert!(told.contains(&(expected.0, expected.1.to_owned())), "{expected:?} is not in {told:?}");
            }
        }
    }
}
