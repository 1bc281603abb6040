//! RDP: who asks for a desktop, and how the connection will be secured.
//!
//! Reads: the X.224 Connection Request and Confirm in their TPKTs, and with standard security the client core data of
//! the MCS Connect Initial. Emits: cookie or routing token, protocols asked for and chosen, why a negotiation failed,
//! client name and build; then hands TLS over. Does not: decrypt, or keep keyboard layout and language.
//!
//! Reference: [MS-RDPBCGR] 2.2.1.1 to 2.2.1.3, RFC 1006 (TPKT), ITU-T X.224, T.125 (MCS), T.124 (GCC).

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable, text_utf16le, unused};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static RDP: Protocol = Protocol {
    name: "rdp",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[3389, 3388, 3390],
    attributes: &[COOKIE, TOKEN, FLAGS, REQUESTED, SELECTED, FAILURE, CLIENT_NAME, CLIENT_BUILD],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Rdp::default()),
};

const COOKIE: Key = "rdp.cookie";
const TOKEN: Key = "rdp.routing_token";
const FLAGS: Key = "rdp.request_flags";
const REQUESTED: Key = "rdp.requested_protocols";
const SELECTED: Key = "rdp.selected_protocol";
const FAILURE: Key = "rdp.negotiation_failure";
const CLIENT_NAME: Key = "rdp.client_name";
const CLIENT_BUILD: Key = "rdp.client_build";

/// The longest TPKT (RFC 1006): a 16-bit length.
const INBOX_LIMIT: usize = 65_535;
/// Characters of a cookie or token that are kept; the request's length octet allows no more than 250.
const TEXT_KEPT: usize = 250;

const CONNECTION_REQUEST: u8 = 0xe0;
const CONNECTION_CONFIRM: u8 = 0xd0;
const DATA: u8 = 0xf0;

fn probe(opening: &Opening<'_>) -> Probe {
    match [client_opening(opening.sent.orig), server_opening(opening.sent.resp)] {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn client_opening(bytes: &[u8]) -> Probe {
    match Tpdu::read(bytes) {
        Unit::More => Probe::NeedMore,
        Unit::Whole(tpdu) if tpdu.code == CONNECTION_REQUEST => match Request::read(tpdu.body) {
            Some(request) if !request.is_bare() => Probe::Match,
            // Every user of X.224 may say no more than this; only what comes next tells RDP.
            Some(_) => connect_initial(bytes.get(tpdu.size..).unwrap_or_default()),
            None => Probe::NoMatch,
        },
        Unit::Whole(_) | Unit::Not => Probe::NoMatch,
    }
}

fn server_opening(bytes: &[u8]) -> Probe {
    match Tpdu::read(bytes) {
        Unit::More => Probe::NeedMore,
        Unit::Whole(tpdu) if tpdu.code == CONNECTION_CONFIRM => match Confirm::read(tpdu.body) {
            Some(Confirm::Chosen(_) | Confirm::Failed(_)) => Probe::Match,
            Some(Confirm::Bare) => Probe::NeedMore,
            None => Probe::NoMatch,
        },
        Unit::Whole(_) | Unit::Not => Probe::NoMatch,
    }
}

/// Whether these bytes begin an MCS Connect Initial with Microsoft's client data.
fn connect_initial(bytes: &[u8]) -> Probe {
    match Tpdu::read(bytes) {
        Unit::More => Probe::NeedMore,
        Unit::Whole(tpdu) if is_connect_initial(&tpdu) && client_data(tpdu.body).is_some() => Probe::Match,
        Unit::Whole(_) | Unit::Not => Probe::NoMatch,
    }
}

/// One TPDU in its TPKT.
#[derive(Debug, Clone, Copy)]
struct Tpdu<'a> {
    code: u8,
    /// What follows the fixed part of the header.
    body: &'a [u8],
    /// Bytes it takes, TPKT header included.
    size: usize,
}

enum Unit<'a> {
    More,
    Not,
    Whole(Tpdu<'a>),
}

impl<'a> Tpdu<'a> {
    /// Reads a Connection Request, Confirm or Data TPDU from the front.
    fn read(bytes: &'a [u8]) -> Unit<'a> {
        if !bytes.iter().zip([3u8, 0]).all(|(byte, wanted)| *byte == wanted) {
            return Unit::Not;
        }
        let Some(([_, _, high, low], rest)) = bytes.split_first_chunk::<4>() else { return Unit::More };
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        if size < 7 {
            return Unit::Not;
        }
        let Some(([indicator, code], _)) = rest.split_first_chunk::<2>() else { return Unit::More };
        let fixed = match *code {
            CONNECTION_REQUEST | CONNECTION_CONFIRM if usize::from(*indicator) + 5 == size && size >= 11 => 7,
            DATA if *indicator == 2 => 3,
            _ => return Unit::Not,
        };
        let Some(body) = bytes.get(..size).and_then(|whole| whole.get(4 + fixed..)) else { return Unit::More };
        Unit::Whole(Self { code: *code, body, size })
    }
}

/// What a Connection Request says.
#[derive(Debug, Default)]
struct Request<'a> {
    cookie: Option<&'a [u8]>,
    token: Option<&'a [u8]>,
    negotiation: Option<Negotiation>,
}

/// `RDP_NEG_REQ`, `RDP_NEG_RSP` or `RDP_NEG_FAILURE`: type, flags, length 8, value.
#[derive(Debug, Clone, Copy)]
struct Negotiation {
    kind: u8,
    flags: u8,
    value: u32,
}

impl Negotiation {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [kind, flags, 8, 0, a, b, c, d] = reader.array::<8>()? else { return None };
        Some(Self { kind, flags, value: u32::from_le_bytes([a, b, c, d]) })
    }
}

