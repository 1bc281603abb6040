//! Citrix ICA and what carries it: the bare protocol, CGP (session reliability), and EDT (the transport over UDP).
//!
//! Reads: the signature both ends of ICA send, the greeting both ends of CGP send, and EDT's handshake with the first
//! data after it. Emits: the program that the client says it is, EDT's packet size; all of one pair of addresses belong
//! together. Does not: follow ICA's own encryption, or see into TLS or DTLS, which gateways and hardened hosts put
//! around all of them.
//!
//! Reference: none is public. Signature and greeting as Citrix's clients send them
//! (captures `remote-desktop/ndpi__citrix.pcap`, `remote-desktop/ndpi__f2d4a358__citrixudp.pcap`); EDT is a dialect of
//! UDT (draft-gg-udt-03, sections 4 and 5). Host names: Citrix, "System and connectivity requirements".

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{
    Analyzer, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol, Said, Shows, Sign,
};

/// The registry's entry for ICA over TCP, bare or in CGP.
pub(crate) static ICA: Protocol = Protocol {
    name: "ica",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[1494, 2598],
    attributes: &[FRAMING, CLIENT_MODULE],
    signs: &[
        // The gateway service: what is reached there is a session, the portal has other names.
        Sign::new("tls.sni", Said::Domain("nssvc.net"), Shows::Likely),
        Sign::new("tls.sni", Said::Domain("cloud.com"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("xendesktop.net"), Shows::Mention),
        Sign::new("tls.sni", Said::Domain("citrix.com"), Shows::Mention),
    ],
    lasting: false,
    probe,
    analyzer: || Box::new(Ica::default()),
};

/// The registry's entry for EDT.
pub(crate) static EDT: Protocol = Protocol {
    name: "edt",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Datagram],
    ports: &[1494, 2598, 443],
    attributes: &[PACKET_SIZE],
    signs: &[],
    lasting: false,
    probe: probe_edt,
    analyzer: || Box::new(Edt::default()),
};

const FRAMING: Key = "ica.framing";
const CLIENT_MODULE: Key = "ica.client_module";
const PACKET_SIZE: Key = "edt.packet_size";

/// All flows of Citrix between two addresses.
const LINK: Link = Link::Pair("ica");

/// What both ends of ICA begin with.
const SIGNATURE: &[u8] = b"\x7f\x7fICA\0";
/// What both ends of CGP begin with: kind 26, the name and version, then a length.
const GREETING: &[u8] = b"\x1aCGP/01";
/// The first packet of an ICA client has about 150 bytes.
const INBOX_LIMIT: usize = 2_048;

/// Which of the two forms a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bare,
    Cgp,
}

impl Form {
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::Bare => SIGNATURE,
            Self::Cgp => GREETING,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "ica",
            Self::Cgp => "cgp",
        }
    }

    /// How well the first bytes of one end fit.
    fn fits(self, bytes: &[u8]) -> Probe {
        let opening = self.opening();
        if !bytes.iter().zip(opening).all(|(byte, wanted)| byte == wanted) {
            Probe::NoMatch
        } else if bytes.len() < opening.len() {
            Probe::NeedMore
        } else {
            Probe::Match
        }
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    let mut answer = Probe::NoMatch;
    for form in [Form::Bare, Form::Cgp] {
        match [opening.sent.orig, opening.sent.resp].map(|bytes| form.fits(bytes)) {
            [Probe::NoMatch, _] | [_, Probe::NoMatch] => {}
            [Probe::Match, _] | [_, Probe::Match] => return Probe::Match,
            _ => answer = Probe::NeedMore,
        }
    }
    answer
}

#[derive(Debug)]
struct Ica {
    inboxes: Ends<Inbox>,
    greeted: Ends<bool>,
    form: Option<Form>,
    done: bool,
}

impl Default for Ica {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, greeted: Ends::default(), form: None, done: false }
    }
}

impl Analyzer for Ica {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.dir == Direction::Resp && self.greeted.resp {
            return;
        }
        // What is beyond the buffer comes after all that is read here, however the stream was cut.
        let room = INBOX_LIMIT.saturating_sub(self.inboxes.of(pdu.dir).bytes().len());
        let wanted = pdu.bytes.get(..room).unwrap_or(pdu.bytes);
        let full = !self.inboxes.of_mut(pdu.dir).push(pdu.at, wanted) || wanted.len() < pdu.bytes.len();
        if !*self.greeted.of(pdu.dir) && !self.on_opening(pdu.at, pdu.dir, events) {
            return;
        }
        if self.greeted.orig && self.greeted.resp {
            self.on_module(pdu.at, full, events);
        }
    }
}

