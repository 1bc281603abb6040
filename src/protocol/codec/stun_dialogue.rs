//! STUN between two ends: which request an answer belongs to, and what the attributes say.
//!
//! Reads: messages, those that TURN carries included. Emits: attributes, the link that joins the flows of one ICE
//! session, and the round trip of each answered transaction for as long as the call lasts. Does not:
//! name the flow, or allocate once everything has been said.
//!
//! An answer names its request by 96 random bits, so a loop is never guessed (RFC 8489 section 6.3.1). It errs upward
//! by the answering program's own time.

use super::ice::link_of;
use super::stun::{Class, Dialect, Message, attribute, method, plain_address};
use super::text::printable;
use crate::base::{Direction, Events, Key, Layer, Link, Reader, Timestamp};
use std::net::SocketAddr;

const SOFTWARE: Key = "stun.software";
const CLIENT_SOFTWARE: Key = "stun.client_software";
const USERNAME: Key = "stun.username";
const MAPPED: Key = "stun.mapped_address";
const CONTROLLING: Key = "stun.controlling";
const NOMINATED: Key = "stun.nominated";
const ERROR: Key = "stun.error";
const ORIGIN: Key = "stun.origin";
const DIALECT: Key = "stun.dialect";
const TURN_USERNAME: Key = "turn.username";
const REALM: Key = "turn.realm";
const RELAYED: Key = "turn.relayed_address";
const PEER: Key = "turn.peer_address";
const TRANSPORT: Key = "turn.requested_transport";

/// Transactions open at once; ICE paces its checks 50 ms apart (RFC 8445 section 14.2).
const OPEN: usize = 8;
/// Peers told.
const PEERS: usize = 4;
/// Longest text kept, in characters (RFC 8489 bounds most at 127 characters, a username at 508 bytes).
const TEXT: usize = 255;

/// A request without an answer.
#[derive(Debug, Clone, Copy)]
struct Request {
    transaction: [u8; 12],
    method: u16,
    dir: Direction,
    at: Timestamp,
    repeated: bool,
}

/// What is said once.
#[derive(Debug, Clone, Copy, Default)]
struct Told(u16);

impl Told {
    /// Whether this is said for the first time.
    const fn first(&mut self, what: u16) -> bool {
        let first = self.0 & what == 0;
        self.0 |= what;
        first
    }
}

/// Where a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the flow itself.
    Direct,
    /// Inside TURN, between the client and a peer of the relay.
    Relayed,
}

/// What a message showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    /// It answers a request that was seen, or refuses it.
    pub answered: bool,
    /// It is a connectivity check of ICE.
    pub ice: bool,
    /// Bytes of a peer, which TURN carries.
    pub carried: Option<&'a [u8]>,
    /// The program, where its own attributes tell it.
    pub program: Option<&'static str>,
}

/// Reads one flow's messages.
#[derive(Debug, Default)]
pub struct Dialogue {
    open: [Option<Request>; OPEN],
    told: Told,
    /// The client of TURN, once it has shown itself.
    turn_client: Option<Direction>,
    peers: [Option<SocketAddr>; PEERS],
    /// Hash of the newest pair of user fragments.
    pair: u64,
}

