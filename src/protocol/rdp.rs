//! RDP: who asks for a desktop, and how the connection will be secured.
//!
//! Reads: a preconnection PDU, the X.224 Connection Request and Confirm in their TPKTs, and with standard security the
//! MCS Connect Initial and Response. Emits: cookie or routing token, protocols asked for and chosen, why a negotiation
//! failed, the settings in clear, three closed loops; then hands TLS over. Does not: decrypt, or keep keyboard layout and
//! language.
//!
//! Reference: [MS-RDPBCGR] 2.2.1.1 to 2.2.1.4, [MS-RDPEPS] 2.2.1 (preconnection), RFC 1006 (TPKT), ITU-T X.224.

use crate::base::{Direction, Ends, IdentityKind, Layer, Link, Said, Shows, Sign, Timestamp, Whereabouts};
use crate::protocol::codec::rdp_negotiation::{
    CONNECTION_CONFIRM, CONNECTION_REQUEST, Confirm, Lead, Request, Tpdu, Unit, routing_target,
};
use crate::protocol::codec::rdp_settings::{
    CONNECT_INITIAL, CONNECT_RESPONSE, ClientSettings, ServerSettings, encryption_name, has_client_data,
};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{Analyzer, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry. Ports: RDP's own, those next to it, Hyper-V's (2179).
pub(crate) static RDP: Protocol = Protocol {
    name: "rdp",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[3389, 3388, 3390, 2179],
    attributes: &[
        COOKIE,
        TOKEN,
        TARGET,
        FLAGS,
        REQUESTED,
        SELECTED,
        RESPONSE_FLAGS,
        FAILURE,
        CORRELATION,
        PRECONNECTION,
        CLIENT_NAME,
        CLIENT_BUILD,
        CLIENT_VERSION,
        SERVER_VERSION,
        DESKTOP_SIZE,
        CHANNELS,
        MULTITRANSPORT,
        ENCRYPTION,
    ],
    // The purpose "Remote Desktop Authentication", which only certificates for remote desktops have. Where the same
    // certificate serves a page too, that page would look the same.
    signs: &[Sign::new("tls.cert_eku", Said::Exactly("1.3.6.1.4.1.311.54.1.2"), Shows::Likely)],
    lasting: false,
    probe,
    analyzer: || Box::new(Rdp::default()),
};

const COOKIE: Key = "rdp.cookie";
const TOKEN: Key = "rdp.routing_token";
const TARGET: Key = "rdp.routing_target";
const FLAGS: Key = "rdp.request_flags";
const REQUESTED: Key = "rdp.requested_protocols";
const SELECTED: Key = "rdp.selected_protocol";
const RESPONSE_FLAGS: Key = "rdp.response_flags";
const FAILURE: Key = "rdp.negotiation_failure";
const CORRELATION: Key = "rdp.correlation_id";
const PRECONNECTION: Key = "rdp.preconnection";
const CLIENT_NAME: Key = "rdp.client_name";
const CLIENT_BUILD: Key = "rdp.client_build";
const CLIENT_VERSION: Key = "rdp.client_version";
const SERVER_VERSION: Key = "rdp.server_version";
const DESKTOP_SIZE: Key = "rdp.desktop_size";
const CHANNELS: Key = "rdp.channels";
const MULTITRANSPORT: Key = "rdp.multitransport";
const ENCRYPTION: Key = "rdp.encryption";

/// The longest TPKT (RFC 1006): a 16-bit length.
const INBOX_LIMIT: usize = 65_535;
/// Characters of a cookie or token that are kept; the request's length octet allows no more than 250.
const TEXT_KEPT: usize = 250;

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    match [client_opening(orig), server_opening(resp, may_begin_with_tls(orig))] {
        [Probe::NoMatch, _] | [_, Probe::NoMatch] => Probe::NoMatch,
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        _ => Probe::NeedMore,
    }
}

