//! TLS over a byte stream: SSLv2 hellos, SSLv3 to TLS 1.3 and its drafts.
//!
//! Reads: records and the handshake messages in clear (RFC 8446, RFC 5246, RFC 6101). Emits: versions, names,
//! fingerprints, certificate names before TLS 1.3, and the handshake's round trips. Does not: decrypt, verify, or stay
//! beyond the first records after the handshake.
//!
//! Round trips (all of them errs upward by the answering end's own time; docs/protocols/tls.md has the rest):
//! `client-hello`, `hello-retry`, `server-hello-done`, `server-finished`, `server-flight`, `first-data`, `settings-ack`.

use crate::base::{Direction, Ends, Layer, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::Inbox;
use crate::protocol::codec::client_hello::{ClientHello, Transport, is_tls13, version_name};
use crate::protocol::codec::hello_attributes::{chosen, offered};
use crate::protocol::codec::ja::{ja3, ja4};
use crate::protocol::codec::server_hello::ServerHello;
use crate::protocol::codec::tls_record::{
    HEADER, MAX_RECORD, RecordHeader, Shape, Ssl2ServerHello, content, handshake, is_ssl2_client_hello, shape,
    ssl2_hello,
};
use crate::protocol::codec::tor_link::{is_link_certificate, is_link_hello};
use crate::protocol::codec::x509::CertificateNames;
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Opening, Pdu, Probe, Protocol};

/// TLS.
pub(super) static PROTOCOL: Protocol = Protocol {
    name: "tls",
    category: Category::Web,
    carriers: &[Carrier::Stream],
    ports: &[443, 8443, 853, 465, 563, 636, 989, 990, 992, 993, 994, 995, 5061, 3389, 4433],
    attributes: &[
        "tls.version",
        "tls.sni",
        "tls.alpn",
        "tls.alpn_offered",
        "tls.cipher",
        "tls.ja3",
        "tls.ja3s",
        "tls.ja4",
        "tls.second_ja3",
        "tls.second_ja4",
        "tls.resumed",
        "tls.hrr",
        "tls.ech",
        "tls.cert_subject",
        "tls.cert_issuer",
        "tls.cert_san",
        "tls.cert_eku",
        "tls.client_cert_subject",
        "tor.certificate",
        "tor.hello",
    ],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Tls::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier != Carrier::Stream {
        return Probe::NoMatch;
    }
    match (shape(opening.sent.orig), shape(opening.sent.resp)) {
        (Shape::Other, _) | (_, Shape::Other) => Probe::NoMatch,
        (Shape::Hello, _) | (_, Shape::Hello) => Probe::Match,
        (Shape::Open, Shape::Open) => Probe::NeedMore,
    }
}

/// Reads one connection's handshake.
#[derive(Debug, Default)]
struct Tls {
    ends: Ends<End>,
    /// Who sent the ClientHello, or does not send the ServerHello.
    client: Option<Direction>,
    offer: Option<Offer>,
    choice: Option<Choice>,
    /// A HelloRetryRequest was seen.
    retry: bool,
    /// The server's certificate or ServerHelloDone was seen: not an abbreviated handshake.
    full: bool,
    asked: Asked,
    after: After,
    confirmed: bool,
    done: bool,
    /// Records seen; a handshake that does not end is left.
    records: u16,
}

/// What stays of a ClientHello.
#[derive(Debug, Clone, Copy)]
struct Offer {
    tls13: bool,
    early_data: bool,
    /// It would speak HTTP/2.
    http2: bool,
}

/// What stays of a ServerHello.
#[derive(Debug, Clone, Copy)]
struct Choice {
    tls13: bool,
}

/// What is waited for when the handshake has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum After {
    #[default]
    Nothing,
    /// Before TLS 1.3: the server's Finished, encrypted.
    Finished,
    /// Before TLS 1.3: the client's first data.
    FirstData,
    /// TLS 1.3 and HTTP/2: the server's first record.
    Settings,
    /// The client's acknowledgment of the settings in it, in one of so many records.
    SettingsAck(u8),
}

/// Which loops are open.
#[derive(Debug, Default)]
struct Asked {
    client_hello: bool,
    hello_retry: bool,
    server_hello_done: bool,
    server_finished: bool,
    server_flight: bool,
}

/// What one end sends.
#[derive(Debug)]
struct End {
    /// The header of the record at hand, as far as it has come.
    header: [u8; HEADER],
    have: usize,
    /// When its first byte passed.
    record_at: Timestamp,
    record: Record,
    /// Bytes of the record's content that are still to come.
    left: usize,
    /// Nothing of this end was read before.
    fresh: bool,
    /// Content in clear that is not used yet.
    clear: Inbox,
    /// When the record passed whose first byte is also the first of `clear`.
    clear_at: Option<Timestamp>,
    /// Bytes of a message too long to be kept that are still to come.
    skip: usize,
    /// ChangeCipherSpec was sent.
    changed: bool,
    /// What follows of type handshake is encrypted (before TLS 1.3).
    protected: bool,
}

