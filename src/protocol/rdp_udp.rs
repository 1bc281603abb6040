//! RDP-UDP: the transport for datagrams that RDP opens beside its TCP connection, up to the certificate inside.
//!
//! Reads: SYN and SYN+ACK, the payloads of the first datagrams in their order, and in them the hellos of TLS (reliable)
//! or the ClientHello of DTLS (lossy). Emits: version, kind, correlation identifier, what the hellos say, and closed
//! loops. Does not: decrypt the tunnel request ([MS-RDPEMT]), correct errors, or follow a flow of version 3 whose
//! handshake was not seen.
//!
//! Reference: [MS-RDPEUDP] 3.1.5, [MS-RDPEUDP2] 3.1, [MS-RDPEMT] 1.3.

use crate::base::{Direction, Ends, Layer, Link, Timestamp};
use crate::protocol::codec::client_hello::{ClientHello, Transport};
use crate::protocol::codec::hello_attributes::{chosen, offered};
use crate::protocol::codec::rdp_udp_header::{Data, Packet3, Syn, VERSION_3, acknowledged, flag};
use crate::protocol::codec::server_hello::ServerHello;
use crate::protocol::codec::tls_record::{HEADER, RecordHeader, content, handshake};
use crate::protocol::codec::x509::CertificateNames;
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static RDP_UDP: Protocol = Protocol {
    name: "rdp-udp",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Datagram],
    ports: &[3389, 3391],
    attributes: &[
        VERSION,
        KIND,
        SECURITY,
        CORRELATION,
        FEC,
        "tls.sni",
        "tls.alpn_offered",
        "tls.ech",
        "tls.ja3",
        "tls.ja4",
        "tls.version",
        "tls.cipher",
        "tls.alpn",
        "tls.resumed",
        "tls.ja3s",
        "tls.cert_subject",
        "tls.cert_issuer",
        "tls.cert_san",
        "tls.cert_eku",
    ],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(RdpUdp::default()),
};

const VERSION: Key = "rdp_udp.version";
const KIND: Key = "rdp_udp.kind";
const SECURITY: Key = "rdp_udp.security";
const CORRELATION: Key = "rdp_udp.correlation_id";
const FEC: Key = "rdp_udp.fec";

/// Bytes of one end's TLS that are read: a certificate chain.
const CLEAR_LIMIT: usize = 16 * 1024;
/// Datagrams that are read: a handshake takes about ten.
const DATAGRAMS: u8 = 64;
/// How far apart what one end has sent and the other has acknowledged may be, in datagrams: the largest window.
const WINDOW: u32 = 1 << 16;

fn probe(opening: &Opening<'_>) -> Probe {
    let newest = *opening.sent.of(opening.newest);
    if Syn::read(newest).is_some() {
        return Probe::Match;
    }
    let Some(one) = secured(newest) else { return Probe::NoMatch };
    match secured(opening.sent.of(opening.newest.flip())) {
        Some(other) if near(one.acknowledged, other.coded) && near(other.acknowledged, one.coded) => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// A data datagram of version 1 or 2 whose payload begins with a record of TLS or DTLS.
fn secured(bytes: &[u8]) -> Option<Data<'_>> {
    Data::read(bytes).filter(|data| !data.corrects && security(data.payload).is_some())
}

fn near(a: u32, b: u32) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead.min(ahead.wrapping_neg()) < WINDOW
}

/// What secures a payload, by its record header: type and version.
fn security(payload: &[u8]) -> Option<&'static str> {
    match payload.first_chunk::<3>()? {
        [content::CHANGE_CIPHER_SPEC..=content::APPLICATION, 3, 1..=3] => Some("tls"),
        [content::CHANGE_CIPHER_SPEC..=content::APPLICATION, 0xfe, 0xfd | 0xff] => Some("dtls"),
        _ => None,
    }
}

/// What one end sends inside.
#[derive(Debug, Default)]
struct End {
    /// The place of the payload that is read next.
    next: Option<u32>,
    /// TLS records whose end has not come.
    records: Vec<u8>,
    /// Handshake messages whose end has not come.
    messages: Vec<u8>,
    /// Nothing more is read of it.
    closed: bool,
}