impl Ica {
    /// Whether this end's opening is complete.
    fn on_opening(&mut self, at: Timestamp, dir: Direction, events: &mut Events) -> bool {
        let bytes = self.inboxes.of(dir).bytes();
        let (probe, form) = match self.form {
            Some(form) => (form.fits(bytes), form),
            None if Form::Bare.fits(bytes) == Probe::NoMatch => (Form::Cgp.fits(bytes), Form::Cgp),
            None => (Form::Bare.fits(bytes), Form::Bare),
        };
        match probe {
            Probe::NeedMore => return false,
            Probe::NoMatch => {
                events.violation(at, dir, "ica.no-signature");
                self.settle(at, dir, events);
                return false;
            }
            Probe::Match => {}
        }
        let at = self.inboxes.of(dir).time_of(form.opening().len().saturating_sub(1));
        self.form = Some(form);
        *self.greeted.of_mut(dir) = true;
        self.inboxes.of_mut(dir).consume(form.opening().len());
        if self.greeted.orig && self.greeted.resp {
            events.confirmed(at, dir);
            events.attribute(at, dir, FRAMING, form.name());
            events.link(at, dir, LINK);
            if form == Form::Cgp {
                self.settle(at, dir, events);
            }
        }
        !self.done
    }

    /// The client's first packet names the program that sends it.
    fn on_module(&mut self, at: Timestamp, full: bool, events: &mut Events) {
        let dir = Direction::Orig;
        match module(self.inboxes.orig.bytes()) {
            Module::More if !full => {}
            Module::Named(name) => {
                let name = name.to_owned();
                events.attribute(at, dir, CLIENT_MODULE, name);
                self.settle(at, dir, events);
            }
            Module::More | Module::None => self.settle(at, dir, events),
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.done = true;
        events.settled(at, dir);
    }
}

enum Module<'a> {
    More,
    None,
    Named(&'a str),
}

/// The name in the client's first packet: kind 1, its length twice (little-endian), four bytes of index, class and
/// versions, then a file name of at most 13 bytes, padded with NUL.
fn module(bytes: &[u8]) -> Module<'_> {
    let mut reader = Reader::new(bytes);
    let Some([kind, a, b, c, d, _, _, _, _]) = reader.array::<9>() else { return Module::More };
    if kind != 1 || [a, b] != [c, d] {
        return Module::None;
    }
    let Some(name) = reader.take(13) else { return Module::More };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
    match std::str::from_utf8(name) {
        Ok(name) if name.len() > 4 && name.bytes().all(|byte| plain(&byte)) => Module::Named(name),
        _ => Module::None,
    }
}

/// Bytes of a UDT packet's header, and of a handshake packet with its addresses (draft-gg-udt-03, sections 4 and 5).
const UDT_HEADER: usize = 16;
const HANDSHAKE_LEN: usize = 64;
/// A handshake is control packet 0; plain UDT leaves the second half of the word zero, EDT's first requests use it.
const CONTROL_HANDSHAKE: [u8; 2] = [0x80, 0];
/// What a handshake asks: 1 is a request, -1 its conclusion, 0 a rendezvous.
const REQUESTS: [u32; 3] = [1, u32::MAX, 0];
/// The largest packet that is believed, and the smallest that IPv4 guarantees.
const SIZES: std::ops::RangeInclusive<u32> = 576..=9_216;

/// EDT's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Handshake {
    /// The second half of the control word, which plain UDT and SRT keep zero.
    dialect: u16,
    packet_size: u32,
    request: u32,
    /// The sender's socket, which the other end's packets name.
    socket: u32,
    destination: u32,
}

impl Handshake {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let dialect = match reader.array::<4>()? {
            [a, b, c, d] if [a, b] == CONTROL_HANDSHAKE && bytes.len() == HANDSHAKE_LEN => u16::from_be_bytes([c, d]),
            _ => return None,
        };
        reader.take(8)?;
        let destination = reader.u32()?;
        // Version 4; the socket is a stream (SRT, the other child of UDT, begins with datagrams).
        if (reader.u32()?, reader.u32()?) != (4, 1) {
            return None;
        }
        reader.u32()?;
        let packet_size = reader.u32()?;
        reader.u32()?;
        let request = reader.u32()?;
        let socket = reader.u32()?;
        let known = dialect <= 15 && SIZES.contains(&packet_size) && REQUESTS.contains(&request) && socket != 0;
        known.then_some(Self { dialect, packet_size, request, socket, destination })
    }
}

