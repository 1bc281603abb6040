//! SoftEther VPN: its servers' registration for NAT traversal, and its own HTTP where that is in clear.
//!
//! Reads: the packs (lists of named values) and address answers of NAT traversal over UDP, the first request of a session
//! over HTTP. Emits: what is asked, the names that a server gives itself. Does not: see sessions inside TLS, which look
//! like a web page's, or the acceleration over UDP, which is encrypted from its first byte.
//!
//! Reference: SoftEther VPN's sources (Mayaqua `Pack.c`, Cedar `Protocol.h`, `UdpAccel.h`, Mayaqua `Network.c`: RUDP and
//! NAT-T), under the Apache licence.

use crate::base::{Direction, Reader, Said, Shows, Sign};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static SOFTETHER: Protocol = Protocol {
    name: "softether",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[5004],
    attributes: &[OPCODE, HOST, DDNS, ADDRESS, REQUEST],
    signs: &[
        // Names of servers under its dynamic DNS, of VPN Gate's volunteers, and of its own NAT traversal and DDNS. The web
        // sites are elsewhere.
        Sign::new("tls.sni", Said::Domain("softether.net"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("opengw.net"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("softether-network.net"), Shows::Likely),
        Sign::new("tls.cert_subject", Said::Contains(".softether.net"), Shows::Likely),
        Sign::new("tls.cert_subject", Said::Contains(".opengw.net"), Shows::Likely),
        Sign::new("http.host", Said::Domain("softether-network.net"), Shows::Likely),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(SoftEther::default()),
};

const OPCODE: Key = "softether.opcode";
const HOST: Key = "softether.host_name";
const DDNS: Key = "softether.ddns_name";
const ADDRESS: Key = "softether.seen_as";
const REQUEST: Key = "softether.request";

/// How a session begins over HTTP: with the picture that works as a watermark, or over a proxy that wants a page first.
const REQUESTS: [(&[u8], &str); 2] =
    [(b"POST /vpnsvc/connect.cgi HTTP/1.", "connect"), (b"POST /vpnsvc/vpn.cgi HTTP/1.", "vpn")];
/// How the answer begins.
const ANSWER: &[u8] = b"HTTP/1.";
/// The datagram that asks under which address it arrives.
const WHO_AM_I: &[u8] = b"A";
/// Elements of a pack; a registration has a dozen.
const ELEMENTS: u32 = 64;
/// Longest name of an element.
const NAME: u32 = 64;
/// Characters of a value that are kept.
const KEPT: usize = 128;
/// Datagrams that are read before the flow is left alone.
const PATIENCE: u8 = 24;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier == Carrier::Stream {
        return probe_stream(opening.sent.orig, opening.sent.resp);
    }
    let (bytes, other) = (*opening.sent.of(opening.newest), *opening.sent.of(opening.newest.flip()));
    if bytes == WHO_AM_I {
        return if other.is_empty() || address(other).is_some() { Probe::NeedMore } else { Probe::NoMatch };
    }
    let fits = Pack::read(bytes).is_some_and(|pack| pack.is_nat_traversal())
        || (other == WHO_AM_I && address(bytes).is_some());
    if fits { Probe::Match } else { Probe::NoMatch }
}

fn probe_stream(orig: &[u8], resp: &[u8]) -> Probe {
    let answers = resp.iter().zip(ANSWER).all(|(byte, expected)| byte == expected);
    let begins = |(request, _): &(&[u8], &str)| orig.starts_with(request);
    match answers {
        true if REQUESTS.iter().any(begins) => Probe::Match,
        true if REQUESTS.iter().any(|(request, _)| request.starts_with(orig)) => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

/// The address in `IP=192.0.2.1,PORT=1234`.
fn address(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (ip, port) = text.strip_prefix("IP=")?.split_once(",PORT=")?;
    let ip: std::net::IpAddr = ip.parse().ok()?;
    let port: u16 = port.parse().ok()?;
    Some(std::net::SocketAddr::new(ip, port).to_string())
}

/// What of a pack's values is looked at.
#[derive(Debug, Default)]
struct Pack<'a> {
    opcode: &'a [u8],
    host: &'a [u8],
    ddns: &'a [u8],
    has_transaction: bool,
}

impl<'a> Pack<'a> {
    /// Reads a pack that fills a datagram: a number of elements, each a name, a type, and values of it.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        // Most datagrams are told from a pack by these bytes: fewer than 256 elements, and of the first one's name as many.
        if !matches!(bytes, [0, 0, 0, 1..=64, 0, 0, 0, 2..=64, ..]) {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let count = reader.u32().filter(|count| (1..=ELEMENTS).contains(count))?;
        let mut pack = Self::default();
        for _ in 0..count {
            // A name's length counts a byte behind it that is not sent.
            let length = reader.u32().filter(|length| (2..=NAME).contains(length))?;
            let name = reader.take(usize::try_from(length - 1).ok()?)?;
            let (kind, values) = (reader.u32()?, reader.u32()?);
            if !(1..=ELEMENTS).contains(&values) {
                return None;
            }
            for _ in 0..values {
                let value = value(kind, &mut reader)?;
                match (name, kind) {
                    (b"opcode", 2) => pack.opcode = value,
                    (b"host_name", 2) => pack.host = value,
                    (b"ddns_fqdn", 2) => pack.ddns = value,
                    (b"tran_id", 4) => pack.has_transaction = true,
                    _ => {}
                }
            }
        }
        reader.is_empty().then_some(pack)
    }

    /// Every question and answer of NAT traversal has a word for what is asked and a number of its own.
    fn is_nat_traversal(&self) -> bool {
        self.has_transaction
            && (2..=32).contains(&self.opcode.len())
            && self.opcode.iter().all(|b| b.is_ascii_lowercase() || *b == b'_')
    }
}

/// One value: integers of 4 and 8 bytes, and bytes, text and wide text with their length before them.
fn value<'a>(kind: u32, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    match kind {
        0 => reader.take(4),
        1..=3 => {
            let length = reader.u32()?;
            reader.take(usize::try_from(length).ok()?)
        }
        4 => reader.take(8),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct SoftEther {
    /// What the client of a stream has sent so far, of its first request.
    request: Vec<u8>,
    asked: bool,
    asking: Option<Direction>,
    datagrams: u8,
    done: bool,
}

impl Analyzer for SoftEther {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Stream {
            self.on_stream(pdu, events);
            return;
        }
        self.datagrams += 1;
        if pdu.bytes == WHO_AM_I {
            self.asking = Some(pdu.dir);
        } else if let Some(address) = address(pdu.bytes) {
            if self.asking == Some(pdu.dir.flip()) {
                events.confirmed(pdu.at, pdu.dir);
            }
            events.attribute(pdu.at, pdu.dir, ADDRESS, address);
        } else if let Some(pack) = Pack::read(pdu.bytes).filter(Pack::is_nat_traversal) {
            for (key, text) in [(OPCODE, pack.opcode), (HOST, pack.host), (DDNS, pack.ddns)] {
                if !text.is_empty() {
                    events.attribute(pdu.at, pdu.dir, key, printable(text, KEPT));
                }
            }
            // An answer names what was asked.
            if self.asking.replace(pdu.dir) == Some(pdu.dir.flip()) {
                events.confirmed(pdu.at, pdu.dir);
            }
        }
        if self.datagrams >= PATIENCE {
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

impl SoftEther {
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if pdu.dir == Direction::Orig && !self.asked {
            let room = REQUESTS.iter().map(|(request, _)| request.len()).max().unwrap_or(0);
            self.request.extend(pdu.bytes.iter().take(room.saturating_sub(self.request.len())));
            if let Some((_, word)) = REQUESTS.iter().find(|(request, _)| self.request.starts_with(request)) {
                self.asked = true;
                self.request.clear();
                events.attribute(pdu.at, pdu.dir, REQUEST, *word);
            }
        } else if pdu.dir == Direction::Resp && self.asked {
            let room = ANSWER.len();
            self.request.extend(pdu.bytes.iter().take(room.saturating_sub(self.request.len())));
            if self.request.len() >= room {
                if self.request == ANSWER {
                    events.confirmed(pdu.at, pdu.dir);
                }
                self.done = true;
                events.settled(pdu.at, pdu.dir);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    /// An element: name, type, values.
    fn element(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(name.len() + 1).unwrap().to_be_bytes().to_vec();
        out.extend(name.as_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(1u32.to_be_bytes());
        if kind == 2 {
            out.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        }
        out.extend(value);
        out
    }

    fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
        [&u32::try_from(elements.len()).unwrap().to_be_bytes()[..], &elements.concat()].concat()
    }

    fn register(more: &[Vec<u8>]) -> Vec<u8> {
        let own = [element("opcode", 2, b"nat_t_register"), element("tran_id", 4, &[7; 8])];
        pack(&[&own[..], more].concat())
    }

    fn run(all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&SOFTETHER, &turns)
    }

    fn confirmed(events: &[Event]) -> usize {
        events.iter().filter(|e| e.kind == EventKind::Confirmed).count()
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&SOFTETHER, Carrier::Datagram, orig, resp)
    }

    #[test]
    fn a_registration_says_whose_it_is() {
        let ask = register(&[element("host_name", 2, b"vpn"), element("ddns_fqdn", 2, b"vpn1.softether.net")]);
        assert_eq!(probe(&ask, b""), Probe::Match);
        let events = run(&[(Orig, ask), (Resp, register(&[element("ok", 0, &[0, 0, 0, 1])]))]);
        assert_eq!(said(&events, OPCODE), Some("nat_t_register"));
        assert_eq!((said(&events, HOST), said(&events, DDNS)), (Some("vpn"), Some("vpn1.softether.net")));
        assert_eq!(confirmed(&events), 1);
    }

    #[test]
    fn who_asks_for_its_address_is_told() {
        assert_eq!(probe(b"A", b""), Probe::NeedMore);
        assert_eq!(probe(b"A", b"IP=192.0.2.1,PORT=5004"), Probe::Match);
        let events = run(&[(Orig, b"A".to_vec()), (Resp, b"IP=192.0.2.1,PORT=5004".to_vec())]);
        assert_eq!((said(&events, ADDRESS), confirmed(&events)), (Some("192.0.2.1:5004"), 1));
    }

    #[test]
    fn look_alikes_do_not_match() {
        assert_eq!(probe(b"A", b"A"), Probe::NoMatch);
        assert_eq!(probe(b"B", b"IP=192.0.2.1,PORT=5004"), Probe::NoMatch);
        assert_eq!(probe(b"A", b"IP=192.0.2.1,PORT=500444"), Probe::NoMatch);
        let good = register(&[]);
        let mut long = good.clone();
        long.push(0);
        let others = [
            long,
            good[..good.len() - 1].to_vec(),
            pack(&[element("opcode", 2, b"x y"), element("tran_id", 4, &[7; 8])]),
        ];
        for other in others {
            assert_eq!(probe(&other, b""), Probe::NoMatch);
        }
        let stream = |bytes: &[u8]| testkit::probe(&SOFTETHER, Carrier::Stream, bytes, b"");
        assert_eq!(stream(b"POST /vpnsvc/"), Probe::NeedMore);
        assert_eq!(stream(b"POST /vpnsvc/connect.cgi HTTP/1.1\r\n"), Probe::Match);
        assert_eq!(stream(b"POST /vpnsvc/other.cgi HTTP/1.1\r\n"), Probe::NoMatch);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            let turns: [Turn<'_>; 2] = [
                (Orig, b"POST /vpnsvc/connect.cgi HTTP/1.1\r\nContent-Length: 9\r\n\r\nVPNCONNECT"),
                (Resp, b"HTTP/1.1 200 OK\r\n\r\n"),
            ];
            let whole = testkit::stream(&SOFTETHER, &turns, usize::MAX);
            prop_assert_eq!(said(&whole, REQUEST), Some("connect"));
            prop_assert_eq!(confirmed(&whole), 1);
            prop_assert_eq!(testkit::stream(&SOFTETHER, &turns, piece), whole);
        }

        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..30,
        )) {
            let random = |(orig, bytes): (bool, Vec<u8>)| {
                (if orig { Orig } else { Resp }, [&[0, 0, 0, 2, 0, 0, 0, 3][..], &bytes].concat())
            };
            let all: Vec<_> = all.into_iter().map(random).collect();
            run(&all);
            for (_, bytes) in &all {
                probe(bytes, b"");
                probe(&bytes[8..], b"");
            }
        }
    }
}
