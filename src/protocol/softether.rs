//! SoftEther VPN: its servers' registration for NAT traversal, and its own HTTP where that is in clear.
//!
//! Reads: the packs (lists of named values) and address answers of NAT traversal over UDP, the first request of a session
//! over HTTP, and the acceleration over UDP. Emits: what is asked, the names that a server gives itself. Does not: see
//! sessions inside TLS, which look like a web page's, or decrypt.
//!
//! The acceleration is encrypted from its first byte, but each datagram begins with an initialization vector in clear
//! that is a piece of the ciphertext before it: 12 bytes behind the vector (version 2), or its last 20 (version 1).
//! Nothing else does that, and no chance makes 12 bytes equal.
//!
//! Reference: SoftEther VPN's sources (Mayaqua `Pack.c`, Cedar `Protocol.h`, `UdpAccel.h`, Mayaqua `Network.c`: RUDP and
//! NAT-T), under the Apache licence.

use crate::base::{Direction, Ends, Link, Reader, Said, Shows, Sign};
use crate::protocol::codec::printable;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static SOFTETHER: Protocol = Protocol {
    name: "softether",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[],
    attributes: &[OPCODE, HOST, DDNS, ADDRESS, REQUEST, ACCELERATION],
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
const ACCELERATION: Key = "softether.acceleration";

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
/// Where a server listens for the acceleration (`UDP_SERVER_PORT_LOWER`, `UDP_SERVER_PORT_HIGHER`).
const ACCELERATION_PORTS: std::ops::RangeInclusive<u16> = 40_000..=44_999;
/// Bytes of the initialization vectors of both versions.
const VECTOR_V1: usize = 20;
const VECTOR_V2: usize = 12;
/// Of the first 24 bytes of a ciphertext so many differ from each other; fewer in one of 10,000.
const DISTINCT: u32 = 18;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier == Carrier::Stream {
        return probe_stream(opening.sent.orig, opening.sent.resp);
    }
    let (bytes, other) = (*opening.sent.of(opening.newest), *opening.sent.of(opening.newest.flip()));
    if bytes == WHO_AM_I {
        return if other.is_empty() || address(other).is_some() { Probe::NeedMore } else { Probe::NoMatch };
    }
    let fits = Pack::read(bytes).is_some_and(|pack| pack.is_nat_traversal())
        || (other == WHO_AM_I && address(bytes).is_some())
        || Acceleration::follows(opening.before, bytes).is_some();
    let may_accelerate =
        || [opening.ports.orig, opening.ports.resp].iter().any(|port| ACCELERATION_PORTS.contains(port));
    match fits {
        true => Probe::Match,
        false if may_accelerate() && looks_random(bytes) => Probe::NeedMore,
        false => Probe::NoMatch,
    }
}

/// Whether a datagram begins as a vector and a ciphertext may.
fn looks_random(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<{ 2 * VECTOR_V2 }>() else { return false };
    let mut seen = [0u64; 4];
    for byte in head {
        if let Some(word) = seen.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }
    seen.iter().map(|word| word.count_ones()).sum::<u32>() >= DISTINCT
}

/// A version of the acceleration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acceleration {
    V1,
    V2,
}

impl Acceleration {
    /// The version in which `next` is what the same end sends after `before`.
    fn follows(before: &[u8], next: &[u8]) -> Option<Self> {
        let v2 = before.get(VECTOR_V2..2 * VECTOR_V2).filter(|_| looks_random(before));
        if v2.is_some_and(|vector| next.starts_with(vector)) {
            return Some(Self::V2);
        }
        let v1 = before.last_chunk::<VECTOR_V1>().filter(|_| before.len() >= 2 * VECTOR_V1 && looks_random(before));
        v1.filter(|vector| next.starts_with(*vector)).map(|_| Self::V1)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
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
    /// The newest datagram of each end: its beginning, and its last bytes.
    newest: Ends<Option<Newest>>,
    /// Ends that accelerate.
    accelerates: Ends<bool>,
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
        } else {
            self.on_other(pdu, events);
        }
        if !self.done && self.datagrams >= PATIENCE {
            self.done = true;
            events.settled(pdu.at, pdu.dir);
        }
    }
}