impl Default for End {
    fn default() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            record_at: Timestamp::default(),
            record: Record::Opaque,
            left: 0,
            fresh: true,
            clear: Inbox::new(INBOX_LIMIT),
            clear_at: None,
            skip: 0,
            changed: false,
            protected: false,
        }
    }
}

/// What the record at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// Handshake messages in clear.
    Handshake,
    /// An alert in clear.
    Alert,
    ChangeCipherSpec,
    /// Handshake type, but encrypted.
    Protected,
    /// Application data or heartbeat.
    Opaque,
    /// A hello in SSLv2 framing.
    Ssl2,
}

/// When a message's first and last byte passed, and who sent it.
#[derive(Debug, Clone, Copy)]
struct Passed {
    dir: Direction,
    first: Timestamp,
    last: Timestamp,
}

impl Analyzer for Tls {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let mut rest = pdu.bytes;
        while !rest.is_empty() && !self.done {
            rest = if self.ends.of(pdu.dir).have < HEADER {
                self.header_bytes(pdu.at, pdu.dir, rest, events)
            } else {
                self.content_bytes(pdu.at, pdu.dir, rest, events)
            };
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, len: u64, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        let within = usize::try_from(len).ok().filter(|n| end.have == HEADER && *n < end.left);
        match (within, end.record) {
            // What is lost lies inside a record that is only counted.
            (Some(n), Record::Opaque | Record::Protected) => end.left -= n,
            _ => self.settle(at, dir, events),
        }
    }
}

