//! IKE, versions 1 and 2, over UDP, behind NAT with ESP beside it, and over TCP: who sets a tunnel up, with what, and the
//! round trips of its exchanges.
//!
//! Reads: headers of all messages; of those in clear the security associations, vendor ids, notifications and IKEv1's
//! identities. Emits: what was offered and chosen, who made the ends where they say so, the closed loops of the
//! exchanges, also where the first goes on at another port. Does not: decrypt, put fragments together, or follow a peer
//! to another address.
//!
//! Stays attached for the whole flow, since rekeys and liveness checks give more round trips. ESP in between costs one
//! look at its first four bytes.
//!
//! Reference: RFC 2408, 2409 (IKEv1), RFC 7296 (IKEv2), RFC 3947, 3948 (UDP encapsulation), RFC 9329 (TCP).

use crate::base::{Direction, Ends, IdentityKind, Layer, Link, Loop, Reader, Timestamp, Whereabouts};
use crate::protocol::codec::isakmp::{Algorithms, Header, Message, exchange, identity_v1, notification, payload};
use crate::protocol::codec::{Inbox, isakmp_names as names};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static IKE: Protocol = Protocol {
    name: "ike",
    category: Category::Vpn,
    carriers: &[Carrier::Datagram, Carrier::Stream],
    ports: &[500, 4500],
    attributes: &[
        VERSION,
        EXCHANGE,
        ENCAPSULATION,
        ESP,
        RETRY,
        OFFERED,
        CHOSEN,
        INITIATOR_VENDORS,
        RESPONDER_VENDORS,
        INITIATOR_NOTIFIES,
        RESPONDER_NOTIFIES,
        IDENTITY,
        RESPONDER_IDENTITY,
    ],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Ike::default()),
};

const VERSION: Key = "ike.version";
const EXCHANGE: Key = "ike.exchange";
const ENCAPSULATION: Key = "ike.encapsulation";
const ESP: Key = "ike.esp";
const RETRY: Key = "ike.retry";
const OFFERED: Key = "ike.offered";
const CHOSEN: Key = "ike.chosen";
const INITIATOR_VENDORS: Key = "ike.initiator_vendors";
const RESPONDER_VENDORS: Key = "ike.responder_vendors";
const INITIATOR_NOTIFIES: Key = "ike.initiator_notifies";
const RESPONDER_NOTIFIES: Key = "ike.responder_notifies";
const IDENTITY: Key = "ike.identity";
const RESPONDER_IDENTITY: Key = "ike.responder_identity";

/// All flows of IPsec between two addresses are one session.
const IPSEC: Link = Link::Pair("ike");
/// Stands where ESP has its SPI (RFC 3948 2.2), in datagrams and in TCP's frames.
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// How a stream begins (RFC 9329 4).
const STREAM_PREFIX: &[u8] = b"IKETCP";
/// Requests that wait for their responses; the window is one message unless both ends agree on more.
const OPEN: usize = 4;
/// A frame of a stream: its length counts itself.
const FRAME_LIMIT: usize = 65_535;
const EMPTY_FRAME: [u8; 2] = [0, 2];
/// The first exchange's response and the request that follows it.
const AUTH: &str = "auth";
const AUTH_LOOP: Loop = Loop { layer: Layer::Ike, method: AUTH };
/// Words of vendor ids or notifications that are told.
const WORDS: usize = 24;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.carrier == Carrier::Stream {
        return probe_stream(opening.sent.orig, opening.sent.resp);
    }
    match Message::read(without_marker(opening.sent.of(opening.newest)).0) {
        Some(_) => Probe::Match,
        None => Probe::NoMatch,
    }
}

/// The originator begins with the prefix, the responder with a frame of IKE.
fn probe_stream(orig: &[u8], resp: &[u8]) -> Probe {
    let head = orig.get(..STREAM_PREFIX.len()).unwrap_or(orig);
    let framed = resp.iter().skip(2).zip(NON_ESP_MARKER).all(|(byte, marker)| *byte == marker);
    match framed && STREAM_PREFIX.starts_with(head) {
        true if head.len() == STREAM_PREFIX.len() => Probe::Match,
        true => Probe::NeedMore,
        false => Probe::NoMatch,
    }
}

/// The message in a datagram, and whether it had the marker before it.
fn without_marker(bytes: &[u8]) -> (&[u8], bool) {
    bytes.strip_prefix(&NON_ESP_MARKER).map_or((bytes, false), |message| (message, true))
}