impl<'a> Request<'a> {
    /// `None` if it is not what RDP says.
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut request = Self::default();
        let mut rest = body;
        if let Some(line) = body.strip_prefix(b"Cookie: ") {
            let end = line.windows(2).position(|w| w == b"\r\n")?;
            let (value, after) = line.split_at_checked(end)?;
            match value.strip_prefix(b"mstshash=") {
                Some(name) => request.cookie = Some(name),
                None => request.token = Some(value),
            }
            rest = after.get(2..)?;
        }
        let mut reader = Reader::new(rest);
        if !reader.is_empty() {
            let negotiation = Negotiation::read(&mut reader)?;
            // Whatever follows (correlation info, type 6) must not stand without being announced by a known request.
            if negotiation.kind != 1 || negotiation.value >= 0x100 || !matches!(reader.len(), 0 | 36) {
                return None;
            }
            request.negotiation = Some(negotiation);
        }
        Some(request)
    }

    const fn is_bare(&self) -> bool {
        self.cookie.is_none() && self.token.is_none() && self.negotiation.is_none()
    }

    fn tell(&self, at: Timestamp, events: &mut Events) {
        let dir = Direction::Orig;
        if let Some(cookie) = self.cookie {
            events.attribute(at, dir, COOKIE, printable(cookie, TEXT_KEPT));
        }
        if let Some(token) = self.token {
            events.attribute(at, dir, TOKEN, printable(token, TEXT_KEPT));
        }
        if let Some(asked) = self.negotiation {
            events.attribute(at, dir, REQUESTED, security_names(asked.value));
            let flags = joined(&REQUEST_FLAGS, u32::from(asked.flags));
            if !flags.is_empty() {
                events.attribute(at, dir, FLAGS, flags);
            }
        }
    }
}

/// What a Connection Confirm says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirm {
    /// Nothing: a server older than the negotiation.
    Bare,
    /// The security protocol chosen.
    Chosen(u32),
    /// Why there will be none.
    Failed(u32),
}

impl Confirm {
    fn read(body: &[u8]) -> Option<Self> {
        if body.is_empty() {
            return Some(Self::Bare);
        }
        let mut reader = Reader::new(body);
        let negotiation = Negotiation::read(&mut reader)?;
        match negotiation.kind {
            2 if reader.is_empty() => Some(Self::Chosen(negotiation.value)),
            3 if reader.is_empty() => Some(Self::Failed(negotiation.value)),
            _ => None,
        }
    }
}

/// Flags of `RDP_NEG_REQ` ([MS-RDPBCGR] 2.2.1.1.1).
const REQUEST_FLAGS: [(u32, &str); 3] =
    [(1, "restricted-admin"), (2, "redirected-authentication"), (8, "correlation-info")];

/// Security protocols, as a mask in requests and alone in responses.
const SECURITY: [(u32, &str); 5] = [(1, "tls"), (2, "credssp"), (4, "rdstls"), (8, "credssp-ex"), (16, "rdsaad")];

fn security_names(mask: u32) -> String {
    if mask == 0 { "rdp".to_owned() } else { joined(&SECURITY, mask) }
}

