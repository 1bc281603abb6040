//! Tunnels in ICMP echo: ptunnel, hans, IP packets inside (icmptunnel, icmptx), and answers that are no echo (icmpsh).
//!
//! Reads: echo requests and replies. Emits: what is inside, by name. Does not: put a tunnel's packets together.
//!
//! An echo brings back what was sent (RFC 792, RFC 4443), so a reply with other data is a message of its own. Replies
//! that are cut short are left alone: some hosts answer with less.
//!
//! Reference: ptunnel `ptunnel.h` (magic 0xD5200880), ptunnel-ng `pkt.h` (0xDEADC0DE), hans `client.cpp` and `server.cpp`
//! (`hanc`, `hans`), RFC 791 (header checksum), github.com/bdamele/icmpsh.

use crate::base::{Direction, Reader, Timestamp};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static ICMP_TUNNEL: Protocol = Protocol {
    name: "icmp-tunnel",
    category: Category::Other,
    carriers: &[Carrier::Ip(1), Carrier::Ip(58)],
    ports: &[],
    attributes: &[INSIDE],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Tunnel::default()),
};

const INSIDE: Key = "icmp.tunnel";

/// Pairs of request and reply that differ, after which it is no accident.
const PAIRS: u8 = 3;
/// Echoes without a further finding after which nothing more is expected.
const PATIENCE: u16 = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    let kinds = [opening.ports.orig, opening.ports.resp];
    if !matches!(kinds, [0, 8] | [8, 0] | [128, 129] | [129, 128]) {
        return Probe::NoMatch;
    }
    let Some(echo) = Echo::read(opening.sent.of(opening.newest)) else { return Probe::NoMatch };
    if echo.inside().is_some() {
        return Probe::Match;
    }
    let [request, reply] = match kinds {
        [8, 0] | [128, 129] => [opening.sent.orig, opening.sent.resp],
        _ => [opening.sent.resp, opening.sent.orig],
    };
    match [Echo::read(request), Echo::read(reply)] {
        [Some(request), Some(reply)] if reply.contradicts(&request) => Probe::Match,
        _ if is_ordinary(echo.data) => Probe::NoMatch,
        _ => Probe::NeedMore,
    }
}

/// What stands behind the checksum of an echo.
struct Echo<'a> {
    id: u16,
    seq: u16,
    data: &'a [u8],
}

/// What an echo carries that is nobody's test pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Ptunnel,
    Hans,
    Ip,
}

impl Inside {
    const fn name(self) -> &'static str {
        match self {
            Self::Ptunnel => "ptunnel",
            Self::Hans => "hans",
            Self::Ip => "ip",
        }
    }
}

impl<'a> Echo<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { id: reader.u16()?, seq: reader.u16()?, data: reader.rest() })
    }

    fn inside(&self) -> Option<Inside> {
        match self.data.first_chunk::<4>() {
            // The header has 28 bytes; state and lengths follow the magic.
            Some([0xd5, 0x20, 0x08, 0x80] | [0xde, 0xad, 0xc0, 0xde]) if self.data.len() >= 28 => Some(Inside::Ptunnel),
            Some(b"hanc" | b"hans") => Some(Inside::Hans),
            _ if is_ipv4(self.data) => Some(Inside::Ip),
            _ => None,
        }
    }

    /// Whether this reply brings back something else than the request, or more.
    fn contradicts(&self, request: &Self) -> bool {
        self.id == request.id && self.seq == request.seq && !request.data.starts_with(self.data)
    }
}

/// What the programs of the usual systems send, so that nothing need be kept of a ping: bytes that count up behind the
/// time stamp (BSD, Linux, macOS), letters (Windows), or one byte over and over.
fn is_ordinary(data: &[u8]) -> bool {
    let tail = data.get(data.len().saturating_sub(16)..).unwrap_or_default();
    let step = |by: u8| tail.windows(2).all(|w| matches!(w, [a, b] if a.wrapping_add(by) == *b));
    !data.is_empty() && (step(1) || step(0) || data.starts_with(b"abcdefgh"))
}