/// What of a datagram the next one repeats.
#[derive(Debug, Clone, Copy)]
struct Newest {
    v1: [u8; VECTOR_V1],
    v2: [u8; VECTOR_V2],
}

impl SoftEther {
    /// A datagram that is none of NAT traversal's.
    fn on_other(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let before = self.newest.of(pdu.dir);
        let version = match before {
            Some(before) if pdu.bytes.starts_with(&before.v2) => Some(Acceleration::V2),
            Some(before) if pdu.bytes.starts_with(&before.v1) => Some(Acceleration::V1),
            _ => None,
        };
        let v2 = pdu.bytes.get(VECTOR_V2..).and_then(|rest| rest.first_chunk()).filter(|_| looks_random(pdu.bytes));
        *self.newest.of_mut(pdu.dir) =
            v2.zip(pdu.bytes.last_chunk()).filter(|_| pdu.missing == 0).map(|(v2, v1)| Newest { v1: *v1, v2: *v2 });
        let Some(version) = version else { return };
        if self.accelerates == Ends::default() {
            events.link(pdu.at, pdu.dir, Link::Pair("softether"));
            events.attribute(pdu.at, pdu.dir, ACCELERATION, version.name());
        }
        *self.accelerates.of_mut(pdu.dir) = true;
        if self.accelerates.orig && self.accelerates.resp {
            self.done = true;
            events.confirmed(pdu.at, pdu.dir);
            events.settled(pdu.at, pdu.dir);
        }
    }

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

    /// Datagrams of one end as version 2 has them: each begins with what follows the vector of the one before.
    fn chain(seed: u8, count: usize, version: Acceleration) -> Vec<Vec<u8>> {
        let mut state = u64::from(seed) + 1;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).to_le_bytes()[0]
        };
        let mut out: Vec<Vec<u8>> = Vec::new();
        for i in 0..count {
            let mut bytes: Vec<u8> = (0..60 + i).map(|_| random()).collect();
            if let Some(before) = out.last() {
                let vector = if version == Acceleration::V2 {
                    &before[VECTOR_V2..][..VECTOR_V2]
                } else {
                    &before[before.len() - VECTOR_V1..]
                };
                bytes[..vector.len()].copy_from_slice(vector);
            }
            out.push(bytes);
        }
        out
    }

    fn probe_after(port: u16, before: &[u8], newest: &[u8]) -> Probe {
        let sent = Ends { orig: newest, resp: &[][..] };
        let ports = Ends { orig: 50_000, resp: port };
        (SOFTETHER.probe)(&Opening { carrier: Carrier::Datagram, sent, before, newest: Orig, ports })
    }

    #[test]
    fn acceleration_is_known_by_its_chain() {
        for version in [Acceleration::V1, Acceleration::V2] {
            let (client, server) = (chain(1, 3, version), chain(2, 3, version));
            assert_eq!(probe_after(40_000, b"", &client[0]), Probe::NeedMore);
            assert_eq!(probe_after(50_001, b"", &client[0]), Probe::NoMatch);
            assert_eq!(probe_after(40_000, &client[0], &client[1]), Probe::Match);
            assert_eq!(probe_after(40_000, &client[0], &client[2]), Probe::NeedMore);
            assert_eq!(probe_after(40_000, &client[0], &server[1]), Probe::NeedMore);
            let both = client.iter().zip(&server).flat_map(|(a, b)| [(Orig, a.clone()), (Resp, b.clone())]);
            let events = run(&both.collect::<Vec<_>>());
            assert_eq!((said(&events, ACCELERATION), confirmed(&events)), (Some(version.name()), 1));
            let alone: Vec<_> = client.into_iter().map(|bytes| (Orig, bytes)).collect();
            assert_eq!(confirmed(&run(&alone)), 0);
        }
    }

    #[test]
    fn what_repeats_itself_is_no_chain() {
        assert_eq!(probe_after(40_000, &[7; 60], &[7; 60]), Probe::NoMatch);
        let counting: Vec<u8> = (0..60).map(|i| i / 4).collect();
        assert_eq!(probe_after(40_000, &counting, &counting[12..]), Probe::NoMatch);
        assert_eq!(probe_after(40_000, b"", &chain(1, 1, Acceleration::V2)[0][..23]), Probe::NoMatch);
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