fn client_opening(bytes: &[u8]) -> Probe {
    match Lead::read(bytes) {
        Lead::More => Probe::NeedMore,
        Lead::Not => request_opening(bytes),
        Lead::Whole { size, .. } => match bytes.get(size..).unwrap_or_default() {
            [] | [0x16] => Probe::NeedMore,
            [0x16, 3, ..] => Probe::Match,
            rest => request_opening(rest),
        },
    }
}

fn request_opening(bytes: &[u8]) -> Probe {
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

/// Whether the client's bytes allow that the server begins with TLS: behind a preconnection PDU there may be no X.224.
fn may_begin_with_tls(orig: &[u8]) -> bool {
    match Lead::read(orig) {
        Lead::More => true,
        Lead::Not => false,
        Lead::Whole { size, .. } => orig.get(size).is_none_or(|byte| *byte == 0x16),
    }
}

fn server_opening(bytes: &[u8], may_be_tls: bool) -> Probe {
    if bytes.first() == Some(&0x16) {
        return if may_be_tls { Probe::NeedMore } else { Probe::NoMatch };
    }
    match Tpdu::read(bytes) {
        Unit::More => Probe::NeedMore,
        Unit::Whole(tpdu) if tpdu.code == CONNECTION_CONFIRM => match Confirm::read(tpdu.body) {
            Some(Confirm::Chosen(..) | Confirm::Failed(_)) => Probe::Match,
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
        Unit::Whole(tpdu) if tpdu.is(CONNECT_INITIAL) && has_client_data(tpdu.body) => Probe::Match,
        Unit::Whole(_) | Unit::Not => Probe::NoMatch,
    }
}

/// Flags of `RDP_NEG_REQ` ([MS-RDPBCGR] 2.2.1.1.1).
const REQUEST_FLAGS: [(u32, &str); 3] =
    [(1, "restricted-admin"), (2, "redirected-authentication"), (8, "correlation-info")];

/// Flags of `RDP_NEG_RSP` ([MS-RDPBCGR] 2.2.1.2.1).
const RESPONSE_FLAG_NAMES: [(u32, &str); 5] = [
    (1, "extended-client-data"),
    (2, "graphics-pipeline"),
    (4, "reserved"),
    (8, "restricted-admin"),
    (16, "redirected-authentication"),
];

/// Transports of the multitransport blocks ([MS-RDPBCGR] 2.2.1.3.8).
const TRANSPORTS: [(u32, &str); 4] =
    [(1, "udp-reliable"), (4, "udp-lossy"), (0x100, "udp-preferred"), (0x200, "soft-sync")];

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

/// What is awaited.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The Connection Request, or a preconnection PDU before it.
    #[default]
    Connecting,
    /// Behind a preconnection PDU the client began with TLS: the server must too.
    Unnegotiated,
    /// TLS was chosen and its first bytes are awaited.
    Securing,
    /// Standard security: the client's MCS Connect Initial.
    Settings,
    /// The server's MCS Connect Response.
    Settled,
    Done,
}

#[derive(Debug)]
struct Rdp {
    inboxes: Ends<Inbox>,
    stage: Stage,
    led: bool,
    requested: bool,
    /// The request's text and when it passed, until it is clear that the server speaks RDP too.
    untold: Option<(Timestamp, Vec<u8>)>,
    /// The confirm is a question that the client answers without its user.
    timed: bool,
}

impl Default for Rdp {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, stage: Stage::Connecting, led: false, requested: false, untold: None, timed: false }
    }
}

impl Analyzer for Rdp {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done {
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "rdp.beyond-buffer", events);
        }
        match (self.stage, pdu.dir) {
            (Stage::Connecting, Direction::Orig) if self.requested => self.on_early(pdu.at, events),
            (Stage::Connecting, Direction::Orig) => self.on_request(events),
            (Stage::Connecting, Direction::Resp) => self.on_confirm(events),
            (Stage::Unnegotiated, Direction::Resp) => self.on_unnegotiated(pdu.at, events),
            (Stage::Securing, _) => self.on_tls(pdu.at, pdu.dir, events),
            (Stage::Settings, Direction::Orig) => self.on_client_settings(events),
            (Stage::Settled, Direction::Resp) => self.on_server_settings(events),
            _ => {}
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        self.tell_request(events);
        self.settle(at, dir, events);
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        self.tell_request(events);
    }
}

