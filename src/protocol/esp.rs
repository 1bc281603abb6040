//! ESP and AH: IPsec's packets, whose keys were agreed on before.
//!
//! Reads: SPI and sequence number of the first packets, over IP and (ESP) in UDP where no IKE was seen before. Emits: the
//! SPIs. Does not: decrypt, look behind AH, or measure anything: nothing in these packets answers.
//!
//! ESP in UDP has nothing of its own but an SPI that stays and a number that counts up, so it is looked for at its ports
//! alone (4500; 4501 of GlobalProtect), and taken back when it does not behave.
//!
//! Reference: RFC 4303 (ESP), RFC 4302 (AH), RFC 3948 (UDP encapsulation).

use crate::base::{Direction, Ends, Link, Reader};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry for ESP.
pub(crate) static ESP: Protocol = Protocol {
    name: "esp",
    category: Category::Vpn,
    carriers: &[Carrier::Ip(50), Carrier::Datagram],
    ports: &[4501],
    attributes: &[CLIENT_SPI, SERVER_SPI, ENCAPSULATION],
    signs: &[],
    lasting: false,
    probe: probe_esp,
    analyzer: || Box::new(Ipsec::new(Kind::Esp)),
};

/// The registry's entry for AH.
pub(crate) static AH: Protocol = Protocol {
    name: "ah",
    category: Category::Vpn,
    carriers: &[Carrier::Ip(51)],
    ports: &[],
    attributes: &[AH_CLIENT_SPI, AH_SERVER_SPI],
    signs: &[],
    lasting: false,
    probe: |opening| verdict(Kind::Ah.read(opening.sent.of(opening.newest)).is_some()),
    analyzer: || Box::new(Ipsec::new(Kind::Ah)),
};

const CLIENT_SPI: Key = "esp.client_spi";
const SERVER_SPI: Key = "esp.server_spi";
const ENCAPSULATION: Key = "esp.encapsulation";
const AH_CLIENT_SPI: Key = "ah.client_spi";
const AH_SERVER_SPI: Key = "ah.server_spi";

/// All flows of IPsec between two addresses are one session.
const IPSEC: Link = Link::Pair("ike");
/// Where ESP in UDP runs: IKE's second port, and GlobalProtect's own.
const UDP_PORTS: [u16; 2] = [4500, 4501];
/// SPIs up to here are reserved (RFC 4303 2.1); keys set by hand use them all the same.
const RESERVED_SPI: u32 = 255;
/// SPI, number, one block of a stream cipher with its trailer, and a check value of 8 bytes (ESP); in UDP.
const ESP_LEAST: usize = 24;
/// A first packet that was never answered counts as ESP only with a number as a young tunnel has it.
const YOUNG: u32 = 1 << 20;
/// How far numbers of one SPI may be from each other in packets that follow each other: reordering and loss; Linux's
/// largest replay window has 4,096 packets.
const STEP: u32 = 4_096;
/// Packets of one SPI, numbered as they should be, that make sure.
const SURE: u8 = 2;
/// In UDP, where only the port says so.
const SURE_IN_UDP: u8 = 4;
/// Packets that are looked at before the flow is left alone.
const PATIENCE: u16 = 64;

const fn verdict(fits: bool) -> Probe {
    if fits { Probe::Match } else { Probe::NoMatch }
}

fn probe_esp(opening: &Opening<'_>) -> Probe {
    let newest = opening.sent.of(opening.newest);
    if opening.carrier != Carrier::Datagram {
        return verdict(Kind::Esp.read(newest).is_some());
    }
    if ![opening.ports.orig, opening.ports.resp].iter().any(|port| UDP_PORTS.contains(port)) {
        return Probe::NoMatch;
    }
    match (in_udp(newest), in_udp(opening.sent.of(opening.newest.flip()))) {
        (None, _) => Probe::NoMatch,
        (Some((_, number)), None) if number >= YOUNG => Probe::NeedMore,
        _ => Probe::Match,
    }
}

/// SPI and number of ESP in a datagram. Without NULL encryption's odd ends it is a multiple of four bytes (RFC 4303
/// 2.4, with check values of 8, 12, 16 or 32 bytes).
fn in_udp(bytes: &[u8]) -> Option<(u32, u32)> {
    let whole = bytes.len() >= ESP_LEAST && bytes.len().is_multiple_of(4);
    Kind::Esp.read(bytes).filter(|(spi, _)| whole && *spi > RESERVED_SPI)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Esp,
    Ah,
}

impl Kind {
    /// SPI and sequence number.
    fn read(self, bytes: &[u8]) -> Option<(u32, u32)> {
        let mut reader = Reader::new(bytes);
        if self == Self::Ah {
            let (_next, words, reserved) = (reader.u8()?, reader.u8()?, reader.u16()?);
            // RFC 4302 2.2: length in words less two; the fixed part has three.
            if words < 2 || reserved != 0 {
                return None;
            }
        }
        let (spi, number) = (reader.u32()?, reader.u32()?);
        (spi != 0 && number != 0).then_some((spi, number))
    }
}