/// IKEv2: a request without its response.
#[derive(Debug, Clone, Copy)]
struct Asked {
    dir: Direction,
    initiator: u64,
    exchange: u8,
    id: u32,
    at: Timestamp,
    repeated: bool,
}

impl Asked {
    fn is_of(&self, dir: Direction, header: &Header) -> bool {
        let Header { initiator, exchange, message_id, .. } = *header;
        (self.dir, self.initiator, self.exchange, self.id) == (dir, initiator, exchange, message_id)
    }
}

/// IKEv2: the first exchange's response, which the initiator's next request answers.
#[derive(Debug, Clone, Copy)]
struct Answered {
    dir: Direction,
    at: Timestamp,
    /// It asks for the same again, with a cookie or another group.
    retry: bool,
    responder: u64,
    repeated: bool,
}

/// IKEv1: the newest message of the exchange, which the other end's next one answers.
#[derive(Debug, Clone, Copy)]
struct Turn {
    dir: Direction,
    exchange: u8,
    id: u32,
    at: Timestamp,
    repeated: bool,
}

#[derive(Debug)]
struct Ike {
    frames: Ends<Frames>,
    /// The original initiator's end, once known.
    initiator: Option<Direction>,
    /// SPIs or cookies of the newest message of each end.
    spis: Ends<Option<(u64, u64)>>,
    /// Hash of the newest message of each end, to tell a retransmission.
    newest: Ends<u64>,
    /// IKEv2: SPI and number of the newest request of each end.
    requests: Ends<Option<(u64, u32)>>,
    asked: [Option<Asked>; OPEN],
    answered: Option<Answered>,
    turn: Option<Turn>,
    /// Whose clear payloads have been told.
    told: Ends<bool>,
    /// The program that the initiator gives away.
    program: Option<&'static str>,
    begun: bool,
    confirmed: bool,
    esp_told: bool,
    /// Messages have the marker.
    marked: bool,
    done: bool,
}

impl Default for Ike {
    fn default() -> Self {
        Self {
            frames: Ends { orig: Frames::new(true), resp: Frames::new(false) },
            initiator: None,
            spis: Ends::default(),
            newest: Ends::default(),
            requests: Ends::default(),
            asked: [None; OPEN],
            answered: None,
            turn: None,
            told: Ends::default(),
            program: None,
            begun: false,
            confirmed: false,
            esp_told: false,
            marked: false,
            done: false,
        }
    }
}

impl Analyzer for Ike {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Stream {
            self.on_stream(pdu, events);
            return;
        }
        let (bytes, marked) = without_marker(pdu.bytes);
        if !marked && self.marked {
            // ESP, or the one byte that keeps a NAT's door open (RFC 3948 2.3).
            if !self.esp_told && bytes.len() >= 8 {
                self.on_esp(pdu.at, pdu.dir, "in-udp", events);
            }
            return;
        }
        match Message::read(bytes) {
            Some(message) => {
                let encapsulation = if marked { Some("udp") } else { None };
                self.on_message(pdu.dir, (pdu.at, pdu.at), &message, encapsulation, events);
            }
            None if !self.begun => self.give_up(pdu.at, pdu.dir, events),
            None => {}
        }
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if let Some(program) = self.program.take() {
            events.application(at, Direction::Orig, program);
        }
    }
}