impl Dialogue {
    /// The next message.
    pub fn on_message<'a>(
        &mut self,
        at: Timestamp,
        dir: Direction,
        message: &Message<'a>,
        way: Way,
        events: &mut Events,
    ) -> Shown<'a> {
        let mut shown = Shown::default();
        if way == Way::Direct && message.is_turn() {
            self.turn_client = Some(turn_client(message, dir));
        }
        match message.class {
            Class::Request => self.on_request(at, dir, message),
            Class::Success | Class::Error => shown.answered = self.on_answer(at, dir, message, way, events),
            Class::Indication => {}
        }
        if message.dialect != Dialect::Current && self.told.first(told::DIALECT) {
            let name = if message.dialect == Dialect::Classic { "rfc3489" } else { "draft" };
            events.attribute(at, dir, DIALECT, name);
        }
        for (kind, value) in message.attributes() {
            self.on_attribute(at, dir, message, kind, value, way, events);
            shown.program = shown.program.or(program(message, kind, value));
            match kind {
                attribute::PRIORITY | attribute::ICE_CONTROLLED | attribute::ICE_CONTROLLING => shown.ice = true,
                attribute::DATA if matches!(message.method, method::SEND | method::DATA | method::REFRESH) => {
                    shown.carried = Some(value);
                }
                _ => {}
            }
        }
        shown
    }

    /// The client of TURN, once it has shown itself.
    #[must_use]
    pub const fn turn_client(&self) -> Option<Direction> {
        self.turn_client
    }

    /// The peers that were spoken to through the relay, for the end of the flow.
    pub fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        let peers: Vec<String> = self.peers.iter().flatten().map(SocketAddr::to_string).collect();
        if !peers.is_empty() {
            events.attribute(at, self.turn_client.unwrap_or(Direction::Orig), PEER, peers.join(","));
        }
    }

    fn on_request(&mut self, at: Timestamp, dir: Direction, message: &Message<'_>) {
        let transaction = message.transaction;
        let known = |r: &Request| r.transaction == transaction && r.dir == dir;
        if let Some(same) = self.open.iter_mut().flatten().find(|r| known(r)) {
            same.repeated = true;
            return;
        }
        self.open.rotate_right(1);
        if let Some(newest) = self.open.first_mut() {
            *newest = Some(Request { transaction, method: message.method, dir, at, repeated: false });
        }
    }

    fn on_answer(
        &mut self,
        at: Timestamp,
        dir: Direction,
        message: &Message<'_>,
        way: Way,
        events: &mut Events,
    ) -> bool {
        let fits =
            |r: &Request| r.transaction == message.transaction && r.dir == dir.flip() && r.method == message.method;
        let slot = self.open.iter_mut().find(|slot| slot.as_ref().is_some_and(fits));
        let Some(request) = slot.and_then(Option::take) else { return false };
        // What a peer behind the relay answers has made the way twice over.
        let through = way == Way::Relayed && self.turn_client != Some(dir);
        let method = if through { Some("binding-through-relay") } else { loop_name(message.method) };
        if let Some(method) = method
            && (way == Way::Direct || self.turn_client.is_some())
        {
            events.ask(request.at, request.dir, Layer::Stun, method);
            if request.repeated {
                events.ask(request.at, request.dir, Layer::Stun, method);
            }
            events.answer(at, dir, Layer::Stun, method);
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "a message, an attribute of it, and where both passed")]
    fn on_attribute(
        &mut self,
        at: Timestamp,
        dir: Direction,
        message: &Message<'_>,
        kind: u16,
        value: &[u8],
        way: Way,
        events: &mut Events,
    ) {
        let mut text = |told: &mut Told, bit, key| {
            if value.iter().any(|byte| *byte != 0) && told.first(bit) {
                events.attribute(at, dir, key, text_of(value));
            }
        };
        match kind {
            attribute::SOFTWARE if message.class == Class::Request || message.class == Class::Indication => {
                text(&mut self.told, told::CLIENT_SOFTWARE, CLIENT_SOFTWARE);
            }
            attribute::SOFTWARE => text(&mut self.told, told::SOFTWARE, SOFTWARE),
            attribute::REALM => text(&mut self.told, told::REALM, REALM),
            attribute::ORIGIN => text(&mut self.told, told::ORIGIN, ORIGIN),
            attribute::USERNAME if message.method == method::BINDING => self.on_fragments(at, dir, value, events),
            attribute::USERNAME => text(&mut self.told, told::TURN_USERNAME, TURN_USERNAME),
            attribute::USE_CANDIDATE if self.told.first(told::NOMINATED) => {
                events.attribute(at, dir, NOMINATED, "true");
            }
            attribute::ICE_CONTROLLING | attribute::ICE_CONTROLLED if self.told.first(told::CONTROLLING) => {
                let orig = (dir == Direction::Orig) == (kind == attribute::ICE_CONTROLLING);
                events.attribute(at, dir, CONTROLLING, if orig { "client" } else { "server" });
            }
            attribute::ERROR_CODE => self.on_error(at, dir, value, events),
            REQUESTED_TRANSPORT if message.method == method::ALLOCATE && self.told.first(told::TRANSPORT) => {
                let name = if value.first() == Some(&6) { "tcp" } else { "udp" };
                events.attribute(at, dir, TRANSPORT, name);
            }
            _ => self.on_address(at, dir, message, kind, value, way, events),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn on_address(
        &mut self,
        at: Timestamp,
        dir: Direction,
        message: &Message<'_>,
        kind: u16,
        value: &[u8],
        way: Way,
        events: &mut Events,
    ) {
        let masked = message.dialect == Dialect::Current;
        match kind {
            attribute::XOR_MAPPED_ADDRESS | attribute::MAPPED_ADDRESS | attribute::DRAFT_XOR_MAPPED_ADDRESS => {
                // In the drafts the mask is the first word of the transaction, and the plain address stands beside it.
                let address = match (kind, masked) {
                    (attribute::MAPPED_ADDRESS, _) => plain_address(value),
                    (_, true) => message.masked_address(value),
                    (_, false) => None,
                };
                if way == Way::Direct
                    && let Some(address) = address
                    && self.told.first(told::MAPPED)
                {
                    events.attribute(at, dir, MAPPED, address.to_string());
                }
            }
            attribute::XOR_RELAYED_ADDRESS if masked => {
                if let Some(address) = message.masked_address(value)
                    && self.told.first(told::RELAYED)
                {
                    events.attribute(at, dir, RELAYED, address.to_string());
                }
            }
            attribute::XOR_PEER_ADDRESS => {
                let address = if masked { message.masked_address(value) } else { plain_address(value) };
                self.on_peer(address);
            }
            _ => {}
        }
    }

    fn on_peer(&mut self, address: Option<SocketAddr>) {
        let Some(address) = address else { return };
        // A permission is for an address, without a port.
        let known = |p: &SocketAddr| *p == address || p.ip() == address.ip() && address.port() == 0;
        if self.peers.iter().flatten().any(known) {
            return;
        }
        if let Some(free) = self.peers.iter_mut().find(|p| p.is_none()) {
            *free = Some(address);
        }
    }

    /// The pair of user fragments, which both ends know and no other session has (RFC 8445 section 7.2.2).
    fn on_fragments(&mut self, at: Timestamp, dir: Direction, value: &[u8], events: &mut Events) {
        let mut parts = value.split(|byte| *byte == b':');
        let (Some(theirs), Some(own), None) = (parts.next(), parts.next(), parts.next()) else { return };
        if theirs.is_empty() || own.is_empty() || self.pair == link_value(value) {
            return;
        }
        self.pair = link_value(value);
        if self.told.first(told::USERNAME) {
            events.attribute(at, dir, USERNAME, printable(value, TEXT));
        }
        if let Some(link) = link_of(theirs, own) {
            events.link(at, dir, link);
        }
    }

    fn on_error(&mut self, at: Timestamp, dir: Direction, value: &[u8], events: &mut Events) {
        let mut r = Reader::new(value);
        let (Some(_), Some(class), Some(number)) = (r.u16(), r.u8(), r.u8()) else { return };
        let code = u16::from(class & 7) * 100 + u16::from(number);
        // A client asks without credentials first, and its nonce grows old: no error.
        if !matches!(code, 401 | 438) && self.told.first(told::ERROR) {
            events.attribute(at, dir, ERROR, format!("{code} {}", text_of(r.rest())).trim_end());
        }
    }
}

/// Some senders pad with noughts inside the value, or end it with one.
fn text_of(value: &[u8]) -> String {
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    printable(value.get(..end).unwrap_or_default(), TEXT)
}

const REQUESTED_TRANSPORT: u16 = 0x0019;

mod told {
    pub(super) const SOFTWARE: u16 = 1;
    pub(super) const CLIENT_SOFTWARE: u16 = 1 << 1;
    pub(super) const USERNAME: u16 = 1 << 2;
    pub(super) const MAPPED: u16 = 1 << 3;
    pub(super) const CONTROLLING: u16 = 1 << 4;
    pub(super) const NOMINATED: u16 = 1 << 5;
    pub(super) const ERROR: u16 = 1 << 6;
    pub(super) const ORIGIN: u16 = 1 << 7;
    pub(super) const DIALECT: u16 = 1 << 8;
    pub(super) const TURN_USERNAME: u16 = 1 << 9;
    pub(super) const REALM: u16 = 1 << 10;
    pub(super) const RELAYED: u16 = 1 << 11;
    pub(super) const TRANSPORT: u16 = 1 << 12;
}

/// Both ends send a check every few seconds, in turn with their own order of the fragments.
fn link_value(username: &[u8]) -> u64 {
    let mut halves = username.splitn(2, |byte| *byte == b':');
    let hash = |part: Option<&[u8]>| match Link::token("", part.unwrap_or_default()) {
        Link::Token(_, value) => value,
        _ => 0,
    };
    hash(halves.next()).wrapping_add(hash(halves.next()))
}

/// Which end is TURN's client, by what `dir` sends.
const fn turn_client(message: &Message<'_>, dir: Direction) -> Direction {
    let by_server = match message.class {
        Class::Success | Class::Error => true,
        Class::Indication => matches!(message.method, method::DATA | method::CONNECTION_ATTEMPT),
        Class::Request => false,
    };
    if by_server { dir.flip() } else { dir }
}

/// The loops whose answer waits for nobody else; a Connect waits for the peer.
const fn loop_name(method: u16) -> Option<&'static str> {
    Some(match method {
        method::BINDING => "binding",
        method::ALLOCATE => "allocate",
        method::REFRESH => "refresh",
        method::CREATE_PERMISSION => "create-permission",
        method::CHANNEL_BIND => "channel-bind",
        _ => return None,
    })
}