#[derive(Debug, Default)]
struct RdpUdp {
    syn: Option<(Direction, Syn)>,
    answered: bool,
    version: u16,
    ends: Ends<End>,
    /// The number of each end's datagram whose acknowledgement has not come.
    unacknowledged: Ends<Option<u32>>,
    /// The ClientHello has not been answered.
    asked: bool,
    secured: bool,
    corrected: bool,
    datagrams: u8,
    done: bool,
}

impl Analyzer for RdpUdp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        self.datagrams += 1;
        match Syn::read(pdu.bytes).filter(|_| !self.has_data()) {
            Some(syn) if syn.is_answer() => self.on_answer(pdu, &syn, events),
            Some(syn) => self.on_syn(pdu, syn, events),
            None if self.syn.is_none() && !self.answered => self.on_headless(pdu, events),
            None => self.on_data(pdu, events),
        }
        if self.datagrams >= DATAGRAMS {
            self.settle(pdu.at, pdu.dir, events);
        }
    }
}

impl RdpUdp {
    fn has_data(&self) -> bool {
        self.ends.orig.next.is_some() || self.ends.resp.next.is_some()
    }

    fn on_syn(&mut self, pdu: &Pdu<'_>, syn: Syn, events: &mut Events) {
        if self.syn.is_some_and(|(dir, known)| dir != pdu.dir || known.initial != syn.initial) {
            events.violation(pdu.at, pdu.dir, "rdp-udp.two-handshakes");
            self.settle(pdu.at, pdu.dir, events);
            return;
        }
        if self.syn.is_none() {
            tell_kind(pdu, syn.flags, events);
            if let Some(id) = syn.correlation.filter(|id| id.iter().any(|byte| *byte != 0)) {
                let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                events.attribute(pdu.at, pdu.dir, CORRELATION, hex);
                events.link(pdu.at, pdu.dir, Link::token("rdp", &id));
            }
        }
        self.syn = Some((pdu.dir, syn));
        events.ask(pdu.at, pdu.dir, Layer::RdpUdp, "syn");
    }

    /// The SYN+ACK names the SYN's sequence number, so nobody can send it who has not seen the SYN.
    fn on_answer(&mut self, pdu: &Pdu<'_>, answer: &Syn, events: &mut Events) {
        match self.syn {
            Some((dir, syn)) if dir == pdu.dir || syn.initial != answer.acknowledged => {
                events.violation(pdu.at, pdu.dir, "rdp-udp.answer-to-nothing");
                self.settle(pdu.at, pdu.dir, events);
                return;
            }
            Some((_, syn)) => {
                self.version = syn.version.min(answer.version);
                if !self.answered {
                    events.answer(pdu.at, pdu.dir, Layer::RdpUdp, "syn");
                    events.confirmed(pdu.at, pdu.dir);
                    events.link(pdu.at, pdu.dir, Link::Pair("rdp"));
                }
            }
            None => {
                self.version = answer.version;
                tell_kind(pdu, answer.flags, events);
            }
        }
        if !std::mem::replace(&mut self.answered, true) {
            events.attribute(
                pdu.at,
                pdu.dir,
                VERSION,
                if self.version == VERSION_3 { "3" } else { one_or_two(self.version) },
            );
        }
    }

    /// From the middle of a connection: what secures it is all that can be told.
    fn on_headless(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if let Some(name) = secured(pdu.bytes).and_then(|data| security(data.payload)) {
            events.attribute(pdu.at, pdu.dir, SECURITY, name);
        }
        self.settle(pdu.at, pdu.dir, events);
    }