/// Whether a data packet carries CGP's greeting or ICA's signature.
fn data_is_citrix(bytes: &[u8]) -> bool {
    let payload = bytes.get(UDT_HEADER..).unwrap_or_default();
    bytes.first().is_some_and(|first| first & 0x80 == 0)
        && (payload.starts_with(GREETING) || payload.starts_with(SIGNATURE))
}

fn probe_edt(opening: &Opening<'_>) -> Probe {
    let newest = opening.sent.of(opening.newest);
    if data_is_citrix(newest) {
        return Probe::Match;
    }
    match Handshake::read(newest) {
        // Nobody else marks UDT's handshake so.
        Some(handshake) if handshake.dialect != 0 => Probe::Match,
        Some(_) => Probe::NeedMore,
        None => Probe::NoMatch,
    }
}

/// Datagrams after which a flow without Citrix's greeting is given up.
const PATIENCE: u8 = 24;

#[derive(Debug, Default)]
struct Edt {
    sockets: Ends<Option<u32>>,
    greeted: Ends<bool>,
    told: bool,
    seen: u8,
    done: bool,
}

impl Analyzer for Edt {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        if let Some(handshake) = Handshake::read(pdu.bytes) {
            self.on_handshake(pdu, handshake, events);
        } else if data_is_citrix(pdu.bytes) {
            // Data names the socket of the end that it goes to.
            let to = pdu.bytes.get(12..UDT_HEADER).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_be_bytes(*b));
            let meant = self.sockets.of(pdu.dir.flip()).is_none_or(|socket| Some(socket) == to);
            *self.greeted.of_mut(pdu.dir) |= meant;
            if self.greeted.orig && self.greeted.resp {
                events.confirmed(pdu.at, pdu.dir);
                events.link(pdu.at, pdu.dir, LINK);
                self.settle(pdu, events);
            }
        } else if self.seen >= PATIENCE {
            if !self.greeted.orig && !self.greeted.resp {
                events.violation(pdu.at, pdu.dir, "edt.no-greeting");
            }
            self.settle(pdu, events);
        }
    }
}

impl Edt {
    fn on_handshake(&mut self, pdu: &Pdu<'_>, handshake: Handshake, events: &mut Events) {
        let other = *self.sockets.of(pdu.dir.flip());
        if handshake.destination != 0 && other.is_some_and(|socket| socket != handshake.destination) {
            events.violation(pdu.at, pdu.dir, "edt.answer-to-nothing");
            self.settle(pdu, events);
            return;
        }
        // The responder may take another socket for the data; the last one said counts.
        *self.sockets.of_mut(pdu.dir) = Some(handshake.socket);
        let answers = handshake.destination != 0 && other == Some(handshake.destination);
        if answers && !std::mem::replace(&mut self.told, true) {
            events.attribute(pdu.at, pdu.dir, PACKET_SIZE, printable(handshake.packet_size.to_string().as_bytes(), 5));
            events.link(pdu.at, pdu.dir, LINK);
        }
    }