/// Programs that have attributes of their own.
fn program(message: &Message<'_>, kind: u16, value: &[u8]) -> Option<&'static str> {
    match kind {
        // Read off WhatsApp's calls; nobody has registered them.
        0x4000..=0x4002 => Some("whatsapp"),
        attribute::ZOOM_ASKS | attribute::ZOOM_ANSWERS if message.dialect == Dialect::Classic => Some("zoom"),
        // Candidate identifier, implementation version and service quality of [MS-ICE2] and [MS-TURN].
        0x8054 | 0x8055 | 0x8070 if value.len() == 4 => Some("teams"),
        0x8008 if message.dialect == Dialect::Draft => Some("teams"),
        attribute::REALM => REALMS.iter().find(|(realm, _)| ends_in(value, realm)).map(|(_, program)| *program),
        _ => None,
    }
}

/// Realms of services' own relays.
const REALMS: [(&[u8], &str); 4] = [
    (b"signal.org", "signal"),
    (b"whispersystems.org", "signal"),
    (b"facebook.com", "messenger"),
    (b"zoom.us", "zoom"),
];

fn ends_in(value: &[u8], realm: &[u8]) -> bool {
    value
        .len()
        .checked_sub(realm.len())
        .and_then(|at| value.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(realm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::EventKind;
    use Direction::{Orig, Resp};

    pub(crate) fn message(kind: u16, transaction: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut out = kind.to_be_bytes().to_vec();
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend([0x21, 0x12, 0xa4, 0x42]);
        out.extend([transaction; 12]);
        out.extend(body);
        out
    }

    /// Milliseconds, sender, way, message.
    type Turn = (i64, Direction, Way, Vec<u8>);

    fn events(turns: &[Turn]) -> Vec<EventKind> {
        let (mut dialogue, mut events) = (Dialogue::default(), Events::default());
        for (ms, dir, way, bytes) in turns {
            let at = Timestamp::from_nanos(ms * 1_000_000);
            dialogue.on_message(at, *dir, &Message::parse(bytes, 0).unwrap(), *way, &mut events);
        }
        dialogue.on_close(Timestamp::from_nanos(0), &mut events);
        events.drain().map(|event| event.kind).collect()
    }

    fn methods(events: &[EventKind]) -> Vec<&'static str> {
        let told = |kind: &EventKind| if let EventKind::Answer(of) = kind { Some(of.method) } else { None };
        events.iter().filter_map(told).collect()
    }

    #[test]
    fn an_answer_closes_the_loop_of_its_transaction_only() {
        let direct = Way::Direct;
        let told = events(&[
            (0, Orig, direct, message(0x0001, 1, &[])),
            (5, Orig, direct, message(0x0001, 2, &[])),
            (20, Resp, direct, message(0x0101, 2, &[])),
            (30, Resp, direct, message(0x0101, 9, &[])),
            (40, Orig, direct, message(0x0101, 1, &[])),
        ]);
        assert_eq!(methods(&told), ["binding"]);
        // Sent again before the answer: asked twice, so that the sample is ambiguous.
        let again = [0, 500].map(|ms| (ms, Orig, direct, message(0x0001, 1, &[])));
        let told = events(&[&again[..], &[(520, Resp, direct, message(0x0101, 1, &[]))]].concat());
        assert_eq!(told.iter().filter(|kind| matches!(kind, EventKind::Ask(_))).count(), 2);
    }

    #[test]
    fn what_a_peer_behind_the_relay_answers_is_told_apart() {
        let (direct, relayed) = (Way::Direct, Way::Relayed);
        let told = events(&[
            (0, Orig, direct, message(0x0003, 1, &[(attribute::USERNAME, b"anna")])),
            (9, Resp, direct, message(0x0103, 1, &[])),
            (10, Orig, relayed, message(0x0001, 2, &[])),
            (90, Resp, relayed, message(0x0101, 2, &[])),
            (95, Resp, relayed, message(0x0001, 3, &[])),
            (99, Orig, relayed, message(0x0101, 3, &[])),
        ]);
        assert_eq!(methods(&told), ["allocate", "binding-through-relay", "binding"]);
        // Who is TURN's client is unknown: which of the two it is, too.
        let headless = [(10, Orig, relayed, message(0x0001, 2, &[])), (90, Resp, relayed, message(0x0101, 2, &[]))];
        assert_eq!(methods(&events(&headless)), [""; 0]);
    }

    #[test]
    fn both_ends_of_a_session_give_one_link() {
        let links = |username: &[u8]| {
            let told = events(&[(0, Orig, Way::Direct, message(1, 1, &[(attribute::USERNAME, username)]))]);
            told.into_iter().filter(|kind| matches!(kind, EventKind::Link(_))).collect::<Vec<_>>()
        };
        assert_eq!(links(b"abcd:wxyz"), links(b"wxyz:abcd"));
        assert_ne!(links(b"abcd:wxyz"), links(b"abcd:wxyy"));
        assert!(links(b"anna").is_empty());
    }

    #[test]
    fn a_long_call_tells_all_its_loops() {
        let mut turns = Vec::new();
        for i in 0..2_000i64 {
            let transaction = u8::try_from(i % 250).unwrap();
            turns.push((i * 2_500, Orig, Way::Direct, message(1, transaction, &[])));
            turns.push((i * 2_500 + 40, Resp, Way::Direct, message(0x0101, transaction, &[])));
        }
        assert_eq!(methods(&events(&turns)).len(), 2_000);
    }

    #[test]
    fn what_was_said_is_read() {
        let told = events(&[
            (0, Orig, Way::Direct, message(3, 1, &[(0x8022, b"agent\0\0"), (0x0019, &[17, 0, 0, 0])])),
            (9, Resp, Way::Direct, message(0x0113, 1, &[(9, &[0, 0, 4, 1]), (0x0014, b"example.org")])),
            (19, Resp, Way::Direct, message(0x0113, 7, &[(9, b"\0\0\x04\x03Forbidden")])),
            (29, Orig, Way::Direct, message(8, 8, &[(0x0012, b"\0\x01\xa1\x47\xe1\x12\xa6\x43")])),
        ]);
        let said = |wanted: &str| {
            told.iter().find_map(|kind| match kind {
                EventKind::Attribute { key, value } if *key == wanted => Some(value.clone()),
                _ => None,
            })
        };
        assert_eq!(said(CLIENT_SOFTWARE).as_deref(), Some("agent"));
        assert_eq!(said(REALM).as_deref(), Some("example.org"));
        assert_eq!(said(TRANSPORT).as_deref(), Some("udp"));
        assert_eq!(said(ERROR).as_deref(), Some("403 Forbidden"));
        assert_eq!(said(PEER).as_deref(), Some("192.0.2.1:32853"));
    }
}