impl Tls {
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !self.done {
            self.done = true;
            events.settled(at, dir);
        }
    }

    fn fault(&mut self, at: Timestamp, dir: Direction, name: &'static str, events: &mut Events) {
        events.violation(at, dir, name);
        self.settle(at, dir, events);
    }

    /// Takes what is missing of a record header.
    fn header_bytes<'b>(&mut self, at: Timestamp, dir: Direction, bytes: &'b [u8], events: &mut Events) -> &'b [u8] {
        let end = self.ends.of_mut(dir);
        if end.have == 0 {
            end.record_at = at;
        }
        let (head, rest) = bytes.split_at_checked(HEADER - end.have).unwrap_or((bytes, &[]));
        for (place, byte) in end.header.iter_mut().skip(end.have).zip(head) {
            *place = *byte;
        }
        end.have += head.len();
        if end.have == HEADER {
            self.record_starts(dir, events);
        }
        rest
    }

    fn record_starts(&mut self, dir: Direction, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        let (header, at) = (end.header, end.record_at);
        if std::mem::take(&mut end.fresh)
            && let Some(len) = ssl2_hello(header)
        {
            // Three bytes of the message stand in what would be the record header.
            let taken = end.clear.push(at, header.get(2..).unwrap_or_default());
            end.record = Record::Ssl2;
            end.left = if taken { len - HEADER } else { 0 };
            return;
        }
        let header = match RecordHeader::parse(header) {
            Ok(header) => header,
            Err(name) => return self.fault(at, dir, name, events),
        };
        end.left = usize::from(header.len);
        end.record = match header.kind {
            content::HANDSHAKE if end.protected => Record::Protected,
            content::ALERT if end.protected => Record::Opaque,
            content::HANDSHAKE => Record::Handshake,
            content::ALERT => Record::Alert,
            content::CHANGE_CIPHER_SPEC => Record::ChangeCipherSpec,
            _ => Record::Opaque,
        };
        if end.record == Record::Handshake && end.skip == 0 && end.clear.bytes().is_empty() {
            end.clear_at = Some(at);
        }
        self.records += 1;
        if Some(dir) == self.client {
            self.answers_of_client(header.kind, at, dir, events);
            self.after_handshake(header.kind, header.len, at, dir, events);
        }
        if self.records >= RECORD_LIMIT {
            self.settle(at, dir, events);
        }
        if self.ends.of(dir).left == 0 {
            self.record_ends(at, dir, events);
        }
    }

    /// A record of the client closes the loops that the server's handshake messages opened.
    fn answers_of_client(&mut self, kind: u8, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::take(&mut self.asked.server_hello_done) && kind == content::HANDSHAKE {
            events.answer(at, dir, Layer::Tls, SERVER_HELLO_DONE);
        }
        if std::mem::take(&mut self.asked.server_finished) && kind == content::CHANGE_CIPHER_SPEC {
            events.answer(at, dir, Layer::Tls, SERVER_FINISHED);
        }
        // In TLS 1.3 a client sends ChangeCipherSpec, if at all, right before its second flight.
        if std::mem::take(&mut self.asked.server_flight)
            && matches!(kind, content::CHANGE_CIPHER_SPEC | content::APPLICATION)
        {
            events.answer(at, dir, Layer::Tls, SERVER_FLIGHT);
        }
    }

    /// The client's first records after the handshake may still answer the server.
    fn after_handshake(&mut self, kind: u8, len: u16, at: Timestamp, dir: Direction, events: &mut Events) {
        match (self.after, kind) {
            (After::FirstData, content::APPLICATION) => {
                events.answer(at, dir, Layer::Tls, FIRST_DATA);
                self.settle(at, dir, events);
            }
            (After::SettingsAck(_), content::APPLICATION) if len == SETTINGS_ACK_LEN => {
                events.answer(at, dir, Layer::Tls, SETTINGS_ACK);
                self.settle(at, dir, events);
            }
            (After::SettingsAck(left), _) if left > 1 => self.after = After::SettingsAck(left - 1),
            (After::Nothing | After::Finished | After::Settings, _) => {}
            _ => self.settle(at, dir, events),
        }
    }

    /// The handshake has been read, and something after it is waited for. What was kept to read it is let go.
    fn stay(&mut self, after: After, at: Timestamp, dir: Direction, events: &mut Events) {
        self.after = after;
        events.established(at, dir);
        for end in [&mut self.ends.orig, &mut self.ends.resp] {
            end.clear = Inbox::new(INBOX_LIMIT);
        }
    }

    /// Takes content of the record at hand.
    fn content_bytes<'b>(&mut self, at: Timestamp, dir: Direction, bytes: &'b [u8], events: &mut Events) -> &'b [u8] {
        let end = self.ends.of_mut(dir);
        let (piece, rest) = bytes.split_at_checked(end.left).unwrap_or((bytes, &[]));
        end.left -= piece.len();
        let ended = end.left == 0;
        match end.record {
            Record::Handshake => self.handshake_bytes(at, dir, piece, events),
            Record::Alert | Record::Ssl2 => {
                if !end.clear.push(at, piece) {
                    self.fault(at, dir, "tls.record-length-beyond-limit", events);
                }
            }
            Record::ChangeCipherSpec | Record::Protected | Record::Opaque => {}
        }
        if ended && !self.done {
            self.record_ends(at, dir, events);
        }
        rest
    }

    fn record_ends(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        end.have = 0;
        match end.record {
            Record::Handshake => {}
            Record::Alert => self.alert(at, dir, events),
            Record::Ssl2 => self.ssl2(at, dir, events),
            Record::ChangeCipherSpec => self.change_cipher_spec(at, dir, events),
            Record::Protected => self.protected_handshake(at, dir, events),
            Record::Opaque => self.opaque(at, dir, events),
        }
    }

    /// Puts handshake content together to messages.
    fn handshake_bytes(&mut self, at: Timestamp, dir: Direction, mut piece: &[u8], events: &mut Events) {
        let end = self.ends.of_mut(dir);
        if end.skip > 0 {
            let skipped = end.skip.min(piece.len());
            end.skip -= skipped;
            piece = piece.get(skipped..).unwrap_or_default();
        }
        if !end.clear.push(at, piece) {
            return self.fault(at, dir, "tls.record-length-beyond-limit", events);
        }
        let mut clear = std::mem::replace(&mut end.clear, Inbox::new(INBOX_LIMIT));
        let mut used = 0;
        while let Some(held) = clear.bytes().get(used..)
            && let Some(len) = message_len(held)
            && !self.done
        {
            if len > MESSAGE_LIMIT {
                let gone = len.min(held.len());
                self.ends.of_mut(dir).skip = len - gone;
                used += gone;
                continue;
            }
            let Some((message, _)) = held.split_at_checked(len) else { break };
            let Some(([kind, ..], body)) = message.split_first_chunk::<MESSAGE_HEADER>() else { break };
            let first = self.ends.of_mut(dir).clear_at.take().unwrap_or_else(|| clear.time_of(used));
            let passed = Passed { dir, first, last: clear.time_of(used + len - 1) };
            used += len;
            self.message(*kind, body, passed, events);
        }
        if used > 0 {
            clear.consume(used);
        }
        self.ends.of_mut(dir).clear = clear;
    }

    fn message(&mut self, kind: u8, body: &[u8], passed: Passed, events: &mut Events) {
        match kind {
            handshake::CLIENT_HELLO => self.client_hello(body, passed, events),
            handshake::SERVER_HELLO => self.server_hello(ServerHello::parse(body), passed, events),
            handshake::DRAFT_HELLO_RETRY if self.choice.is_none() => {
                self.server_hello(ServerHello::parse_draft_retry(body), passed, events);
            }
            handshake::CERTIFICATE => self.certificate(body, passed, events),
            handshake::SERVER_HELLO_DONE => self.server_hello_done(passed, events),
            _ => {}
        }
    }

    fn client_hello(&mut self, body: &[u8], passed: Passed, events: &mut Events) {
        let Passed { dir, first, last } = passed;
        let Some(hello) = ClientHello::parse(body, Transport::Tls) else {
            return self.fault(last, dir, "tls.client-hello-malformed", events);
        };
        if self.client.is_some_and(|client| client != dir) || self.choice.is_some() {
            return self.fault(last, dir, "tls.client-hello-unexpected", events);
        }
        self.client = Some(dir);
        if self.offer.is_none() {
            let http2 = { hello.alpn }.any(|name| name == b"h2");
            self.offer = Some(Offer { tls13: hello.offers_tls13(), early_data: hello.early_data, http2 });
            offered(&hello, |key, value| events.attribute(last, dir, key, value));
            if is_link_hello(&hello) {
                events.attribute(last, dir, "tor.hello", "made-up-name");
            }
            self.asked.client_hello = true;
            events.ask(last, dir, Layer::Tls, CLIENT_HELLO);
            return;
        }
        events.attribute(last, dir, "tls.second_ja3", ja3(&hello));
        events.attribute(last, dir, "tls.second_ja4", ja4(&hello));
        if std::mem::take(&mut self.asked.hello_retry) {
            events.answer(first, dir, Layer::Tls, HELLO_RETRY);
        }
    }

    fn server_hello(&mut self, hello: Option<ServerHello<'_>>, passed: Passed, events: &mut Events) {
        let Passed { dir, first, last } = passed;
        let Some(hello) = hello else {
            return self.fault(last, dir, "tls.server-hello-malformed", events);
        };
        if self.client == Some(dir) || self.choice.is_some() || hello.retry && self.retry {
            return self.fault(last, dir, "tls.server-hello-unexpected", events);
        }
        self.client = Some(dir.flip());
        if std::mem::take(&mut self.asked.client_hello) {
            events.answer(first, dir, Layer::Tls, CLIENT_HELLO);
        }
        self.confirm(last, dir, events);
        if hello.retry {
            self.retry = true;
            events.attribute(last, dir, "tls.hrr", "true");
            self.asked.hello_retry = self.offer.is_some();
            if self.asked.hello_retry {
                events.ask(last, dir, Layer::Tls, HELLO_RETRY);
            }
            return;
        }
        let tls13 = is_tls13(hello.version);
        self.choice = Some(Choice { tls13 });
        chosen(&hello, |key, value| events.attribute(last, dir, key, value));
        // Early data does not wait for the server, and could not be told from the client's Finished.
        if tls13 && self.offer.is_some_and(|offer| !offer.early_data) {
            self.asked.server_flight = true;
            events.ask(last, dir, Layer::Tls, SERVER_FLIGHT);
        }
    }

    /// A ServerHello after a ClientHello: both ends speak TLS.
    fn confirm(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if self.offer.is_some() && !std::mem::replace(&mut self.confirmed, true) {
            events.confirmed(at, dir);
        }
    }

    fn certificate(&mut self, body: &[u8], passed: Passed, events: &mut Events) {
        let (at, dir) = (passed.last, passed.dir);
        let leaf = leaf(body);
        if self.client == Some(dir) {
            if let Some(names) = leaf.and_then(CertificateNames::parse) {
                if let Some((kind, name)) = names.holder() {
                    let claim = Claim::new("tls-client-certificate", Whereabouts::End(dir), kind, name);
                    events.claim(at, dir, claim.worth(Sureness::Asked));
                }
                events.attribute(at, dir, "tls.client_cert_subject", names.subject);
            }
            return;
        }
        self.full = true;
        if let Some(leaf) = leaf {
            server_certificate_attributes(leaf, at, dir, events);
        }
    }

    fn server_hello_done(&mut self, passed: Passed, events: &mut Events) {
        if self.client == Some(passed.dir) {
            return;
        }
        self.full = true;
        events.attribute(passed.last, passed.dir, "tls.resumed", "false");
        let waiting = self.client.is_some_and(|client| !self.ends.of(client).changed);
        if self.offer.is_some() && waiting {
            self.asked.server_hello_done = true;
            events.ask(passed.last, passed.dir, Layer::Tls, SERVER_HELLO_DONE);
        }
    }

    fn change_cipher_spec(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let tls13 = match (self.choice, self.offer) {
            (Some(choice), _) => choice.tls13,
            (None, Some(offer)) => offer.tls13,
            (None, None) => false,
        };
        if tls13 {
            return;
        }
        let end = self.ends.of_mut(dir);
        end.changed = true;
        end.protected = true;
        let other = self.ends.of(dir.flip());
        let read = other.changed || other.fresh;
        if self.client == Some(dir.flip()) && !self.full && !other.changed {
            events.attribute(at, dir, "tls.resumed", "true");
        }
        // Both have changed, or only one end was captured: the handshake is read. In a full one the server is the last,
        // and the client's data waits for its Finished, but for a false start (RFC 7918), which ends the reading before.
        let full = self.full && self.offer.is_some() && self.choice.is_some();
        if read && full && self.client == Some(dir.flip()) && self.ends.of(dir.flip()).changed {
            self.stay(After::Finished, at, dir, events);
        } else if read {
            self.settle(at, dir, events);
        }
    }

    /// In an abbreviated handshake the client's ChangeCipherSpec waits for the server's Finished.
    fn protected_handshake(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let Some(client) = self.client.filter(|client| *client != dir) else {
            return;
        };
        if self.after == After::Finished {
            self.after = After::FirstData;
            return events.ask(at, dir, Layer::Tls, FIRST_DATA);
        }
        let waiting = !self.full && !self.ends.of(client).changed && !self.asked.server_finished;
        if self.choice.is_some() && self.offer.is_some() && waiting {
            self.asked.server_finished = true;
            events.ask(at, dir, Layer::Tls, SERVER_FINISHED);
        }
    }

    /// Encrypted records end what is to be read, unless they are early data or the server's flight.
    fn opaque(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let server = self.client == Some(dir.flip());
        match self.after {
            After::Settings if server => {
                self.after = After::SettingsAck(SETTINGS_ACK_RECORDS);
                return events.ask(at, dir, Layer::Tls, SETTINGS_ACK);
            }
            After::Settings | After::SettingsAck(_) => return,
            After::FirstData if server => return,
            After::Nothing | After::Finished | After::FirstData => {}
        }
        let read = match (self.choice, self.offer) {
            // The client's Finished, after which its program's first data may come at once.
            (Some(Choice { tls13: true }), Some(offer)) if offer.http2 && !offer.early_data && !server => {
                return self.stay(After::Settings, at, dir, events);
            }
            (Some(Choice { tls13: true }), Some(_)) => self.client == Some(dir),
            (None, Some(offer)) => !offer.early_data,
            _ => true,
        };
        if read {
            self.settle(at, dir, events);
        }
    }

    fn alert(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        let [.., high, low] = end.header;
        let said = end.clear.bytes().last_chunk::<2>().copied().filter(|_| [high, low] == [0, 2]);
        // Content of an alert may not be split, but a message before it may be left unfinished.
        end.clear = Inbox::new(INBOX_LIMIT);
        match said {
            // A warning other than close_notify (unrecognized_name, say) changes nothing.
            Some([1, description]) if description != 0 => {}
            _ => self.settle(at, dir, events),
        }
    }

    fn ssl2(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let end = self.ends.of_mut(dir);
        let message = std::mem::replace(&mut end.clear, Inbox::new(INBOX_LIMIT));
        let first = message.time_of(0);
        if is_ssl2_client_hello(message.bytes()) && self.client.is_none() {
            self.client = Some(dir);
            self.offer = Some(Offer { tls13: false, early_data: false, http2: false });
            self.asked.client_hello = true;
            events.ask(at, dir, Layer::Tls, CLIENT_HELLO);
        } else if let Some(hello) = Ssl2ServerHello::parse(message.bytes())
            && self.client != Some(dir)
        {
            if std::mem::take(&mut self.asked.client_hello) {
                events.answer(first, dir, Layer::Tls, CLIENT_HELLO);
            }
            self.confirm(at, dir, events);
            events.attribute(at, dir, "tls.version", version_name(hello.version));
            events.attribute(at, dir, "tls.resumed", if hello.resumed { "true" } else { "false" });
            server_certificate_attributes(hello.certificate, at, dir, events);
            self.settle(at, dir, events);
        } else {
            self.fault(at, dir, "tls.sslv2-hello-malformed", events);
        }
    }
}