fn joined(names: &[(u32, &str)], mask: u32) -> String {
    let set: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

/// Failure codes of `RDP_NEG_FAILURE` ([MS-RDPBCGR] 2.2.1.2.2).
const fn failure_name(code: u32) -> &'static str {
    match code {
        1 => "tls-required",
        2 => "tls-not-allowed",
        3 => "no-server-certificate",
        4 => "inconsistent-flags",
        5 => "credssp-required",
        6 => "tls-with-user-auth-required",
        _ => "unknown",
    }
}

/// Which PDU each end must send next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Connecting,
    /// Standard security: the client's MCS Connect Initial follows.
    Settings,
    Done,
}

#[derive(Debug)]
struct Rdp {
    inboxes: Ends<Inbox>,
    stage: Stage,
    requested: bool,
}

impl Default for Rdp {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, stage: Stage::Connecting, requested: false }
    }
}

impl Analyzer for Rdp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done || (self.stage == Stage::Settings && pdu.dir == Direction::Resp) {
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "rdp.beyond-buffer", events);
        }
        match (self.stage, pdu.dir) {
            (Stage::Connecting, Direction::Orig) if self.requested => self.on_early(pdu.at, events),
            (Stage::Connecting, Direction::Orig) => self.on_request(events),
            (Stage::Connecting, Direction::Resp) => self.on_confirm(events),
            (Stage::Settings, _) => self.on_settings(events),
            (Stage::Done, _) => {}
        }
    }
}

impl Rdp {
    fn on_request(&mut self, events: &mut Events) {
        let inbox = &mut self.inboxes.orig;
        let at = inbox.time_of(inbox.bytes().len());
        match Tpdu::read(inbox.bytes()) {
            Unit::More => {}
            Unit::Whole(tpdu) if tpdu.code == CONNECTION_REQUEST => {
                let at = inbox.time_of(tpdu.size - 1);
                let Some(request) = Request::read(tpdu.body) else {
                    self.give_up(at, Direction::Orig, "rdp.request-malformed", events);
                    return;
                };
                request.tell(at, events);
                self.requested = true;
                let size = tpdu.size;
                inbox.consume(size);
                self.on_early(at, events);
            }
            Unit::Whole(_) | Unit::Not => self.give_up(at, Direction::Orig, "rdp.not-a-connection-request", events),
        }
    }

    /// The client goes on although no confirm was seen: the capture has only its direction. Bytes of TLS belong to TLS.
    fn on_early(&mut self, at: Timestamp, events: &mut Events) {
        let early = self.inboxes.orig.bytes();
        if early.starts_with(&[0x16, 3]) {
            events.handover(at, Direction::Orig, "tls", true, unused(&self.inboxes));
            self.settle(at, Direction::Orig, events);
        }
    }

    fn on_confirm(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.resp;
        let at = inbox.time_of(inbox.bytes().len());
        let tpdu = match Tpdu::read(inbox.bytes()) {
            Unit::More => return,
            Unit::Whole(tpdu) if tpdu.code == CONNECTION_CONFIRM => tpdu,
            Unit::Whole(_) | Unit::Not => {
                self.give_up(at, Direction::Resp, "rdp.not-a-connection-confirm", events);
                return;
            }
        };
        let at = inbox.time_of(tpdu.size - 1);
        let Some(confirm) = Confirm::read(tpdu.body) else {
            self.give_up(at, Direction::Resp, "rdp.confirm-malformed", events);
            return;
        };
        let size = tpdu.size;
        self.inboxes.resp.consume(size);
        if self.requested {
            events.confirmed(at, Direction::Resp);
        }
        match confirm {
            Confirm::Failed(code) => {
                events.attribute(at, Direction::Resp, FAILURE, failure_name(code));
                self.settle(at, Direction::Resp, events);
            }
            Confirm::Bare | Confirm::Chosen(0) => {
                events.attribute(at, Direction::Resp, SELECTED, security_names(0));
                self.stage = Stage::Settings;
                self.on_settings(events);
            }
            Confirm::Chosen(protocol) => {
                events.attribute(at, Direction::Resp, SELECTED, security_names(protocol));
                events.handover(at, Direction::Resp, "tls", true, unused(&self.inboxes));
                self.settle(at, Direction::Resp, events);
            }
        }
    }