impl Ike {
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let mut frames = std::mem::replace(self.frames.of_mut(pdu.dir), Frames::new(false));
        frames.push(pdu.at, pdu.bytes);
        while let Some(frame) = frames.next() {
            match frame {
                Frame::Ike(first, last, bytes) => match Message::read(&bytes) {
                    Some(message) => self.on_message(pdu.dir, (first, last), &message, Some("tcp"), events),
                    None => self.give_up(last, pdu.dir, events),
                },
                Frame::Esp(at) if !self.esp_told => self.on_esp(at, pdu.dir, "in-tcp", events),
                Frame::Esp(_) => {}
                Frame::Broken => self.give_up(pdu.at, pdu.dir, events),
            }
            if self.done {
                return;
            }
        }
        *self.frames.of_mut(pdu.dir) = frames;
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        events.violation(at, dir, "ike.not-a-message");
        self.done = true;
        events.settled(at, dir);
    }

    fn on_esp(&mut self, at: Timestamp, dir: Direction, how: &'static str, events: &mut Events) {
        self.esp_told = true;
        events.attribute(at, dir, ESP, how);
    }

    /// `span` is when the message's first and last byte passed.
    fn on_message(
        &mut self,
        dir: Direction,
        span: (Timestamp, Timestamp),
        message: &Message<'_>,
        encapsulation: Option<&'static str>,
        events: &mut Events,
    ) {
        let header = &message.header;
        let at = span.1;
        if !std::mem::replace(&mut self.begun, true) {
            events.link(at, dir, IPSEC);
            events.attribute(at, dir, VERSION, if header.version == 1 { "1.0" } else { "2.0" });
            events.attribute(at, dir, EXCHANGE, names::exchange(header.exchange));
        }
        if let Some(how) = encapsulation
            && !std::mem::replace(&mut self.marked, true)
        {
            events.attribute(at, dir, ENCAPSULATION, how);
        }
        let hash = fnv(message);
        let again = *self.newest.of(dir) == hash;
        self.note_initiator(dir, header);
        self.confirm(dir, at, header, events);
        if header.is_clear() && !again {
            self.on_clear(dir, at, message, events);
        }
        match (header.version, header.is_response()) {
            (1, _) => self.on_turn(dir, span, header, again, events),
            (_, true) => self.on_response(dir, span, message, again, events),
            _ => self.on_request(dir, span, header, again, events),
        }
        *self.newest.of_mut(dir) = hash;
    }

    fn note_initiator(&mut self, dir: Direction, header: &Header) {
        if header.version == 2 {
            self.initiator = Some(if header.from_initiator() { dir } else { dir.flip() });
        } else if header.responder == 0 {
            self.initiator = self.initiator.or(Some(dir));
        }
    }

    /// Certain once both ends have used the same pair of SPIs, of which the responder can know the initiator's only from
    /// its message.
    fn confirm(&mut self, dir: Direction, at: Timestamp, header: &Header, events: &mut Events) {
        *self.spis.of_mut(dir) = Some((header.initiator, header.responder));
        if self.confirmed {
            return;
        }
        if let Some((initiator, responder)) = *self.spis.of(dir.flip())
            && initiator == header.initiator
            && (header.responder == responder || responder == 0)
            && (header.responder != 0 || header.is_response())
        {
            self.confirmed = true;
            events.confirmed(at, dir);
        }
    }

    /// What the first clear message of an end says.
    fn on_clear(&mut self, dir: Direction, at: Timestamp, message: &Message<'_>, events: &mut Events) {
        let is_initiator = self.initiator.unwrap_or(Direction::Orig) == dir;
        let said = Clear::read(message);
        if let Some(retry) = said.retry {
            events.attribute(at, dir, RETRY, retry);
            return;
        }
        if std::mem::replace(self.told.of_mut(dir), true) {
            return;
        }
        let keys = if is_initiator {
            [OFFERED, INITIATOR_VENDORS, INITIATOR_NOTIFIES, IDENTITY]
        } else {
            [CHOSEN, RESPONDER_VENDORS, RESPONDER_NOTIFIES, RESPONDER_IDENTITY]
        };
        for (key, value) in keys.into_iter().zip([said.algorithms, said.vendors, said.notifies, said.identity]) {
            if !value.is_empty() {
                events.attribute(at, dir, key, value);
            }
        }
        if is_initiator {
            if let Some((kind, name)) = said.claimed {
                events.claim(at, dir, Claim::new("ike", Whereabouts::End(dir), kind, name));
            }
            self.program = said.program;
        } else if let Some(program) = said.program.or(self.program) {
            self.program = None;
            events.application(at, dir, program);
        }
    }

    fn on_request(
        &mut self,
        dir: Direction,
        span: (Timestamp, Timestamp),
        header: &Header,
        again: bool,
        events: &mut Events,
    ) {
        if !self.close_answered(dir, span.0, header, again, events) && !again {
            self.close_elsewhere(dir, span.0, header, events);
        }
        if let Some(open) = self.asked.iter_mut().flatten().find(|asked| asked.is_of(dir, header)) {
            open.repeated = true;
            return;
        }
        // A request that was answered and comes again must not be timed from here: an earlier copy's response may be
        // under way. Only the first exchange has two requests of one number.
        let number = (header.initiator, header.message_id);
        let known = self.requests.of(dir).is_some_and(|(spi, id)| spi == number.0 && id >= number.1);
        if again || (known && header.exchange != exchange::SA_INIT) {
            return;
        }
        *self.requests.of_mut(dir) = Some(number);
        self.asked.rotate_left(1);
        if let Some(newest) = self.asked.last_mut() {
            let Header { initiator, exchange, message_id, .. } = *header;
            *newest = Some(Asked { dir, initiator, exchange, id: message_id, at: span.1, repeated: false });
        }
    }

    /// The initiator's next request can only be written once the first exchange's response is there: it needs the
    /// responder's SPI and public key, or the cookie. Says whether it is that request.
    fn close_answered(
        &mut self,
        dir: Direction,
        at: Timestamp,
        header: &Header,
        again: bool,
        events: &mut Events,
    ) -> bool {
        let Some(open) = self.answered.filter(|open| open.dir == dir.flip()) else { return false };
        let method = match header.exchange {
            exchange::SA_INIT if open.retry && !again => "sa-init-retry",
            exchange::AUTH | exchange::INTERMEDIATE if !open.retry && header.responder == open.responder => AUTH,
            _ => return false,
        };
        self.answered = None;
        tell_loop(open.dir, (open.at, at), method, open.repeated, events);
        true
    }

    /// Behind a NAT the second request goes to port 4500, which is another flow (RFC 7296 2.23). Both SPIs in it can
    /// only come from the response on the first.
    fn close_elsewhere(&self, dir: Direction, at: Timestamp, header: &Header, events: &mut Events) {
        let second = matches!(header.exchange, exchange::AUTH | exchange::INTERMEDIATE) && header.message_id == 1;
        if second && self.requests.of(dir).is_none() {
            events.answer_across(at, dir, AUTH_LOOP, token(header));
        }
    }

    fn on_response(
        &mut self,
        dir: Direction,
        span: (Timestamp, Timestamp),
        message: &Message<'_>,
        again: bool,
        events: &mut Events,
    ) {
        let header = &message.header;
        let fits = |asked: &Asked| asked.is_of(dir.flip(), header);
        let place = self.asked.iter_mut().find(|slot| slot.as_ref().is_some_and(fits));
        let Some(asked) = place.and_then(Option::take) else {
            if let Some(open) = self.answered.as_mut().filter(|open| again && open.dir == dir) {
                open.repeated = true;
                events.ask_across(span.1, dir, AUTH_LOOP, token(header));
            }
            return;
        };
        let method = match header.exchange {
            exchange::SA_INIT => "sa-init",
            exchange::CREATE_CHILD_SA => "create-child-sa",
            exchange::INFORMATIONAL => "informational",
            // Its answer may wait for a RADIUS server, or for somebody who types.
            _ => return,
        };
        tell_loop(asked.dir, (asked.at, span.0), method, asked.repeated, events);
        if header.exchange == exchange::SA_INIT {
            let retry = Clear::read(message).retry.is_some();
            if !retry {
                events.ask_across(span.1, dir, AUTH_LOOP, token(header));
            }
            self.answered = Some(Answered { dir, at: span.1, retry, responder: header.responder, repeated: false });
        }
    }

    /// IKEv1's ends take turns within an exchange.
    fn on_turn(
        &mut self,
        dir: Direction,
        span: (Timestamp, Timestamp),
        header: &Header,
        again: bool,
        events: &mut Events,
    ) {
        let method = match header.exchange {
            exchange::MAIN => "main-mode",
            exchange::AGGRESSIVE => "aggressive-mode",
            exchange::QUICK => "quick-mode",
            _ => return,
        };
        // Of a message in fragments nobody knows which copy was answered.
        if header.first == payload::FRAGMENT_V1 {
            self.turn = None;
            return;
        }
        let (exchange, id) = (header.exchange, header.message_id);
        let open = self.turn.filter(|turn| turn.exchange == exchange && turn.id == id);
        match open {
            Some(turn) if again => self.turn = Some(Turn { repeated: true, ..turn }),
            Some(turn) if turn.dir == dir => {}
            _ if again => {}
            _ => {
                if let Some(turn) = open {
                    tell_loop(turn.dir, (turn.at, span.0), method, turn.repeated, events);
                }
                self.turn = Some(Turn { dir, exchange, id, at: span.1, repeated: false });
            }
        }
    }
}