/// The SPI of one end and its highest number.
#[derive(Debug, Clone, Copy)]
struct Seen {
    spi: u32,
    highest: u32,
    /// Packets that were numbered as they should be.
    fitting: u8,
}

#[derive(Debug)]
struct Ipsec {
    kind: Kind,
    seen: Ends<Option<Seen>>,
    begun: bool,
    confirmed: bool,
    /// An SPI has changed before the flow was sure.
    rekeyed: bool,
    packets: u16,
    done: bool,
}

impl Ipsec {
    const fn new(kind: Kind) -> Self {
        let seen = Ends { orig: None, resp: None };
        Self { kind, seen, begun: false, confirmed: false, rekeyed: false, packets: 0, done: false }
    }
}

impl Analyzer for Ipsec {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        self.packets += 1;
        if self.packets >= PATIENCE {
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
        let udp = pdu.carrier == Carrier::Datagram;
        // The byte that keeps a NAT's door open, or IKE of a tunnel whose beginning was missed.
        if udp && (pdu.bytes == [0xff] || pdu.bytes.starts_with(&[0; 4])) {
            return;
        }
        let read = if udp && pdu.missing == 0 { in_udp(pdu.bytes) } else { self.kind.read(pdu.bytes) };
        let Some((spi, number)) = read else {
            return self.on_misfit(pdu, udp, events);
        };
        let begun = std::mem::replace(&mut self.begun, true);
        if !udp && !begun {
            events.link(pdu.at, pdu.dir, IPSEC);
        }
        let seen = self.seen.of_mut(pdu.dir);
        let before = seen.filter(|seen| seen.spi == spi);
        let misfits = match before {
            Some(seen) => number == seen.highest || number.abs_diff(seen.highest) > STEP,
            // Another SPI of the same end is a rekey, which begins to count anew; two of them so soon are none.
            None => seen.is_some() && (number > STEP || (udp && std::mem::replace(&mut self.rekeyed, !self.confirmed))),
        };
        if misfits {
            return self.on_misfit(pdu, udp, events);
        }
        let fitting = before.map_or(0, |seen| seen.fitting).saturating_add(1);
        let highest = before.map_or(0, |seen| seen.highest).max(number);
        let first = seen.is_none();
        *seen = Some(Seen { spi, highest, fitting });
        if !udp && first {
            self.tell_spi(pdu, spi, events);
        }
        self.on_fit(pdu, udp, fitting, events);
    }
}

impl Ipsec {
    /// In UDP a flow that does not behave was something else; over IP the header has named it already.
    fn on_misfit(&mut self, pdu: &Pdu<'_>, udp: bool, events: &mut Events) {
        if udp && !self.confirmed {
            self.done = true;
            events.violation(pdu.at, pdu.dir, "esp.not-counting");
            events.settled(pdu.at, pdu.dir);
        }
    }

    fn on_fit(&mut self, pdu: &Pdu<'_>, udp: bool, fitting: u8, events: &mut Events) {
        let both = !udp && self.seen.orig.is_some() && self.seen.resp.is_some();
        let enough = both || fitting >= if udp { SURE_IN_UDP } else { SURE };
        if self.confirmed || !enough {
            return;
        }
        self.confirmed = true;
        if udp {
            // Likely and no more: what agreed on the keys was not seen.
            events.link(pdu.at, pdu.dir, IPSEC);
            events.attribute(pdu.at, pdu.dir, ENCAPSULATION, "udp");
            for dir in [Direction::Orig, Direction::Resp] {
                if let Some(seen) = *self.seen.of(dir) {
                    self.tell_spi(&Pdu { dir, ..*pdu }, seen.spi, events);
                }
            }
        } else {
            events.confirmed(pdu.at, pdu.dir);
        }
    }