    fn on_settings(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.orig;
        let at = inbox.time_of(inbox.bytes().len());
        match Tpdu::read(inbox.bytes()) {
            Unit::More => return,
            Unit::Whole(tpdu) if is_connect_initial(&tpdu) => {
                if let Some(core) = client_data(tpdu.body).and_then(client_core) {
                    events.attribute(at, Direction::Orig, CLIENT_NAME, core.name);
                    events.attribute(at, Direction::Orig, CLIENT_BUILD, core.build.to_string());
                }
            }
            Unit::Whole(_) | Unit::Not => events.violation(at, Direction::Orig, "rdp.no-connect-initial"),
        }
        self.settle(at, Direction::Orig, events);
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        events.violation(at, dir, fault);
        self.settle(at, dir, events);
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.stage = Stage::Done;
        events.settled(at, dir);
    }
}

/// MCS Connect Initial: a BER application tag 101 in a data TPDU.
fn is_connect_initial(tpdu: &Tpdu<'_>) -> bool {
    tpdu.code == DATA && tpdu.body.starts_with(&[0x7f, 0x65])
}

/// The client data blocks behind Microsoft's H.221 key in the GCC Conference Create Request.
fn client_data(connect_initial: &[u8]) -> Option<Reader<'_>> {
    let key = connect_initial.windows(4).position(|w| w == b"Duca")?;
    let mut reader = Reader::new(connect_initial.get(key + 4..)?);
    // PER length: one byte, or two with the top bit set.
    if reader.u8()? & 0x80 != 0 {
        reader.u8()?;
    }
    Some(reader)
}

struct Core {
    name: String,
    build: u32,
}