impl Rdp {
    /// Passes over a preconnection PDU; `false` while it is not whole.
    fn on_lead(&mut self, events: &mut Events) -> bool {
        match Lead::read(self.inboxes.orig.bytes()) {
            Lead::More => return false,
            Lead::Not => {}
            Lead::Whole { wanted, size } => {
                let at = self.inboxes.orig.time_of(size - 1);
                events.attribute(at, Direction::Orig, PRECONNECTION, wanted);
                self.inboxes.orig.consume(size);
                self.led = true;
            }
        }
        true
    }

    fn on_request(&mut self, events: &mut Events) {
        if !self.led && !self.on_lead(events) {
            return;
        }
        let inbox = &mut self.inboxes.orig;
        if self.led && matches!(inbox.bytes(), [] | [0x16]) {
            return;
        }
        if self.led && inbox.bytes().starts_with(&[0x16, 3]) {
            self.stage = Stage::Unnegotiated;
            return;
        }
        let at = inbox.time_of(inbox.bytes().len());
        match Tpdu::read(inbox.bytes()) {
            Unit::More => {}
            Unit::Whole(tpdu) if tpdu.code == CONNECTION_REQUEST => {
                let at = inbox.time_of(tpdu.size - 1);
                let Some(request) = Request::read(tpdu.body) else {
                    self.give_up(at, Direction::Orig, "rdp.request-malformed", events);
                    return;
                };
                let known = !request.is_bare() || request.correlation.is_some();
                self.untold = known.then(|| (at, tpdu.body.to_vec()));
                events.ask(at, Direction::Orig, Layer::Rdp, "connection-request");
                self.requested = true;
                let size = tpdu.size;
                inbox.consume(size);
                self.on_early(at, events);
            }
            Unit::Whole(_) | Unit::Not => self.give_up(at, Direction::Orig, "rdp.not-a-connection-request", events),
        }
    }

    fn tell_request(&mut self, events: &mut Events) {
        if let Some((at, body)) = self.untold.take()
            && let Some(request) = Request::read(&body)
        {
            tell_request(at, &request, events);
        }
    }

    /// The client goes on although no confirm was seen: the capture has only its direction. Bytes of TLS belong to TLS.
    fn on_early(&mut self, at: Timestamp, events: &mut Events) {
        if self.inboxes.orig.bytes().starts_with(&[0x16, 3]) {
            self.tell_request(events);
            self.hand_over(at, Direction::Orig, events);
        }
    }