/// A whole IPv4 packet with a right checksum.
fn is_ipv4(data: &[u8]) -> bool {
    let Some([first, _, high, low, ..]) = data.first_chunk::<20>() else { return false };
    let header = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header < 20 || usize::from(u16::from_be_bytes([*high, *low])) != data.len() {
        return false;
    }
    let Some(header) = data.get(..header) else { return false };
    let sum: u32 =
        header.chunks_exact(2).filter_map(|w| w.first_chunk::<2>()).map(|w| u32::from(u16::from_be_bytes(*w))).sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[derive(Debug, Default)]
struct Tunnel {
    told: bool,
    seen: [Option<Inside>; 2],
    /// The newest request's number and a hash of its data.
    asked: Option<(Direction, u16, u16, u64, usize)>,
    differ: u8,
    echoes: u16,
    confirmed: bool,
    done: bool,
}

impl Analyzer for Tunnel {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        let Some(echo) = Echo::read(pdu.bytes) else { return };
        self.echoes = self.echoes.saturating_add(1);
        match echo.inside() {
            Some(inside) => self.on_inside(pdu, inside, events),
            // The snap length cut it: what is missing may be what is the same.
            None if pdu.missing == 0 => self.on_unknown(pdu, &echo, events),
            None => {}
        }
        if self.confirmed || self.echoes >= PATIENCE {
            self.end(pdu.at, pdu.dir, events);
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        self.end(at, Direction::Orig, events);
    }
}

impl Tunnel {
    fn on_inside(&mut self, pdu: &Pdu<'_>, inside: Inside, events: &mut Events) {
        if let Some(seen) = self.seen.get_mut(pdu.dir.index()) {
            *seen = Some(inside);
        }
        if !std::mem::replace(&mut self.told, true) {
            events.attribute(pdu.at, pdu.dir, INSIDE, inside.name());
            if inside != Inside::Ip {
                events.application(pdu.at, pdu.dir, inside.name());
            }
        }
        if self.seen == [Some(inside); 2] {
            self.confirmed = true;
            events.confirmed(pdu.at, pdu.dir);
        }
    }

    /// Remembers the newest echo of one end and compares the other's with it.
    fn on_unknown(&mut self, pdu: &Pdu<'_>, echo: &Echo<'_>, events: &mut Events) {
        if let Some((dir, id, seq, data, len)) = self.asked
            && dir == pdu.dir.flip()
            && (id, seq) == (echo.id, echo.seq)
        {
            // Of a shorter one only its beginning came back, or so it may be.
            if echo.data.len() >= len && hash(echo.data) != data {
                self.differ = self.differ.saturating_add(1);
            }
            self.asked = None;
            if self.differ == PAIRS && !std::mem::replace(&mut self.told, true) {
                events.attribute(pdu.at, pdu.dir, INSIDE, "no-echo");
            }
        } else {
            self.asked = Some((pdu.dir, echo.id, echo.seq, hash(echo.data), echo.data.len()));
        }
    }

    fn end(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if !self.told {
            events.violation(at, dir, "icmp.payload-once-changed");
        }
        events.settled(at, dir);
    }
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::base::Ends;
    use crate::protocol::testkit::{self, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn echo(seq: u16, data: &[u8]) -> Vec<u8> {
        [&[0x12, 0x34], &seq.to_be_bytes()[..], data].concat()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        let newest = if resp.is_empty() { Orig } else { Resp };
        let sent = Ends { orig, resp };
        super::probe(&Opening { carrier: Carrier::Ip(1), sent, before: &[], newest, ports: Ends { orig: 8, resp: 0 } })
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let mut analyzer = (ICMP_TUNNEL.analyzer)();
        let mut events = Events::default();
        for (i, (dir, bytes)) in turns.iter().enumerate() {
            let pdu = Pdu { at: testkit::at(i), dir: *dir, bytes, carrier: Carrier::Ip(1), missing: 0 };
            analyzer.on_pdu(&pdu, &mut events);
        }
        analyzer.on_close(testkit::at(turns.len()), &mut events);
        events.drain().collect()
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    /// An IP header around nothing, its checksum left out.
    const IP: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 1, 0, 0, 0x0a, 0x5f, 1, 1, 0x0a, 0x5f, 1, 2];

    fn ip() -> Vec<u8> {
        let mut packet = IP;
        packet[10..12].fill(0);
        let sum: u32 = packet.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let check = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        packet.to_vec()
    }

    #[test]
    fn what_the_tools_put_inside_is_known() {
        let ptunnel = [&[0xd5, 0x20, 0x08, 0x80][..], &[0; 24]].concat();
        let hans = [b"hanc\x01".to_vec(), vec![0; 8]].concat();
        for (name, data) in [("ptunnel", ptunnel), ("hans", hans), ("ip", ip())] {
            assert_eq!(probe(&echo(1, &data), b""), Probe::Match, "{name}");
            let events = run(&[(Orig, echo(1, &data)), (Resp, echo(1, &data))]);
            assert_eq!((said(&events, INSIDE), confirmed(&events)), (Some(name), true));
            assert!(!confirmed(&run(&[(Orig, echo(1, &data)), (Orig, echo(2, &data))])));
        }
    }

    #[test]
    fn a_reply_that_is_no_echo_counts_three_times() {
        let pair = |i: u16| [(Orig, echo(i, b"some output")), (Resp, echo(i, format!("whoami {i}").as_bytes()))];
        let longer = |i: u16| [(Orig, echo(i, b"")), (Resp, echo(i, b"dir"))];
        assert_eq!(probe(&pair(1)[0].1, &pair(1)[1].1), Probe::Match);
        let three: Vec<_> = (0..3).flat_map(longer).collect();
        assert_eq!(said(&run(&three), INSIDE), Some("no-echo"));
        let once = run(&longer(1));
        assert!(matches!(once[0].kind, EventKind::Violation(_)));
    }

    #[test]
    fn a_ping_is_a_ping() {
        let linux: Vec<u8> = (0u8..56).map(|i| if i < 16 { i.wrapping_mul(77) } else { i }).collect();
        for data in [&linux[..], b"abcdefghijklmnopqrstuvwabcdefghi", &[0xff; 40], &[0; 1]] {
            assert_eq!(probe(&echo(1, data), b""), Probe::NoMatch);
            assert_eq!(probe(&echo(1, data), &echo(1, data)), Probe::NoMatch);
            // Cut short by who answers.
            assert_ne!(probe(&echo(1, data), &echo(1, &data[..data.len() / 2])), Probe::Match);
        }
        let random = b"\x93\x11\x27\xff\x00\x11\x28\x99\x1c";
        assert_eq!(
            (probe(&echo(1, random), b""), probe(&echo(1, random), &echo(1, random))),
            (Probe::NeedMore, Probe::NeedMore)
        );
        // An IP packet whose checksum is wrong, and one quoted in an error.
        let mut wrong = ip();
        wrong[10] ^= 1;
        assert_ne!(probe(&echo(1, &wrong), b""), Probe::Match);
        let quoted = echo(0, &ip());
        let sent = Ends { orig: &quoted[..], resp: &[][..] };
        let error =
            Opening { carrier: Carrier::Ip(1), sent, before: &[], newest: Orig, ports: Ends { orig: 3, resp: 1 } };
        assert_eq!(super::probe(&error), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20)) {
            let turns: Vec<_> = turns.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)).collect();
            run(&turns);
            for (_, bytes) in &turns {
                probe(bytes, bytes);
            }
        }
    }
}