    fn settle(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.done = true;
        events.settled(pdu.at, pdu.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::EventKind;
    use crate::protocol::testkit::{self, Turn, said};
    use proptest::prelude::*;

    /// The client's first packet: kind, length twice, index, class, versions, name, the rest.
    fn first_packet() -> Vec<u8> {
        let mut out = b"\x01\x1f\0\x1f\0\x15\0\x01\x04WFICA32.EXE\0\0".to_vec();
        out.resize(34, 0);
        out
    }

    fn bare(first: &[u8]) -> Vec<Turn<'_>> {
        vec![(Resp, SIGNATURE), (Orig, SIGNATURE), (Resp, b"\x0f\0\x07\0\x02\0"), (Orig, first)]
    }

    fn confirmed(events: &[crate::protocol::Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn signatures_of_both_ends_confirm_and_the_client_names_itself() {
        let events = testkit::stream(&ICA, &bare(&first_packet()), 4096);
        assert!(confirmed(&events) && events.iter().any(|e| e.kind == EventKind::Link(LINK)));
        assert_eq!((said(&events, FRAMING), said(&events, CLIENT_MODULE)), (Some("ica"), Some("WFICA32.EXE")));
    }

    #[test]
    fn greetings_of_both_ends_confirm_cgp() {
        let hello = b"\x1aCGP/01\x05\0\x01\0\0\0\0";
        let events = testkit::stream(&ICA, &[(Orig, hello), (Resp, hello)], 4096);
        assert!(confirmed(&events));
        assert_eq!(said(&events, FRAMING), Some("cgp"));
    }

    #[test]
    fn one_end_alone_is_not_certain_and_a_stranger_takes_it_back() {
        assert!(testkit::stream(&ICA, &[(Resp, SIGNATURE)], 4096).is_empty());
        let events = testkit::stream(&ICA, &[(Resp, SIGNATURE), (Orig, b"GET / HTTP/1.1\r\n\r\n")], 4096);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
        // The two forms do not mix.
        let events = testkit::stream(&ICA, &[(Resp, SIGNATURE), (Orig, GREETING)], 4096);
        assert!(!confirmed(&events));
    }

    #[test]
    fn look_alikes_do_not_match() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&ICA, Carrier::Stream, orig, resp);
        assert_eq!(probe(b"\x7fELF\x02\x01", b""), Probe::NoMatch);
        assert_eq!(probe(b"\x1aCGP/02", b""), Probe::NoMatch);
        assert_eq!(probe(SIGNATURE, b"HTTP/1.1"), Probe::NoMatch);
        assert_eq!(probe(b"\x7f\x7fIC", b""), Probe::NeedMore);
        assert_eq!(probe(b"", SIGNATURE), Probe::Match);
    }

    fn handshake(dialect: u16, destination: u32, kind: u32, request: u32, socket: u32) -> Vec<u8> {
        let [a, b] = dialect.to_be_bytes();
        let mut out = vec![0x80, 0, a, b, 0, 0, 0, 0, 0, 0, 0, 0];
        for word in [destination, 4, kind, 0x40ab_8156, 1_500, 0x4000, request, socket, 0, 0x0a63_63d9, 0, 0, 0] {
            out.extend(word.to_be_bytes());
        }
        out
    }

    fn data(to: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = b"\x40\xab\x81\x56\xc0\0\0\x01\0\0\x1b\x02".to_vec();
        out.extend(to.to_be_bytes());
        out.extend(payload);
        out
    }

    #[test]
    fn edt_is_confirmed_by_the_greetings_inside() {
        let datagrams = [
            (Orig, handshake(5, 0, 1, 1, 7)),
            (Resp, handshake(5, 7, 1, 1, 8)),
            (Orig, handshake(4, 8, 1, u32::MAX, 7)),
            (Resp, handshake(0, 7, 1, u32::MAX, 9)),
            (Orig, data(9, b"\x1aCGP/01\xf8\0")),
            (Resp, data(7, b"\x1aCGP/01\x88\x01")),
        ];
        let turns: Vec<Turn<'_>> = datagrams.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
        let events = testkit::datagrams(&EDT, &turns);
        assert!(confirmed(&events));
        assert_eq!(said(&events, PACKET_SIZE), Some("1500"));
        assert!(!confirmed(&testkit::datagrams(&EDT, &turns[..5])));
        assert!(!confirmed(&testkit::datagrams(&EDT, &turns[..4])));
    }

    #[test]
    fn other_children_of_udt_do_not_match() {
        let probe = |orig: &[u8]| testkit::probe(&EDT, Carrier::Datagram, orig, b"");
        assert_eq!(probe(&handshake(5, 0, 1, 1, 7)), Probe::Match);
        // UDT itself, until Citrix's greeting follows.
        assert_eq!(probe(&handshake(0, 0, 1, 1, 7)), Probe::NeedMore);
        // SRT begins as a datagram socket.
        assert_eq!(probe(&handshake(0, 0, 2, 1, 7)), Probe::NoMatch);
        assert_eq!(probe(&handshake(5, 0, 1, 1, 7)[..63]), Probe::NoMatch);
        assert_eq!(probe(&data(1, b"GET / HTTP/1.1")), Probe::NoMatch);
        let strangers: Vec<Turn<'_>> = std::iter::repeat_n((Orig, &b"something else"[..]), 30).collect();
        let events = testkit::datagrams(&EDT, &strangers);
        assert!(matches!(events[0].kind, EventKind::Violation(_)));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..64) {
            let first = first_packet();
            let kinds = |events: Vec<crate::protocol::Event>| events.into_iter().map(|e| (e.dir, e.kind)).collect::<Vec<_>>();
            let whole = kinds(testkit::stream(&ICA, &bare(&first), 4096));
            prop_assert_eq!(kinds(testkit::stream(&ICA, &bare(&first), piece)), whole);
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..90)), 0..8,
        )) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, begins, bytes)| {
                    let head = if begins { SIGNATURE } else { &[0x80, 0, 0, 5][..] };
                    (if orig { Orig } else { Resp }, [head, &bytes].concat())
                })
                .collect();
            let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
            testkit::stream(&ICA, &turns, 3);
            testkit::datagrams(&EDT, &turns);
        }
    }
}