    fn on_data(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let read = if self.version == VERSION_3 { self.third(pdu, events) } else { self.older(pdu, events) };
        let Some((place, payload)) = read else { return };
        if !self.secured
            && let Some(name) = security(payload)
        {
            self.secured = true;
            events.attribute(pdu.at, pdu.dir, SECURITY, name);
        }
        let end = self.ends.of_mut(pdu.dir);
        let expected = *end.next.get_or_insert(place);
        if security(payload) == Some("dtls") {
            self.on_dtls(pdu, payload, events);
        } else if place == expected {
            let wrap = if self.version == VERSION_3 { u32::from(u16::MAX) } else { u32::MAX };
            end.next = Some(place.wrapping_add(1) & wrap);
            self.on_tls(pdu, payload, events);
        } else if self.asked && place.wrapping_add(1) == expected {
            // The ClientHello again: whichever of the two is answered.
            events.ask(pdu.at, pdu.dir, Layer::Tls, "client-hello");
        }
    }

    /// Place and payload of a datagram of version 1 or 2.
    fn older<'b>(&mut self, pdu: &Pdu<'b>, events: &mut Events) -> Option<(u32, &'b [u8])> {
        if let Some(newest) = acknowledged(pdu.bytes) {
            self.on_acknowledgement(pdu, |number| newest.wrapping_sub(number) < WINDOW, events);
        }
        let data = Data::read(pdu.bytes)?;
        self.on_number(pdu, data.coded, events);
        if data.corrects {
            if !std::mem::replace(&mut self.corrected, true) {
                events.attribute(pdu.at, pdu.dir, FEC, "true");
            }
            return None;
        }
        Some((data.place, data.payload))
    }

    /// The same of version 3.
    fn third<'b>(&mut self, pdu: &Pdu<'b>, events: &mut Events) -> Option<(u32, &'b [u8])> {
        let packet = Packet3::read(pdu.bytes)?;
        if let Some(newest) = packet.acknowledged.map(u32::from) {
            // Numbers of 16 bits: what is less than half of them behind has been received.
            self.on_acknowledgement(pdu, |number| newest.wrapping_sub(number) & 0xffff < 0x8000, events);
        }
        let data = packet.data?;
        self.on_number(pdu, u32::from(data.number), events);
        Some((u32::from(data.place), data.payload))
    }

    /// A datagram that is sent again bears a new number, so it is always clear which one is acknowledged.
    fn on_number(&mut self, pdu: &Pdu<'_>, number: u32, events: &mut Events) {
        let open = self.unacknowledged.of_mut(pdu.dir);
        if open.is_none() {
            *open = Some(number);
            events.ask(pdu.at, pdu.dir, Layer::RdpUdp, "data");
        }
    }

    fn on_acknowledgement(&mut self, pdu: &Pdu<'_>, received: impl FnOnce(u32) -> bool, events: &mut Events) {
        let open = self.unacknowledged.of_mut(pdu.dir.flip());
        if open.is_some_and(received) {
            *open = None;
            events.answer(pdu.at, pdu.dir, Layer::RdpUdp, "data");
        }
    }

    fn on_tls(&mut self, pdu: &Pdu<'_>, payload: &[u8], events: &mut Events) {
        let end = self.ends.of_mut(pdu.dir);
        if end.closed || end.records.len() + end.messages.len() + payload.len() > CLEAR_LIMIT {
            end.closed = true;
        } else {
            end.records.extend_from_slice(payload);
            end.take_records();
            while let Some((kind, body)) = self.ends.of_mut(pdu.dir).next_message() {
                self.on_message(pdu, kind, &body, events);
            }
        }
    }

    fn on_message(&mut self, pdu: &Pdu<'_>, kind: u8, body: &[u8], events: &mut Events) {
        let tell = |key, value: String| events.attribute(pdu.at, pdu.dir, key, value);
        match kind {
            handshake::CLIENT_HELLO => {
                if let Some(hello) = ClientHello::parse(body, Transport::Tls) {
                    offered(&hello, tell);
                    self.asked = true;
                    events.ask(pdu.at, pdu.dir, Layer::Tls, "client-hello");
                }
            }
            handshake::SERVER_HELLO => {
                if let Some(hello) = ServerHello::parse(body) {
                    chosen(&hello, tell);
                }
                if std::mem::take(&mut self.asked) {
                    events.answer(pdu.at, pdu.dir, Layer::Tls, "client-hello");
                }
            }
            handshake::CERTIFICATE => {
                if let Some(names) = leaf(body).and_then(CertificateNames::parse) {
                    let told = [
                        ("tls.cert_subject", names.subject),
                        ("tls.cert_issuer", names.issuer),
                        ("tls.cert_san", names.alternative),
                        ("tls.cert_eku", names.other_usage),
                    ];
                    told.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| {
                        events.attribute(pdu.at, pdu.dir, key, value);
                    });
                }
            }
            _ => {}
        }
    }

    /// One record a datagram, which may be lost: only a ClientHello that is whole is read (RFC 6347 4.2.2).
    fn on_dtls(&mut self, pdu: &Pdu<'_>, payload: &[u8], events: &mut Events) {
        const RECORD: usize = 13;
        const MESSAGE: usize = 12;
        let Some((header, message)) = payload.get(RECORD..).and_then(|rest| rest.split_first_chunk::<MESSAGE>()) else {
            return;
        };
        let [kind, a, b, c, _, _, 0, 0, 0, x, y, z] = header else { return };
        let hello = payload.first() == Some(&content::HANDSHAKE) && *kind == handshake::CLIENT_HELLO;
        let len = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
        if hello
            && [a, b, c] == [x, y, z]
            && let Some(hello) = message.get(..len).and_then(|body| ClientHello::parse(body, Transport::Dtls))
        {
            offered(&hello, |key, value| events.attribute(pdu.at, pdu.dir, key, value));
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }
}