    fn tell_spi(&self, pdu: &Pdu<'_>, spi: u32, events: &mut Events) {
        let key = match (self.kind, pdu.dir) {
            (Kind::Esp, Direction::Orig) => CLIENT_SPI,
            (Kind::Esp, Direction::Resp) => SERVER_SPI,
            (Kind::Ah, Direction::Orig) => AH_CLIENT_SPI,
            (Kind::Ah, Direction::Resp) => AH_SERVER_SPI,
        };
        events.attribute(pdu.at, pdu.dir, key, format!("{spi:08x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{at, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn packet(spi: u32, number: u32, len: usize) -> Vec<u8> {
        let mut out = [spi.to_be_bytes(), number.to_be_bytes()].concat();
        out.resize(len, 0xa5);
        out
    }

    fn ah(spi: u32, number: u32) -> Vec<u8> {
        [&[6, 4, 0, 0][..], &packet(spi, number, 60)].concat()
    }

    fn run(protocol: &Protocol, carrier: Carrier, all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let mut analyzer = (protocol.analyzer)();
        let mut events = Events::default();
        for (i, (dir, bytes)) in all.iter().enumerate() {
            analyzer.on_pdu(&Pdu { at: at(i), dir: *dir, bytes, carrier, missing: 0 }, &mut events);
        }
        events.drain().collect()
    }

    fn probe(protocol: &Protocol, carrier: Carrier, port: u16, orig: &[u8], resp: &[u8]) -> Probe {
        let newest = if resp.is_empty() { Orig } else { Resp };
        let sent = Ends { orig, resp };
        (protocol.probe)(&Opening { carrier, sent, before: &[], newest, ports: Ends { orig: 50_000, resp: port } })
    }

    fn count(events: &[Event], wanted: &EventKind) -> usize {
        events.iter().filter(|e| e.kind == *wanted).count()
    }

    #[test]
    fn an_spi_that_counts_is_certain_over_ip() {
        let alone = [(Orig, packet(0xc000_0001, 1, 40)), (Orig, packet(0xc000_0001, 2, 40))];
        assert_eq!(count(&run(&ESP, Carrier::Ip(50), &alone[..1]), &EventKind::Confirmed), 0);
        assert_eq!(count(&run(&ESP, Carrier::Ip(50), &alone), &EventKind::Confirmed), 1);
        let all = [(Orig, packet(0xc000_0001, 1, 40)), (Resp, packet(0xd000_0001, 1, 41))];
        let events = run(&ESP, Carrier::Ip(50), &all);
        assert_eq!((count(&events, &EventKind::Confirmed), count(&events, &EventKind::Link(IPSEC))), (1, 1));
        assert_eq!((said(&events, CLIENT_SPI), said(&events, SERVER_SPI)), (Some("c0000001"), Some("d0000001")));
        assert_eq!(probe(&ESP, Carrier::Ip(50), 0, &packet(0, 1, 40), b""), Probe::NoMatch);
        assert_eq!(probe(&ESP, Carrier::Ip(50), 0, &packet(256, 0, 40), b""), Probe::NoMatch);
    }

    #[test]
    fn the_header_of_ah_is_checked() {
        let all = [(Orig, ah(0x1000, 7)), (Orig, ah(0x1000, 8))];
        let events = run(&AH, Carrier::Ip(51), &all);
        assert_eq!((count(&events, &EventKind::Confirmed), said(&events, AH_CLIENT_SPI)), (1, Some("00001000")));
        let mut reserved = ah(0x1000, 7);
        reserved[3] = 1;
        assert_eq!(probe(&AH, Carrier::Ip(51), 0, &ah(0x1000, 7), b""), Probe::Match);
        assert_eq!(probe(&AH, Carrier::Ip(51), 0, &reserved, b""), Probe::NoMatch);
    }

    #[test]
    fn in_udp_it_is_never_certain_and_needs_the_port() {
        let udp = Carrier::Datagram;
        let (young, old) = (packet(0xc000_0001, 9, 104), packet(0xc000_0001, 0x7654_3210, 104));
        assert_eq!(probe(&ESP, udp, 4500, &young, b""), Probe::Match);
        assert_eq!(probe(&ESP, udp, 4501, &old, b""), Probe::NeedMore);
        assert_eq!(probe(&ESP, udp, 4500, &old, &packet(7_777, 70_000, 64)), Probe::Match);
        assert_eq!(probe(&ESP, udp, 443, &young, b""), Probe::NoMatch);
        assert_eq!(probe(&ESP, udp, 4500, &packet(0xc000_0001, 9, 105), b""), Probe::NoMatch);
        assert_eq!(probe(&ESP, udp, 4500, &[0xff], b""), Probe::NoMatch);
        let mut all: Vec<_> = (9..14).map(|n| (Orig, packet(0xc000_0001, n, 104))).collect();
        all.insert(2, (Resp, vec![0xff]));
        let events = run(&ESP, udp, &all);
        assert_eq!((count(&events, &EventKind::Confirmed), count(&events, &EventKind::Link(IPSEC))), (0, 1));
        assert_eq!(said(&events, ENCAPSULATION), Some("udp"));
    }

    #[test]
    fn what_does_not_count_up_in_udp_is_taken_back() {
        let spi = 0xc000_0001;
        let others =
            [packet(spi, 9, 104), packet(spi, 900_000, 104), packet(spi + 1, 70_000, 104), packet(spi, 10, 103)];
        for other in others {
            let events = run(&ESP, Carrier::Datagram, &[(Orig, packet(spi, 9, 104)), (Orig, other)]);
            assert!(matches!(events[0].kind, EventKind::Violation(_)), "{events:?}");
        }
        // A rekey is no such thing.
        let rekey = [(Orig, packet(spi, 9, 104)), (Orig, packet(spi + 1, 1, 104))];
        assert!(run(&ESP, Carrier::Datagram, &rekey).is_empty());
        let again = [&rekey[..], &[(Orig, packet(spi + 2, 1, 104))]].concat();
        assert!(!run(&ESP, Carrier::Datagram, &again).is_empty());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..90,
        )) {
            let all: Vec<_> = all.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)).collect();
            for (protocol, carrier) in [(&ESP, Carrier::Ip(50)), (&ESP, Carrier::Datagram), (&AH, Carrier::Ip(51))] {
                run(protocol, carrier, &all);
                for (_, bytes) in &all {
                    probe(protocol, carrier, 4500, bytes, b"");
                }
            }
        }
    }
}