/// What only the two ends of one IKE association can both know: their SPIs, 64 random bits each.
const fn token(header: &Header) -> u64 {
    header.initiator ^ header.responder.rotate_left(32)
}

/// Question and answer of a loop; a question sent twice is told twice, so that its sample counts as ambiguous.
fn tell_loop(
    asking: Direction,
    (asked, answered): (Timestamp, Timestamp),
    method: &'static str,
    repeated: bool,
    events: &mut Events,
) {
    events.ask(asked, asking, Layer::Ike, method);
    if repeated {
        events.ask(asked, asking, Layer::Ike, method);
    }
    events.answer(answered, asking.flip(), Layer::Ike, method);
}

/// What tells one message of an end from the next: FNV-1a over its ids and the head of its body.
fn fnv(message: &Message<'_>) -> u64 {
    let header = &message.header;
    let seed = 0xcbf2_9ce4_8422_2325 ^ header.responder ^ u64::from(header.length) << 32 ^ u64::from(header.message_id);
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = message.body().iter().take(512).fold(step(seed, &header.exchange), step);
    if hash == 0 { 1 } else { hash }
}

/// What a message says in clear, as text.
#[derive(Debug, Default)]
struct Clear {
    algorithms: String,
    vendors: String,
    notifies: String,
    identity: String,
    /// The identity, where it is a name of a person or a machine.
    claimed: Option<(IdentityKind, String)>,
    program: Option<&'static str>,
    /// It only asks to try again.
    retry: Option<&'static str>,
}