fn server_certificate_attributes(der: &[u8], at: Timestamp, dir: Direction, events: &mut Events) {
    let Some(names) = CertificateNames::parse(der) else {
        return;
    };
    if is_link_certificate(&names.subject, &names.issuer) {
        events.attribute(at, dir, "tor.certificate", "made-up-names");
    }
    events.attribute(at, dir, "tls.cert_subject", names.subject);
    events.attribute(at, dir, "tls.cert_issuer", names.issuer);
    if !names.alternative.is_empty() {
        events.attribute(at, dir, "tls.cert_san", names.alternative);
    }
    if !names.other_usage.is_empty() {
        events.attribute(at, dir, "tls.cert_eku", names.other_usage);
    }
}

/// The first certificate of a Certificate message before TLS 1.3.
fn leaf(body: &[u8]) -> Option<&[u8]> {
    let mut list = crate::base::Reader::new(body).block_u24()?;
    list.block_u24().map(|certificate| certificate.rest())
}

/// Length of the handshake message that starts here, header included, once its header has come.
fn message_len(bytes: &[u8]) -> Option<usize> {
    let [_, high, mid, low] = *bytes.first_chunk::<MESSAGE_HEADER>()?;
    usize::try_from(u32::from_be_bytes([0, high, mid, low])).ok().map(|len| len + MESSAGE_HEADER)
}