/// `CS_CORE`: the first client data block. Build and name stand side by side behind what is skipped.
fn client_core(mut blocks: Reader<'_>) -> Option<Core> {
    let [0x01, 0xc0, _, _] = blocks.array::<4>()? else { return None };
    // Version, width, height, color depth, SAS sequence, and the keyboard layout, which is not read.
    blocks.take(16)?;
    let build = u32::from_le_bytes(blocks.array()?);
    Some(Core { name: text_utf16le(blocks.take(32)?, 15), build })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn tpkt(code: u8, body: &[u8]) -> Vec<u8> {
        let indicator = u8::try_from(body.len() + 6).unwrap();
        let mut out = vec![3, 0, 0, indicator + 5, indicator, code, 0, 0, 0, 0, 0];
        out.extend_from_slice(body);
        out
    }

    fn data(body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(body.len() + 7).unwrap().to_be_bytes();
        [&[3, 0, size[0], size[1], 2, DATA, 0x80][..], body].concat()
    }

    /// The request of [MS-RDPBCGR] 4.1.1, with TLS and CredSSP asked for.
    fn request() -> Vec<u8> {
        tpkt(CONNECTION_REQUEST, b"Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x03\x00\x00\x00")
    }

    fn confirm(value: &[u8]) -> Vec<u8> {
        tpkt(CONNECTION_CONFIRM, value)
    }

    fn settings() -> Vec<u8> {
        let mut body = vec![0x7f, 0x65, 0x82, 0x01, 0x94];
        body.extend([0; 40]);
        body.extend(b"Duca\x81\x10\x01\xc0\xd8\x00");
        body.extend([9; 16]);
        body.extend(3790u32.to_le_bytes());
        let mut name: Vec<u8> = "ELTONS-DEV2".encode_utf16().flat_map(u16::to_le_bytes).collect();
        name.resize(32, 0);
        body.extend(name);
        body.extend([0; 100]);
        data(&body)
    }

    fn attributes(events: &[Event]) -> Vec<(&str, &str)> {
        let pair = |e: &'_ Event| match &e.kind {
            EventKind::Attribute { key, value } => Some((*key, value.clone())),
            _ => None,
        };
        events.iter().filter_map(pair).map(|(k, v)| (k, &*v.leak())).collect()
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&RDP, &turns, piece)
    }

    #[test]
    fn tls_is_asked_for_granted_and_handed_over() {
        let events = run(&[(Orig, request()), (Resp, confirm(&[2, 0x1f, 8, 0, 2, 0, 0, 0]))], 4096);
        assert_eq!(attributes(&events), [(COOKIE, "eltons"), (REQUESTED, "tls,credssp"), (SELECTED, "credssp")]);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        let handed = EventKind::Handover { to: "tls", as_carrier: true, rest: Vec::new() };
        assert!(events.iter().any(|e| e.kind == handed));
    }

    #[test]
    fn standard_security_shows_name_and_build_and_no_keyboard() {
        let bare = tpkt(CONNECTION_REQUEST, b"");
        let events = run(&[(Orig, bare.clone()), (Resp, confirm(b"")), (Orig, settings())], 4096);
        assert_eq!(attributes(&events), [(SELECTED, "rdp"), (CLIENT_NAME, "ELTONS-DEV2"), (CLIENT_BUILD, "3790")]);
        let probe = |bytes: &[u8]| testkit::probe(&RDP, Carrier::Stream, bytes, b"");
        assert_eq!(probe(&bare), Probe::NeedMore);
        assert_eq!(probe(&[bare.clone(), settings()].concat()), Probe::Match);
        assert_eq!(probe(&[bare.clone(), data(b"\x7f\x65\x10 T.120 but not Microsoft's")].concat()), Probe::NoMatch);
        assert_eq!(probe(&[bare, data(b"2\x01\0\0")].concat()), Probe::NoMatch);
    }

    #[test]
    fn a_refusal_says_why() {
        let events = run(&[(Orig, request()), (Resp, confirm(&[3, 0, 8, 0, 5, 0, 0, 0]))], 4096);
        assert!(attributes(&events).contains(&(FAILURE, "credssp-required")));
        let flags = tpkt(CONNECTION_REQUEST, &[1, 3, 8, 0, 0x0b, 0, 0, 0]);
        let told = run(&[(Orig, flags)], 4096);
        let expected = [(REQUESTED, "tls,credssp,credssp-ex"), (FLAGS, "restricted-admin,redirected-authentication")];
        assert_eq!(attributes(&told), expected);
    }

    #[test]
    fn one_direction_alone_is_read_but_not_confirmed() {
        let hello = [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0];
        let client = run(&[(Orig, request()), (Orig, hello.to_vec())], 4096);
        assert!(client.iter().any(|e| matches!(e.kind, EventKind::Handover { .. })));
        let chosen = confirm(&[2, 0, 8, 0, 1, 0, 0, 0]);
        assert_eq!(testkit::probe(&RDP, Carrier::Stream, b"", &chosen), Probe::Match);
        let server = run(&[(Resp, chosen)], 4096);
        assert_eq!(attributes(&server), [(SELECTED, "tls")]);
        assert!(!client.iter().chain(&server).any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn other_users_of_tpkt_and_of_the_port_are_not_rdp() {
        let probe = |bytes: &[u8]| testkit::probe(&RDP, Carrier::Stream, bytes, b"");
        // S7comm: TSAPs. H.225: Q.931 in a TPKT. TLS, HTTP and a cookie in HTTP.
        assert_eq!(probe(&tpkt(CONNECTION_REQUEST, b"\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x09")), Probe::NoMatch);
        assert_eq!(probe(b"\x03\x00\x01\x00\x08\x02\x00\x01\x05"), Probe::NoMatch);
        assert_eq!(probe(b"\x16\x03\x01\x02\x00\x01\x00"), Probe::NoMatch);
        assert_eq!(probe(b"GET / HTTP/1.1\r\nCookie: mstshash=a\r\n\r\n"), Probe::NoMatch);
        assert_eq!(probe(b"\x03"), Probe::NeedMore);
        assert_eq!(probe(b"\x03\x01"), Probe::NoMatch);
        assert_eq!(probe(&request()), Probe::Match);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..300, standard: bool) {
            let value: &[u8] = if standard { b"" } else { &[2, 0, 8, 0, 1, 0, 0, 0] };
            let turns = [(Orig, request()), (Resp, confirm(value)), (Orig, settings())];
            prop_assert_eq!(run(&turns, piece), run(&turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0u8..3, proptest::collection::vec(any::<u8>(), 0..60)), 0..8,
        )) {
            let wrap = |kind: u8, bytes: Vec<u8>| match kind {
                0 => bytes,
                1 => tpkt(CONNECTION_REQUEST, &bytes),
                _ => tpkt(CONNECTION_CONFIRM, &bytes),
            };
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(orig, kind, bytes)| (if orig { Orig } else { Resp }, wrap(kind, bytes)))
                .collect();
            run(&turns, 5);
            for (_, bytes) in &turns {
                testkit::probe(&RDP, Carrier::Stream, bytes, bytes);
                connect_initial(bytes);
            }
        }
    }
}