impl End {
    /// Moves what whole records hold to the messages, up to the first that is no handshake in clear.
    fn take_records(&mut self) {
        while let Some(header) = self.records.first_chunk::<HEADER>() {
            let handshake = RecordHeader::parse(*header).ok().filter(|header| header.kind == content::HANDSHAKE);
            let Some(header) = handshake else {
                self.closed = true;
                return;
            };
            let whole = HEADER + usize::from(header.len);
            let Some(body) = self.records.get(HEADER..whole) else { return };
            self.messages.extend_from_slice(body);
            self.records.drain(..whole);
        }
    }

    fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let [kind, a, b, c] = *self.messages.first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let body = self.messages.get(4..4 + len)?.to_vec();
        self.messages.drain(..4 + len);
        Some((kind, body))
    }
}

/// The first certificate of a Certificate message before TLS 1.3.
fn leaf(body: &[u8]) -> Option<&[u8]> {
    let mut list = crate::base::Reader::new(body).block_u24()?;
    list.block_u24().map(|certificate| certificate.rest())
}

fn tell_kind(pdu: &Pdu<'_>, flags: u16, events: &mut Events) {
    let kind = if flags & flag::SYN_LOSSY != 0 { "lossy" } else { "reliable" };
    events.attribute(pdu.at, pdu.dir, KIND, kind);
}