const MESSAGE_HEADER: usize = 4;
/// The longest message kept. Certificate chains are seldom above 10 KiB; a longer message is passed over.
const MESSAGE_LIMIT: usize = 65_536 + MESSAGE_HEADER;
/// Room for a message all but complete and the record that completes it.
const INBOX_LIMIT: usize = MESSAGE_LIMIT + MAX_RECORD as usize;
/// Records after which a handshake that has not ended is left: early data, or a peer that plays for time.
const RECORD_LIMIT: u16 = 512;

const CLIENT_HELLO: &str = "client-hello";
const HELLO_RETRY: &str = "hello-retry";
const SERVER_HELLO_DONE: &str = "server-hello-done";
const SERVER_FINISHED: &str = "server-finished";
const SERVER_FLIGHT: &str = "server-flight";
const FIRST_DATA: &str = "first-data";
const SETTINGS_ACK: &str = "settings-ack";
/// An HTTP/2 frame without content in a TLS 1.3 record: its header of 9 bytes (RFC 9113 4.1), the content type, and the
/// tag of 16 bytes that all its suites in use have. Of frames only the acknowledgment of SETTINGS and an empty DATA
/// are so short, and a client sends the first at once.
const SETTINGS_ACK_LEN: u16 = 9 + 1 + 16;
/// Records of the client among which the acknowledgment is looked for.
const SETTINGS_ACK_RECORDS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testkit::{Turn, at, loops, said, stream};
    use crate::protocol::{Event, EventKind, testkit};
    use Direction::{Orig, Resp};
    use proptest::prelude::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 3, 3];
        out.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend_from_slice(content);
        out
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0];
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn client_hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend_from_slice(extensions);
        message(1, &body)
    }

    fn server_hello(random: [u8; 32], suite: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend(random);
        body.push(0);
        body.extend(suite);
        body.push(0);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend_from_slice(extensions);
        message(2, &body)
    }

    const SNI: [u8; 20] =
        [0, 0, 0, 16, 0, 14, 0, 0, 11, b'e', b'x', b'a', b'm', b'p', b'l', b'e', b'.', b'o', b'r', b'g'];
    const OFFERS_13: [u8; 7] = [0, 43, 0, 3, 2, 3, 4];
    const CHOOSES_13: [u8; 6] = [0, 43, 0, 2, 3, 4];
    const EARLY_DATA: [u8; 4] = [0, 42, 0, 0];
    const ECDHE: [u8; 2] = [0xc0, 0x2f];
    const AES_128_GCM: [u8; 2] = [0x13, 0x01];

    fn retry_random() -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, b"HelloRetryRequest").as_ref().try_into().unwrap()
    }

    fn ccs() -> Vec<u8> {
        record(content::CHANGE_CIPHER_SPEC, &[1])
    }

    fn hidden(kind: u8, len: usize) -> Vec<u8> {
        record(kind, &vec![0xee; len])
    }

    fn turns(dialogue: &[(Direction, Vec<u8>)]) -> Vec<Turn<'_>> {
        dialogue.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect()
    }

    fn run(dialogue: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        stream(&PROTOCOL, &turns(dialogue), usize::MAX)
    }

    fn has(events: &[Event], kind: &EventKind) -> bool {
        events.iter().any(|e| e.kind == *kind)
    }

    fn full_handshake() -> Vec<(Direction, Vec<u8>)> {
        let flight = [server_hello([9; 32], ECDHE, &[0, 16, 0, 5, 0, 3, 2, b'h', b'2']), message(14, &[])].concat();
        vec![
            (Orig, record(22, &client_hello(&SNI))),
            (Resp, record(22, &flight)),
            (Orig, [record(22, &message(16, &[5; 66])), ccs(), hidden(22, 40)].concat()),
            (Resp, [ccs(), hidden(22, 40)].concat()),
            (Orig, hidden(23, 100)),
        ]
    }

    #[test]
    fn a_full_handshake_gives_three_round_trips() {
        let events = run(&full_handshake());
        let wanted = [(at(0), at(1), CLIENT_HELLO), (at(1), at(2), SERVER_HELLO_DONE), (at(3), at(4), FIRST_DATA)];
        assert_eq!(loops(&events), wanted);
        assert!(has(&events, &EventKind::Confirmed));
        assert_eq!(said(&events, "tls.version"), Some("TLSv1.2"));
        assert_eq!(said(&events, "tls.sni"), Some("example.org"));
        assert_eq!(said(&events, "tls.alpn"), Some("h2"));
        assert_eq!(said(&events, "tls.resumed"), Some("false"));
        assert_eq!(events.last().map(|e| (e.at, &e.kind)), Some((at(4), &EventKind::Settled)));
    }

    #[test]
    fn a_false_start_waits_for_nothing() {
        let mut dialogue = full_handshake();
        dialogue[2].1.extend(hidden(23, 100));
        assert_eq!(loops(&run(&dialogue)).len(), 2);
        // Between the server's ChangeCipherSpec and its Finished.
        let mut dialogue = full_handshake();
        dialogue[3].1 = ccs();
        dialogue.push((Resp, hidden(22, 40)));
        assert_eq!(loops(&run(&dialogue)).len(), 2);
        // A server that speaks first only makes the loop longer.
        let mut dialogue = full_handshake();
        dialogue.insert(4, (Resp, hidden(23, 60)));
        assert_eq!(loops(&run(&dialogue)).last(), Some(&(at(3), at(5), FIRST_DATA)));
    }

    const OFFERS_H2: [u8; 9] = [0, 16, 0, 5, 0, 3, 2, b'h', b'2'];

    /// A TLS 1.3 handshake, the client's first request with its Finished, then these records.
    fn http2(extensions: &[u8], after: &[(Direction, u16)]) -> Vec<((Timestamp, Timestamp), &'static str)> {
        let mut dialogue = vec![
            (Orig, record(22, &client_hello(&[&OFFERS_13[..], extensions].concat()))),
            (Resp, [record(22, &server_hello([9; 32], AES_128_GCM, &CHOOSES_13)), ccs(), hidden(23, 900)].concat()),
            (Orig, [ccs(), hidden(23, 53), hidden(23, 87), hidden(23, 480)].concat()),
        ];
        dialogue.extend(after.iter().map(|(dir, len)| (*dir, hidden(23, usize::from(*len)))));
        loops(&run(&dialogue)).into_iter().skip(2).map(|(from, to, method)| ((from, to), method)).collect()
    }

    #[test]
    fn acknowledged_settings_close_a_loop() {
        let after = [(Resp, 282), (Resp, 184), (Resp, 862), (Orig, 26)];
        assert_eq!(http2(&OFFERS_H2, &after), [((at(3), at(6)), SETTINGS_ACK)]);
        // Without HTTP/2 nothing has that length for a reason.
        assert_eq!(http2(&[], &after), []);
        assert_eq!(http2(&OFFERS_H2, &[(Resp, 282), (Orig, 59), (Orig, 58), (Orig, 61), (Orig, 26)]), []);
        assert_eq!(http2(&OFFERS_H2, &[(Orig, 26), (Resp, 282), (Orig, 142), (Orig, 97), (Orig, 97)]), []);
    }

    fn abbreviated_handshake() -> Vec<(Direction, Vec<u8>)> {
        vec![
            (Orig, record(22, &client_hello(&SNI))),
            (Resp, [record(22, &server_hello([9; 32], ECDHE, &[])), ccs(), hidden(22, 40)].concat()),
            (Orig, [ccs(), hidden(22, 40)].concat()),
        ]
    }

    #[test]
    fn an_abbreviated_handshake_is_timed_by_the_servers_finished() {
        let events = run(&abbreviated_handshake());
        assert_eq!(loops(&events), [(at(0), at(1), CLIENT_HELLO), (at(1), at(2), SERVER_FINISHED)]);
        assert_eq!(said(&events, "tls.resumed"), Some("true"));
    }

    fn retried_handshake() -> Vec<(Direction, Vec<u8>)> {
        let hello = record(22, &client_hello(&OFFERS_13));
        vec![
            (Orig, hello.clone()),
            (Resp, [record(22, &server_hello(retry_random(), AES_128_GCM, &CHOOSES_13)), ccs()].concat()),
            (Orig, [ccs(), hello].concat()),
            (Resp, [record(22, &server_hello([9; 32], AES_128_GCM, &CHOOSES_13)), hidden(23, 900)].concat()),
            (Resp, hidden(23, 60)),
            (Orig, hidden(23, 60)),
        ]
    }

    #[test]
    fn a_retried_tls13_handshake_gives_three_round_trips() {
        let events = run(&retried_handshake());
        let wanted = [(at(0), at(1), CLIENT_HELLO), (at(1), at(2), HELLO_RETRY), (at(3), at(5), SERVER_FLIGHT)];
        assert_eq!(loops(&events), wanted);
        assert_eq!(said(&events, "tls.hrr"), Some("true"));
        assert_eq!(said(&events, "tls.version"), Some("TLSv1.3"));
        assert_eq!(said(&events, "tls.resumed"), Some("false"));
        assert!(has(&events, &EventKind::Settled));
    }

    #[test]
    fn a_change_cipher_spec_after_the_server_hello_answers_it() {
        let events = run(&[
            (Orig, record(22, &client_hello(&OFFERS_13))),
            (Resp, [record(22, &server_hello([9; 32], AES_128_GCM, &CHOOSES_13)), ccs(), hidden(23, 900)].concat()),
            (Orig, ccs()),
            (Orig, hidden(23, 60)),
        ]);
        assert_eq!(loops(&events), [(at(0), at(1), CLIENT_HELLO), (at(1), at(2), SERVER_FLIGHT)]);
    }

    #[test]
    fn early_data_is_no_answer_to_anything() {
        let events = run(&[
            (Orig, record(22, &client_hello(&[&OFFERS_13[..], &EARLY_DATA].concat()))),
            (Orig, [ccs(), hidden(23, 300)].concat()),
            (Resp, [record(22, &server_hello([9; 32], AES_128_GCM, &CHOOSES_13)), hidden(23, 900)].concat()),
            (Orig, hidden(23, 60)),
        ]);
        assert_eq!(loops(&events), [(at(0), at(2), CLIENT_HELLO)]);
    }

    #[test]
    fn an_alert_answers_nothing_and_ends_it() {
        let dialogue = [
            (Orig, record(22, &client_hello(&SNI))),
            (Resp, record(22, &[server_hello([9; 32], ECDHE, &[]), message(14, &[])].concat())),
            (Orig, record(21, &[2, 48])),
        ];
        let events = run(&dialogue);
        assert_eq!(loops(&events), [(at(0), at(1), CLIENT_HELLO)]);
        assert_eq!(events.last().map(|e| &e.kind), Some(&EventKind::Settled));
        // A warning before the ServerHello does not.
        let events = run(&[dialogue[0].clone(), (Resp, [record(21, &[1, 112]), dialogue[1].1.clone()].concat())]);
        assert_eq!(loops(&events).len(), 1);
    }

    #[test]
    fn one_end_alone_gives_names_but_no_confirmation() {
        let server: Vec<_> = full_handshake().into_iter().filter(|(dir, _)| *dir == Resp).collect();
        let events = run(&server);
        assert!(said(&events, "tls.ja3s").is_some() && loops(&events).is_empty());
        assert!(!has(&events, &EventKind::Confirmed) && has(&events, &EventKind::Settled));
    }

    #[test]
    fn an_sslv2_hello_is_answered_in_records() {
        let mut hello = vec![0x80, 9 + 3 + 16, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 4];
        hello.extend([7; 16]);
        let mut dialogue = full_handshake();
        dialogue[0].1 = hello;
        let events = run(&dialogue);
        assert_eq!(loops(&events).len(), 3);
        assert!(has(&events, &EventKind::Confirmed));
        assert_eq!(testkit::probe(&PROTOCOL, Carrier::Stream, &dialogue[0].1, &[]), Probe::Match);
    }

    #[test]
    fn what_is_no_tls_is_taken_back() {
        let events = run(&[(Orig, record(22, &client_hello(&SNI))), (Resp, b"HTTP/1.1 400 Bad".to_vec())]);
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
        assert!(!has(&events, &EventKind::Confirmed));
        let hello = record(22, &client_hello(&SNI));
        assert_eq!(testkit::probe(&PROTOCOL, Carrier::Stream, &hello, b"HTTP/1.1"), Probe::NoMatch);
        assert_eq!(testkit::probe(&PROTOCOL, Carrier::Stream, &hello[..4], b""), Probe::NeedMore);
    }

    #[test]
    fn a_message_beyond_the_limit_is_passed_over() {
        let mut certificate = vec![11, 1, 0x20, 0];
        certificate.extend(vec![1; 0x1_2000]);
        let stream_bytes = [server_hello([9; 32], ECDHE, &[]), certificate, message(14, &[])].concat();
        let records: Vec<u8> = stream_bytes.chunks(16_384).flat_map(|part| record(22, part)).collect();
        let mut dialogue = full_handshake();
        dialogue[1].1 = records;
        let whole = run(&dialogue);
        assert_eq!(loops(&whole).len(), 3);
        assert_eq!(whole, stream(&PROTOCOL, &turns(&dialogue), 1_000));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1_usize..200, which in 0_usize..3) {
            let dialogue = [full_handshake, abbreviated_handshake, retried_handshake][which]();
            prop_assert_eq!(stream(&PROTOCOL, &turns(&dialogue), piece), run(&dialogue));
        }

        #[test]
        fn any_cut_into_records_gives_the_same_loops(size in 1_usize..50) {
            let mut dialogue = full_handshake();
            let wanted = loops(&run(&dialogue));
            for (_, bytes) in dialogue.iter_mut().take(2) {
                *bytes = bytes[5..].chunks(size).flat_map(|part| record(22, part)).collect();
            }
            prop_assert_eq!(loops(&run(&dialogue)), wanted);
        }

        #[test]
        fn damaged_bytes_never_panic(
            which in 0_usize..3,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            piece in 1_usize..300,
        ) {
            let mut dialogue = [full_handshake, abbreviated_handshake, retried_handshake][which]();
            for (place, value) in damage {
                let turn = place.index(dialogue.len());
                let at = place.index(dialogue[turn].1.len());
                dialogue[turn].1[at] = value;
            }
            let _ = stream(&PROTOCOL, &turns(&dialogue), piece);
        }

        #[test]
        fn random_bytes_never_panic(a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = stream(&PROTOCOL, &[(Orig, &a), (Resp, &b), (Orig, &b)], 7);
            let _ = testkit::probe(&PROTOCOL, Carrier::Stream, &a, &b);
        }
    }
}