impl Clear {
    fn read(message: &Message<'_>) -> Self {
        let mut said = Self::default();
        let (mut vendors, mut notifies) = (Vec::new(), Vec::new());
        let version = message.header.version;
        for part in message.payloads() {
            match part.kind {
                payload::SA | payload::SA_V1 if said.algorithms.is_empty() => {
                    said.algorithms = Algorithms::read(version, part.body).text();
                }
                payload::VENDOR | payload::VENDOR_V1 => {
                    let (name, program) = names::vendor(part.body);
                    said.program = said.program.or(program);
                    vendors.push(name);
                }
                payload::NOTIFY | payload::NOTIFY_V1 => {
                    let Some(kind) = notification(version, part.body) else { continue };
                    said.retry = match kind {
                        names::COOKIE if message.header.is_response() => Some("cookie"),
                        names::INVALID_KE_PAYLOAD if version == 2 => Some("invalid-ke-payload"),
                        _ => said.retry,
                    };
                    notifies.push(names::notification(version, kind));
                }
                payload::ID_V1 if version == 1 => {
                    said.identity = identity_v1(part.body).unwrap_or_default();
                    let kind = part.body.first().and_then(|kind| identity_kind(*kind));
                    said.claimed = kind.filter(|_| !said.identity.is_empty()).map(|kind| (kind, said.identity.clone()));
                }
                _ => {}
            }
        }
        said.vendors = words(vendors);
        said.notifies = words(notifies);
        said
    }
}

/// What an identity names: ID_FQDN a machine, ID_USER_FQDN a person (RFC 2407, 4.6.2). An address names nobody, and a
/// key identifier is a group's on the gateways that ask for one.
const fn identity_kind(kind: u8) -> Option<IdentityKind> {
    match kind {
        2 => Some(IdentityKind::Host),
        3 => Some(IdentityKind::User),
        _ => None,
    }
}

/// Each word once, with commas between.
fn words(all: Vec<String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for word in all {
        if once.len() < WORDS && !word.is_empty() && !once.contains(&word) {
            once.push(word);
        }
    }
    once.join(",")
}

/// The frames of one end of a stream: of ESP only the beginning is looked at.
#[derive(Debug)]
struct Frames {
    inbox: Inbox,
    /// Bytes of the prefix that are still to come.
    prefix: usize,
    /// Bytes of an ESP frame that are still to come.
    skip: usize,
    broken: bool,
}

enum Frame {
    /// When its first and last byte passed, and the message.
    Ike(Timestamp, Timestamp, Vec<u8>),
    Esp(Timestamp),
    Broken,
}

impl Frames {
    const fn new(has_prefix: bool) -> Self {
        let prefix = if has_prefix { STREAM_PREFIX.len() } else { 0 };
        Self { inbox: Inbox::new(2 * FRAME_LIMIT), prefix, skip: 0, broken: false }
    }

    fn push(&mut self, at: Timestamp, bytes: &[u8]) {
        let passed = bytes.len().min(self.skip);
        self.skip -= passed;
        self.broken |= !self.inbox.push(at, bytes.get(passed..).unwrap_or_default());
    }