const fn one_or_two(version: u16) -> &'static str {
    if version == 2 { "2" } else { "1" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    /// A SYN or SYN+ACK of 1,232 bytes.
    fn syn(acknowledged: u32, flags: u16, initial: u32, version: u16) -> Vec<u8> {
        let mut out = acknowledged.to_be_bytes().to_vec();
        out.extend([0, 64]);
        out.extend(flags.to_be_bytes());
        out.extend(initial.to_be_bytes());
        out.extend([4, 0xd0, 4, 0xd0]);
        if flags & flag::CORRELATION_ID != 0 {
            out.extend([0xc0; 16]);
            out.extend([0; 16]);
        }
        if flags & flag::SYN_EX != 0 {
            out.extend([0, 1]);
            out.extend(version.to_be_bytes());
        }
        out.resize(1_232, 0);
        out
    }

    fn data(acknowledged: u32, coded: u32, place: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = acknowledged.to_be_bytes().to_vec();
        out.extend([4, 0, 0, 0x0c, 0, 1, 0, 0]);
        out.extend(coded.to_be_bytes());
        out.extend(place.to_be_bytes());
        out.extend(payload);
        out
    }

    /// A message of TLS in a record of its own, of which the body is what `ClientHello` or `ServerHello` has.
    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u8::try_from(body.len()).unwrap();
        [&[22, 3, 3, 0, len + 4, kind, 0, 0, len][..], body].concat()
    }

    fn hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
        body.extend(b"\0\x11\0\0\0\x0d\0\x0b\0\0\x08pc.local");
        record(1, &body)
    }

    fn server_hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([8; 32]);
        body.extend([0, 0xc0, 0x2f, 0]);
        record(2, &body)
    }

    fn run(turns: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::datagrams(&RDP_UDP, &turns)
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&RDP_UDP, Carrier::Datagram, orig, resp)
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn a_handshake_is_read_up_to_the_names_inside() {
        let events = run(&[
            (Orig, syn(u32::MAX, 0x1801, 100, 2)),
            (Resp, syn(100, 0x1005, 500, 2)),
            (Orig, data(500, 101, 101, &hello())),
            (Resp, data(101, 501, 501, &server_hello())),
        ]);
        assert!(confirmed(&events));
        for (key, value) in [
            (KIND, "reliable"),
            (VERSION, "2"),
            (SECURITY, "tls"),
            (CORRELATION, &*"c0".repeat(16)),
            ("tls.sni", "pc.local"),
            ("tls.cipher", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ] {
            assert_eq!(testkit::said(&events, key), Some(value), "{key}");
        }
        let at = testkit::at;
        let expected = [(at(0), at(1), "syn"), (at(2), at(3), "data"), (at(2), at(3), "client-hello")];
        assert_eq!(testkit::loops(&events), expected);
        let links = [Link::token("rdp", &[0xc0; 16]), Link::Pair("rdp")];
        assert!(links.iter().all(|link| events.iter().any(|e| e.kind == EventKind::Link(*link))));
    }

    #[test]
    fn an_acknowledgement_closes_the_loop_of_the_datagram_it_names() {
        let ack = |newest: u32| [&newest.to_be_bytes()[..], &[4, 0, 0, 4, 0, 1, 0, 0]].concat();
        let events = run(&[
            (Orig, syn(u32::MAX, 0x0001, 100, 1)),
            (Resp, syn(100, 0x0005, 500, 1)),
            (Resp, data(100, 501, 501, b"a")),
            (Orig, ack(500)),
            (Orig, ack(501)),
            (Resp, data(100, 502, 502, b"b")),
            (Resp, data(100, 503, 503, b"c")),
            (Orig, ack(503)),
        ]);
        let at = testkit::at;
        let expected = [(at(0), at(1), "syn"), (at(2), at(4), "data"), (at(5), at(7), "data")];
        assert_eq!(testkit::loops(&events), expected);
    }

    #[test]
    fn version_3_and_lossy_transports_are_told() {
        let third = [0x00, 0x14, 0xc1, 0x01, 0xf4, 0x01, 0x64, 0xe0, 0x64, 0x00, 0x01, 0x00];
        let turns = [
            (Orig, syn(u32::MAX, 0x1801, 100, VERSION_3)),
            (Resp, syn(100, 0x1005, 500, VERSION_3)),
            (Orig, [&third[..], &hello()].concat()),
        ];
        let events = run(&turns);
        assert_eq!(testkit::said(&events, VERSION), Some("3"));
        // A dummy of the server's that acknowledges the client's number.
        let dummy = vec![0x00, 0x55, 0xc1, 0x64, 0x00, 0xdb, 0x05, 0xf0, 0, 0, 0, 0x0a, 0, 0, 1, 0xf4, 1, 0x64];
        let mut answered = turns.to_vec();
        answered.push((Resp, dummy));
        let last = testkit::loops(&run(&answered)).pop();
        assert_eq!(last, Some((testkit::at(2), testkit::at(3), "data")));
        assert_eq!(testkit::said(&events, "tls.sni"), Some("pc.local"));
        // A server that knows version 2 only decides.
        let older = run(&[turns[0].clone(), (Resp, syn(100, 0x1005, 500, 2))]);
        assert_eq!(testkit::said(&older, VERSION), Some("2"));
        let lossy = [
            (Orig, syn(u32::MAX, 0x0201, 100, 1)),
            (Resp, syn(100, 0x0005, 500, 1)),
            (Orig, data(500, 101, 101, &[22, 0xfe, 0xff, 0, 0])),
        ];
        let events = run(&lossy);
        let told = [(KIND, "lossy"), (VERSION, "1"), (SECURITY, "dtls")];
        assert!(told.iter().all(|(key, value)| testkit::said(&events, key) == Some(value)));
    }

    #[test]
    fn a_syn_sent_again_and_a_hello_sent_again_are_asked_again() {
        let turns = [
            (Orig, syn(u32::MAX, 0x0001, 100, 1)),
            (Orig, syn(u32::MAX, 0x0001, 100, 1)),
            (Resp, syn(100, 0x0005, 500, 1)),
            (Orig, data(500, 101, 101, &hello())),
            (Orig, data(500, 102, 101, &hello())),
            (Resp, data(101, 501, 501, &server_hello())),
        ];
        let asks = |method| {
            let of = |e: &&Event| matches!(e.kind, EventKind::Ask(l) if l.method == method);
            run(&turns).iter().filter(of).count()
        };
        assert_eq!((asks("syn"), asks("client-hello")), (2, 2));
        let stranger = run(&[(Orig, syn(u32::MAX, 1, 100, 1)), (Resp, syn(99, 5, 500, 1))]);
        assert!(!confirmed(&stranger));
        assert!(stranger.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn from_the_middle_both_ends_must_know_each_others_numbers() {
        let (a, b) = (data(500, 101, 101, &[23, 3, 3, 0, 9, 1]), data(101, 501, 501, &[23, 3, 3, 0, 9, 1]));
        assert_eq!((probe(&a, b""), probe(&a, &b)), (Probe::NeedMore, Probe::Match));
        assert_eq!(probe(&a, &data(9_000_000, 501, 501, &[23, 3, 3, 0, 9, 1])), Probe::NeedMore);
        let events = run(&[(Orig, a), (Resp, b)]);
        assert_eq!(testkit::said(&events, SECURITY), Some("tls"));
        assert!(!confirmed(&events));
    }

    #[test]
    fn others_that_begin_alike_are_not_rdp() {
        // A query of Valve's servers, DNS, STUN, TLS records alone, a SYN with a datagram size nobody may offer.
        assert_eq!(probe(b"\xff\xff\xff\xffTSource Engine Query\0", b""), Probe::NoMatch);
        assert_eq!(probe(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www", b""), Probe::NoMatch);
        assert_eq!(probe(b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", b""), Probe::NoMatch);
        assert_eq!(probe(&hello(), b""), Probe::NoMatch);
        let mut large = syn(u32::MAX, 1, 100, 1);
        large[12] = 5;
        assert_eq!(probe(&large, b""), Probe::NoMatch);
        assert_eq!(probe(&syn(7, 1, 100, 1), b""), Probe::NoMatch);
        assert_eq!(probe(&syn(u32::MAX, 0x1001, 100, 0x0300), b""), Probe::NoMatch);
        assert_eq!(probe(&syn(u32::MAX, 1, 100, 1), b""), Probe::Match);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            begun in 0usize..3,
            version in prop_oneof![Just(1u16), Just(2), Just(VERSION_3)],
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60), 0u8..3), 0..10),
        ) {
            let mut all = vec![(Orig, syn(u32::MAX, 0x1801, 100, version)), (Resp, syn(100, 0x1005, 500, version))];
            all.truncate(begun);
            all.extend(turns.into_iter().enumerate().map(|(i, (orig, bytes, kind))| {
                let place = 100 + u32::try_from(i).unwrap();
                let bytes = match kind {
                    0 => bytes,
                    1 => data(500, place, place, &bytes),
                    _ => data(500, place, place, &record(1, &bytes)),
                };
                (if orig { Orig } else { Resp }, bytes)
            }));
            run(&all);
            for (_, bytes) in &all {
                probe(bytes, bytes);
                let _ = Packet3::read(bytes);
            }
        }
    }
}