    /// TLS from the client without a negotiation; TLS from the server says that both mean it.
    fn on_unnegotiated(&mut self, at: Timestamp, events: &mut Events) {
        match self.inboxes.resp.bytes() {
            [] | [0x16] => {}
            [0x16, 3, ..] => {
                events.confirmed(at, Direction::Resp);
                events.link(at, Direction::Resp, Link::Pair("rdp"));
                self.hand_over(at, Direction::Resp, events);
            }
            _ => self.give_up(at, Direction::Resp, "rdp.no-tls", events),
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
        let (first, at) = (inbox.time_of(0), inbox.time_of(tpdu.size - 1));
        let Some(confirm) = Confirm::read(tpdu.body) else {
            self.give_up(at, Direction::Resp, "rdp.confirm-malformed", events);
            return;
        };
        let size = tpdu.size;
        self.inboxes.resp.consume(size);
        self.tell_request(events);
        if self.requested {
            events.answer(first, Direction::Resp, Layer::Rdp, "connection-request");
            events.confirmed(at, Direction::Resp);
            events.link(at, Direction::Resp, Link::Pair("rdp"));
        }
        self.on_choice(at, confirm, events);
    }

    fn on_choice(&mut self, at: Timestamp, confirm: Confirm, events: &mut Events) {
        let dir = Direction::Resp;
        let (protocol, flags) = match confirm {
            Confirm::Failed(code) => {
                events.attribute(at, dir, FAILURE, failure_name(code));
                self.settle(at, dir, events);
                return;
            }
            Confirm::Bare => (0, 0),
            Confirm::Chosen(protocol, flags) => (protocol, flags),
        };
        events.attribute(at, dir, SELECTED, security_names(protocol));
        let flags = joined(&RESPONSE_FLAG_NAMES, u32::from(flags));
        if !flags.is_empty() {
            events.attribute(at, dir, RESPONSE_FLAGS, flags);
        }
        // Before CredSSP and the like many clients ask their user for a password.
        self.timed = protocol <= 1;
        if self.timed {
            events.ask(at, dir, Layer::Rdp, "connection-confirm");
        }
        if protocol == 0 {
            self.stage = Stage::Settings;
            self.on_client_settings(events);
        } else {
            self.stage = Stage::Securing;
            // Whoever has said something more, however it was cut.
            let waiting = |inbox: &Inbox| (!inbox.bytes().is_empty()).then(|| inbox.time_of(0).max(at));
            if let Some(at) = waiting(&self.inboxes.orig) {
                self.on_tls(at, Direction::Orig, events);
            } else if let Some(at) = waiting(&self.inboxes.resp) {
                self.on_tls(at, Direction::Resp, events);
            }
        }
    }

    /// The first bytes behind a confirm that chose TLS: the client's, unless only the server's direction was captured.
    fn on_tls(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if dir == Direction::Orig && self.timed {
            events.answer(at, dir, Layer::Rdp, "connection-confirm");
        }
        self.hand_over(at, dir, events);
    }

    fn on_client_settings(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.orig;
        let dir = Direction::Orig;
        match Tpdu::read(inbox.bytes()) {
            Unit::More => {}
            Unit::Whole(tpdu) if tpdu.is(CONNECT_INITIAL) => {
                let (first, at) = (inbox.time_of(0), inbox.time_of(tpdu.size - 1));
                events.answer(first, dir, Layer::Rdp, "connection-confirm");
                if let Some(settings) = ClientSettings::read(tpdu.body) {
                    tell_client_settings(at, settings, events);
                }
                events.ask(at, dir, Layer::Rdp, "connect-initial");
                let size = tpdu.size;
                self.inboxes.orig.consume(size);
                self.stage = Stage::Settled;
                self.on_server_settings(events);
            }
            Unit::Whole(_) | Unit::Not => {
                let at = inbox.time_of(inbox.bytes().len());
                self.give_up(at, dir, "rdp.no-connect-initial", events);
            }
        }
    }

    fn on_server_settings(&mut self, events: &mut Events) {
        let inbox = &self.inboxes.resp;
        let dir = Direction::Resp;
        let at = match Tpdu::read(inbox.bytes()) {
            Unit::More => return,
            Unit::Whole(tpdu) if tpdu.is(CONNECT_RESPONSE) => {
                let (first, at) = (inbox.time_of(0), inbox.time_of(tpdu.size - 1));
                events.answer(first, dir, Layer::Rdp, "connect-initial");
                if let Some(settings) = ServerSettings::read(tpdu.body) {
                    events.attribute(at, dir, SERVER_VERSION, settings.version);
                    if let Some((method, level)) = settings.encryption {
                        events.attribute(at, dir, ENCRYPTION, encryption_name(method, level));
                    }
                }
                at
            }
            Unit::Whole(_) | Unit::Not => {
                let at = inbox.time_of(inbox.bytes().len());
                events.violation(at, dir, "rdp.no-connect-response");
                at
            }
        };
        self.settle(at, dir, events);
    }

    fn hand_over(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        events.handover(at, dir, "tls", true, unused(&self.inboxes));
        self.settle(at, dir, events);
    }

    fn give_up(&mut self, at: Timestamp, dir: Direction, fault: &'static str, events: &mut Events) {
        // Whose answer is no answer of RDP was not asked by RDP in earnest.
        self.untold = None;
        events.violation(at, dir, fault);
        self.settle(at, dir, events);
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.stage = Stage::Done;
        events.settled(at, dir);
    }
}

fn tell_request(at: Timestamp, request: &Request<'_>, events: &mut Events) {
    let dir = Direction::Orig;
    if let Some(cookie) = request.cookie {
        let cookie = printable(cookie, TEXT_KEPT);
        if !cookie.is_empty() {
            events.claim(at, dir, Claim::new("rdp-cookie", Whereabouts::End(dir), IdentityKind::User, cookie.as_str()));
        }
        events.attribute(at, dir, COOKIE, cookie);
    }
    if let Some(token) = request.token {
        events.attribute(at, dir, TOKEN, printable(token, TEXT_KEPT));
        if let Some(target) = token.strip_prefix(b"msts=").and_then(routing_target) {
            events.attribute(at, dir, TARGET, target.to_string());
        }
    }
    if let Some(asked) = request.negotiation {
        events.attribute(at, dir, REQUESTED, security_names(asked.value));
        let flags = joined(&REQUEST_FLAGS, u32::from(asked.flags));
        if !flags.is_empty() {
            events.attribute(at, dir, FLAGS, flags);
        }
    }
    if let Some(id) = request.correlation {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        events.attribute(at, dir, CORRELATION, hex);
        events.link(at, dir, Link::token("rdp", id));
    }
}

fn tell_client_settings(at: Timestamp, settings: ClientSettings, events: &mut Events) {
    let dir = Direction::Orig;
    if !settings.name.is_empty() {
        let name = settings.name.as_str();
        events.claim(at, dir, Claim::new("rdp-client-name", Whereabouts::End(dir), IdentityKind::Host, name));
    }
    events.attribute(at, dir, CLIENT_NAME, settings.name);
    events.attribute(at, dir, CLIENT_BUILD, settings.build.to_string());
    events.attribute(at, dir, CLIENT_VERSION, settings.version);
    events.attribute(at, dir, DESKTOP_SIZE, format!("{}x{}", settings.desktop.0, settings.desktop.1));
    if !settings.channels.is_empty() {
        events.attribute(at, dir, CHANNELS, settings.channels);
    }
    if let Some(transports) = settings.transports {
        events.attribute(at, dir, MULTITRANSPORT, joined(&TRANSPORTS, transports));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::codec::rdp_negotiation::DATA;
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

    /// The client's core and network data of [MS-RDPBCGR] 4.1.3.
    fn settings() -> Vec<u8> {
        let mut body = vec![0x7f, 0x65, 0x82, 0x01, 0x94];
        body.extend([0; 40]);
        body.extend(b"Duca\x81\x10\x01\xc0\xa0\x00\x04\x00\x08\x00\x00\x05\x00\x04");
        body.extend([9; 8]);
        body.extend(3790u32.to_le_bytes());
        let mut name: Vec<u8> = "ELTONS-DEV2".encode_utf16().flat_map(u16::to_le_bytes).collect();
        name.resize(32, 0);
        body.extend(name);
        body.extend([0; 104]);
        body.extend(b"\x03\xc0\x20\x00\x02\x00\x00\x00rdpdr\0\0\0\0\0\x80\x80cliprdr\0\0\0\xa0\xc0");
        data(&body)
    }

    /// The server's of 4.1.4.
    fn server_settings() -> Vec<u8> {
        let mut body = vec![0x7f, 0x66, 0x82, 0x01, 0x45];
        body.extend([0; 40]);
        body.extend(b"McDn\x81\x08\x01\x0c\x08\x00\x04\x00\x08\x00");
        body.extend(b"\x02\x0c\x0c\x00\x02\x00\x00\x00\x02\x00\x00\x00");
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

    /// A ClientHello's first bytes.
    const HELLO: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0];

    /// Without what a handover holds: that depends on how the stream is cut.
    fn without_rest(events: Vec<Event>) -> Vec<Event> {
        let empty = |event: Event| match event.kind {
            EventKind::Handover { to, as_carrier, .. } => {
                Event { kind: EventKind::Handover { to, as_carrier, rest: Vec::new() }, ..event }
            }
            _ => event,
        };
        events.into_iter().map(empty).collect()
    }

    #[test]
    fn tls_is_asked_for_granted_and_handed_over() {
        let turns = [(Orig, request()), (Resp, confirm(&[2, 0x0b, 8, 0, 1, 0, 0, 0])), (Orig, HELLO.to_vec())];
        let events = run(&turns, 4096);
        let flags = "extended-client-data,graphics-pipeline,restricted-admin";
        let expected = [(COOKIE, "eltons"), (REQUESTED, "tls,credssp"), (SELECTED, "tls"), (RESPONSE_FLAGS, flags)];
        assert_eq!(attributes(&events), expected);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert!(events.iter().any(|e| e.kind == EventKind::Link(Link::Pair("rdp"))));
        let handed = EventKind::Handover { to: "tls", as_carrier: true, rest: Vec::new() };
        assert!(without_rest(events.clone()).iter().any(|e| e.kind == handed));
        let expected = [
            (testkit::at(0), testkit::at(1), "connection-request"),
            (testkit::at(1), testkit::at(2), "connection-confirm"),
        ];
        assert_eq!(testkit::loops(&events), expected);
        // With CredSSP the client may wait for its user.
        let mut patient = turns;
        patient[1].1 = confirm(&[2, 0, 8, 0, 2, 0, 0, 0]);
        assert_eq!(testkit::loops(&run(&patient, 4096)).len(), 1);
    }

    /// What a server says behind its confirm hands the connection over, in the same segment as well.
    #[test]
    fn a_server_that_goes_on_is_read_the_same_however_it_is_cut() {
        let mut answer = confirm(&[2, 0, 8, 0, 2, 0, 0, 0]);
        answer.extend([9; 12]);
        let turns =
            [(Direction::Orig, request()), (Direction::Resp, answer), (Direction::Orig, vec![0x16, 3, 1, 0, 1, 0])];
        let whole = run(&turns, usize::MAX);
        assert!(whole.iter().any(|e| matches!(e.kind, EventKind::Handover { .. }) && e.dir == Direction::Resp));
        for piece in 1..30 {
            assert_eq!(without_rest(run(&turns, piece)), without_rest(whole.clone()), "{piece}");
        }
    }

    #[test]
    fn a_load_balancer_is_told_by_its_token() {
        // The example of [MS-RDPBCGR] 3.2.5.3.1: 10.55.38.172, port 3389.
        let token = tpkt(CONNECTION_REQUEST, b"Cookie: msts=2888185610.15629.0000\r\n\x01\x00\x08\x00\x01\x00\x00\x00");
        let told = run(&[(Orig, token)], 4096);
        assert_eq!(testkit::said(&told, TARGET), Some("10.55.38.172:3389"));
        let farm = b"tsv://MS Terminal Services Plugin.1.Desks\r\n\x01\x00\x08\x00\x01\x00\x00\x00";
        let told = run(&[(Orig, tpkt(CONNECTION_REQUEST, farm))], 4096);
        assert_eq!(testkit::said(&told, TOKEN), Some("tsv://MS Terminal Services Plugin.1.Desks"));
    }

    #[test]
    fn a_correlation_id_stands_behind_the_request() {
        let mut body = vec![1, 8, 8, 0, 3, 0, 0, 0, 6, 0, 36, 0];
        body.extend([0xab; 16]);
        body.extend([0; 16]);
        let told = run(&[(Orig, tpkt(CONNECTION_REQUEST, &body))], 4096);
        assert_eq!(testkit::said(&told, CORRELATION), Some("ab".repeat(16).as_str()));
        assert!(told.iter().any(|e| e.kind == EventKind::Link(Link::token("rdp", &[0xab; 16]))));
        body.pop();
        assert_eq!(testkit::probe(&RDP, Carrier::Stream, &tpkt(CONNECTION_REQUEST, &body), b""), Probe::NoMatch);
    }

    /// What Hyper-V's console client sends first: version 2, with a virtual machine's GUID.
    fn lead(text: &str) -> Vec<u8> {
        let text: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let (size, units) = (u32::try_from(text.len()).unwrap() + 18, u16::try_from(text.len() / 2).unwrap());
        [&size.to_le_bytes()[..], &[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], &units.to_le_bytes(), &text].concat()
    }

    #[test]
    fn a_preconnection_pdu_names_the_virtual_machine() {
        let guid = "B3D5444C-2611-405A-9CA0-7AA8DA94DF0B";
        let tls = [lead(guid), HELLO.to_vec()].concat();
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&RDP, Carrier::Stream, orig, resp);
        assert_eq!((probe(&lead(guid), b""), probe(&tls, b"")), (Probe::NeedMore, Probe::Match));
        assert_eq!(probe(&[lead(guid), request()].concat(), b""), Probe::Match);
        assert_eq!(probe(&[lead(guid), b"GET /".to_vec()].concat(), b""), Probe::NoMatch);
        assert_eq!(probe(HELLO, HELLO), Probe::NoMatch);
        let events = run(&[(Orig, tls.clone()), (Resp, vec![0x16, 3, 3, 0, 9])], 7);
        assert_eq!(attributes(&events), [(PRECONNECTION, guid)]);
        assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
        assert!(events.iter().any(|e| matches!(e.kind, EventKind::Handover { to: "tls", .. })));
        let refused = run(&[(Orig, tls), (Resp, b"HTTP/1.1 400".to_vec())], 4096);
        assert!(!refused.iter().any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn standard_security_shows_name_and_build_and_no_keyboard() {
        let bare = tpkt(CONNECTION_REQUEST, b"");
        let turns = [(Orig, bare.clone()), (Resp, confirm(b"")), (Orig, settings()), (Resp, server_settings())];
        let events = run(&turns, 4096);
        let expected = [
            (SELECTED, "rdp"),
            (CLIENT_NAME, "ELTONS-DEV2"),
            (CLIENT_BUILD, "3790"),
            (CLIENT_VERSION, "5.0"),
            (DESKTOP_SIZE, "1280x1024"),
            (CHANNELS, "rdpdr,cliprdr"),
            (SERVER_VERSION, "5.0"),
            (ENCRYPTION, "rc4-128/client-compatible"),
        ];
        assert_eq!(attributes(&events), expected);
        assert_eq!(
            testkit::loops(&events).iter().map(|l| l.2).collect::<Vec<_>>(),
            ["connection-request", "connection-confirm", "connect-initial"]
        );
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
        let client = run(&[(Orig, request()), (Orig, HELLO.to_vec())], 4096);
        assert!(client.iter().any(|e| matches!(e.kind, EventKind::Handover { .. })));
        let chosen = confirm(&[2, 0, 8, 0, 1, 0, 0, 0]);
        assert_eq!(testkit::probe(&RDP, Carrier::Stream, b"", &chosen), Probe::Match);
        let server = run(&[(Resp, chosen)], 4096);
        assert_eq!(attributes(&server), [(SELECTED, "tls")]);
        let both = run(&[(Resp, confirm(&[2, 0, 8, 0, 1, 0, 0, 0])), (Resp, vec![0x16, 3, 3])], 4096);
        assert!(both.iter().any(|e| matches!(e.kind, EventKind::Handover { .. })));
        assert!(!client.iter().chain(&server).any(|e| e.kind == EventKind::Confirmed));
    }

    #[test]
    fn other_users_of_tpkt_and_of_the_port_are_not_rdp() {
        let probe = |bytes: &[u8]| testkit::probe(&RDP, Carrier::Stream, bytes, b"");
        let scanned = run(&[(Orig, request()), (Resp, b"\0\x01\0\0\0\x03\x01\x81\x01".to_vec())], 4096);
        assert!(attributes(&scanned).is_empty() && scanned.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
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
            let last = if standard { settings() } else { HELLO.to_vec() };
            let turns = [(Orig, request()), (Resp, confirm(value)), (Orig, last), (Resp, server_settings())];
            prop_assert_eq!(without_rest(run(&turns, piece)), without_rest(run(&turns, usize::MAX)));
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