    fn next(&mut self) -> Option<Frame> {
        if self.broken {
            return Some(Frame::Broken);
        }
        let gone = self.inbox.bytes().len().min(self.prefix);
        self.prefix -= gone;
        self.inbox.consume(gone);
        // Empty frames keep the connection alive.
        let empty = self.inbox.bytes().chunks_exact(2).take_while(|pair| *pair == EMPTY_FRAME).count();
        self.inbox.consume(empty * EMPTY_FRAME.len());
        let mut reader = Reader::new(self.inbox.bytes());
        let length = usize::from(reader.u16()?);
        let marker = reader.array::<4>()?;
        let Some(content) = length.checked_sub(6) else { return Some(Frame::Broken) };
        let first = self.inbox.time_of(0);
        if marker != NON_ESP_MARKER {
            let here = self.inbox.bytes().len().min(length);
            self.skip = length - here;
            self.inbox.consume(here);
            return Some(Frame::Esp(first));
        }
        let message = reader.take(content)?.to_vec();
        let last = self.inbox.time_of(length - 1);
        self.inbox.consume(length);
        Some(Frame::Ike(first, last, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::codec::isakmp::tests::{PROPOSAL, PROPOSAL_V1, message};
    use crate::protocol::testkit::{self, Turn, at, loops, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const I: u64 = 0x1111_2222_3333_4444;
    const R: u64 = 0x5555_6666_7777_8888;
    /// Flags: request of the initiator, its response; request of the responder, its response; not encrypted yet.
    const ASK: u8 = 0x08;
    const TELL: u8 = 0x20;
    const ASK_BACK: u8 = 0x00;
    const TELL_BACK: u8 = 0x28;

    fn sa_init(spis: (u64, u64), flags: u8, payloads: &[(u8, &[u8])]) -> Vec<u8> {
        message(spis, 2, [exchange::SA_INIT, flags], 0, payloads)
    }

    fn encrypted(kind: u8, flags: u8, id: u32, seed: u8) -> Vec<u8> {
        message((I, R), 2, [kind, flags], id, &[(payload::ENCRYPTED, &[seed; 60])])
    }

    fn version_1(spis: (u64, u64), kind: u8, payloads: &[(u8, &[u8])]) -> Vec<u8> {
        message(spis, 1, [kind, 0], 0, payloads)
    }

    fn turns(all: &[(Direction, Vec<u8>)]) -> Vec<Turn<'_>> {
        all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect()
    }

    fn run(all: &[(Direction, Vec<u8>)]) -> Vec<Event> {
        testkit::datagrams(&IKE, &turns(all))
    }

    fn timed(events: &[Event]) -> Vec<(usize, usize, &'static str)> {
        let ms = |t: Timestamp| usize::try_from(t.nanos() / 1_000_000).unwrap();
        loops(events).into_iter().map(|(a, b, method)| (ms(a), ms(b), method)).collect()
    }

    fn confirmations(events: &[Event]) -> usize {
        events.iter().filter(|e| e.kind == EventKind::Confirmed).count()
    }

    fn handshake() -> Vec<(Direction, Vec<u8>)> {
        let detection = [&[0, 0, 0x40, 0x04][..], &[9; 20]].concat();
        let ask = [(33, PROPOSAL), (40, &[7; 32]), (41, &detection), (43, &b"CISCO-DELETE-REASON"[..])];
        vec![
            (Orig, sa_init((I, 0), ASK, &ask)),
            (Resp, sa_init((I, R), TELL, &[(33, PROPOSAL), (40, &[8; 32])])),
            (Orig, encrypted(exchange::AUTH, ASK, 1, 1)),
            (Resp, encrypted(exchange::AUTH, TELL, 1, 2)),
        ]
    }

    #[test]
    fn the_first_exchange_closes_a_loop_to_each_end() {
        let events = run(&handshake());
        assert_eq!(timed(&events), [(0, 1, "sa-init"), (1, 2, "auth")]);
        assert_eq!(confirmations(&events), 1);
        assert_eq!(said(&events, VERSION), Some("2.0"));
        assert_eq!(said(&events, EXCHANGE), Some("sa-init"));
        assert_eq!(said(&events, INITIATOR_NOTIFIES), Some("nat-detection-source-ip"));
        assert_eq!(said(&events, INITIATOR_VENDORS), Some("cisco"));
        assert!(said(&events, CHOSEN).unwrap().starts_with("encryption=aes-cbc-256 prf="));
        assert!(events.iter().any(|e| e.kind == EventKind::Application("cisco")));
        assert!(events.iter().any(|e| e.kind == EventKind::Link(IPSEC)));
    }

    #[test]
    fn a_cookie_asks_for_the_same_again() {
        let cookie = [&[0, 0, 0x40, 0x06][..], &[9; 20]].concat();
        let mut all = handshake();
        all.insert(1, (Resp, sa_init((I, 0), TELL, &[(41, &cookie)])));
        all.insert(2, (Orig, sa_init((I, 0), ASK, &[(41, &cookie), (33, PROPOSAL), (40, &[7; 32])])));
        let events = run(&all);
        assert_eq!(timed(&events), [(0, 1, "sa-init"), (1, 2, "sa-init-retry"), (2, 3, "sa-init"), (3, 4, "auth")]);
        assert_eq!(said(&events, RETRY), Some("cookie"));
        assert!(said(&events, CHOSEN).is_some());
    }

    #[test]
    fn what_is_sent_again_makes_a_loop_ambiguous_or_none() {
        let mut all = handshake();
        all.insert(1, all[0].clone());
        all.insert(3, all[2].clone());
        let asks = |events: &[Event]| events.iter().filter(|e| matches!(e.kind, EventKind::Ask(_))).count();
        assert_eq!((asks(&run(&all)), loops(&run(&all)).len()), (4, 2));
        // A response that comes again answers nothing, nor does the request that it answers.
        let mut late = handshake();
        late.extend([(Orig, encrypted(exchange::INFORMATIONAL, ASK, 2, 3))]);
        late.extend([(Resp, encrypted(exchange::INFORMATIONAL, TELL, 2, 4)), late[4].clone()]);
        late.extend([late[5].clone()]);
        assert_eq!(timed(&run(&late))[2..], [(4, 5, "informational")]);
    }

    #[test]
    fn liveness_is_asked_from_either_end_and_beside_esp() {
        let marked = |bytes: Vec<u8>| [&NON_ESP_MARKER[..], &bytes].concat();
        let mut all: Vec<_> = handshake()[2..].iter().map(|(dir, bytes)| (*dir, marked(bytes.clone()))).collect();
        let esp = [&[0xc0, 0, 0, 1, 0, 0, 0, 1][..], &[5; 40]].concat();
        all.extend([(Orig, esp.clone()), (Resp, vec![0xff]), (Resp, esp)]);
        all.push((Resp, marked(encrypted(exchange::INFORMATIONAL, ASK_BACK, 0, 5))));
        all.push((Orig, marked(encrypted(exchange::INFORMATIONAL, TELL_BACK, 0, 6))));
        let events = run(&all);
        assert_eq!(timed(&events), [(5, 6, "informational")]);
        assert_eq!((said(&events, ESP), said(&events, ENCAPSULATION)), (Some("in-udp"), Some("udp")));
        assert_eq!(confirmations(&events), 1);
    }

    #[test]
    fn the_ends_of_main_mode_take_turns() {
        let id = 0x77;
        let quick = |seed: u8| message((I, R), 1, [exchange::QUICK, 1], id, &[(8, &[seed; 44])]);
        let mut all = vec![
            (Orig, version_1((I, 0), exchange::MAIN, &[(1, PROPOSAL_V1), (13, &[0x40, 0x48])])),
            (Resp, version_1((I, R), exchange::MAIN, &[(1, PROPOSAL_V1)])),
            (Orig, version_1((I, R), exchange::MAIN, &[(4, &[1; 128]), (10, &[2; 20])])),
            (Resp, version_1((I, R), exchange::MAIN, &[(4, &[3; 128]), (10, &[4; 20])])),
            (Orig, quick(1)),
            (Resp, quick(2)),
            (Orig, quick(3)),
        ];
        let events = run(&all);
        let (main, quick) = ("main-mode", "quick-mode");
        assert_eq!(timed(&events), [(0, 1, main), (1, 2, main), (2, 3, main), (4, 5, quick), (5, 6, quick)]);
        assert_eq!(said(&events, OFFERED), Some("encryption=3des integrity=md5 group=modp-1024 authentication=psk"));
        assert_eq!(said(&events, INITIATOR_VENDORS), Some("4048"));
        assert_eq!(confirmations(&events), 1);
        // The first answer comes again behind the second question: it answers nothing, and which question the next
        // answer belongs to stays clear.
        all.insert(3, all[1].clone());
        assert_eq!(timed(&run(&all))[2..3], [(2, 4, main)]);
    }

    #[test]
    fn aggressive_mode_says_who_asks() {
        let who = b"\x0b\x11\x01\xf4staff";
        let all = [
            (Orig, version_1((I, 0), exchange::AGGRESSIVE, &[(1, PROPOSAL_V1), (4, &[1; 128]), (5, who)])),
            (Resp, version_1((I, R), exchange::AGGRESSIVE, &[(1, PROPOSAL_V1), (5, &[1, 17, 1, 0xf4, 192, 0, 2, 9])])),
        ];
        let events = run(&all);
        assert_eq!((said(&events, IDENTITY), said(&events, RESPONDER_IDENTITY)), (Some("staff"), Some("192.0.2.9")));
        assert_eq!(said(&events, EXCHANGE), Some("aggressive-mode"));
    }

    #[test]
    fn a_responder_that_knows_another_cookie_confirms_nothing() {
        let all = [
            (Orig, version_1((I, 0), exchange::MAIN, &[(1, PROPOSAL_V1)])),
            (Resp, version_1((I + 1, R), exchange::MAIN, &[(1, PROPOSAL_V1)])),
        ];
        assert_eq!(confirmations(&run(&all)), 0);
    }

    #[test]
    fn look_alikes_do_not_match() {
        let probe = |bytes: &[u8]| testkit::probe(&IKE, Carrier::Datagram, bytes, b"");
        let good = handshake()[0].1.clone();
        assert_eq!(probe(&good), Probe::Match);
        assert_eq!(probe(&[&NON_ESP_MARKER[..], &good].concat()), Probe::Match);
        for bad in [&good[..27], &[&good[..], b"x"].concat(), &[0xff], &[0; 40], b"GET / HTTP/1.1\r\n\r\n 12345678"] {
            assert_eq!(probe(bad), Probe::NoMatch);
        }
        // A DNS answer and an RTP packet of some length.
        let mut dns = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01".to_vec();
        dns.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        assert_eq!(probe(&dns), Probe::NoMatch);
        let stream = |bytes: &[u8]| testkit::probe(&IKE, Carrier::Stream, bytes, b"");
        assert_eq!(
            (stream(b"IKE"), stream(b"IKETCP"), stream(b"IKEA")),
            (Probe::NeedMore, Probe::Match, Probe::NoMatch)
        );
    }

    fn framed() -> Vec<(Direction, Vec<u8>)> {
        let frame = |marker: &[u8], bytes: &[u8]| {
            let length = u16::try_from(2 + marker.len() + bytes.len()).unwrap();
            [&length.to_be_bytes()[..], marker, bytes].concat()
        };
        let mut all: Vec<_> =
            handshake().into_iter().map(|(dir, bytes)| (dir, frame(&NON_ESP_MARKER, &bytes))).collect();
        all[0].1.splice(0..0, STREAM_PREFIX.iter().copied());
        all.push((Orig, frame(&[0xc0, 0, 0, 1], &[7; 60])));
        all.push((Resp, [&EMPTY_FRAME[..], &EMPTY_FRAME, &frame(&[0xc0, 0, 0, 2], &[7; 60])].concat()));
        all.push((Orig, frame(&NON_ESP_MARKER, &encrypted(exchange::INFORMATIONAL, ASK, 2, 5))));
        all.push((Resp, frame(&NON_ESP_MARKER, &encrypted(exchange::INFORMATIONAL, TELL, 2, 6))));
        all
    }

    #[test]
    fn over_tcp_the_same_is_read() {
        let all = framed();
        let events = testkit::stream(&IKE, &turns(&all), usize::MAX);
        assert_eq!(timed(&events), [(0, 1, "sa-init"), (1, 2, "auth"), (6, 7, "informational")]);
        assert_eq!((said(&events, ESP), said(&events, ENCAPSULATION)), (Some("in-tcp"), Some("tcp")));
        assert_eq!(events.iter().find(|e| e.kind == EventKind::Confirmed).unwrap().at, at(1));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..90) {
            let all = framed();
            prop_assert_eq!(
                testkit::stream(&IKE, &turns(&all), piece),
                testkit::stream(&IKE, &turns(&all), usize::MAX)
            );
        }

        #[test]
        fn random_bytes_never_panic(all in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..12,
        )) {
            let random = |(orig, bytes): (bool, Vec<u8>)| (if orig { Orig } else { Resp }, bytes);
            let all: Vec<_> = handshake().into_iter().chain(all.into_iter().map(random)).collect();
            run(&all);
            run(&all[4..]);
            let mut stream = framed();
            stream.extend(all[4..].iter().cloned());
            testkit::stream(&IKE, &turns(&stream), 7);
        }
    }
}
