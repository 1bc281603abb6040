//! HTTP/1: what the first request asks and who answers; and CONNECT, HTTP's way to relay a connection.
//!
//! Reads: the head of the first request and of its response, and HTTP/2's preface. Emits: method, host, path, user
//! agent, status, server, content type, upgrade, WebSocket subprotocol; the target of a CONNECT, how its client
//! identified itself, and the handover of what it carries; the handover of a WebSocket; claims (`ntlm`) where the client
//! signs on with NTLM; loops where the client does what the answer tells it to; the link to a call whose two
//! descriptions are bodies here. Does not: read other bodies, more than the first requests, or tell what stands behind a
//! `?`.
//!
//! Reference: RFC 9112 (HTTP/1.1), RFC 9110 9.3.6 (CONNECT), RFC 9113 3.4 (HTTP/2 preface), RFC 6455 (WebSocket), RFC
//! 9725 (WHIP).

use crate::base::{Direction, Ends, IdentityKind, Sureness, Timestamp, Whereabouts};
use crate::protocol::codec::fields::{fields, head_size};
use crate::protocol::codec::http_waits::{Asked, Told, Waits, ntlm};
use crate::protocol::codec::ice::{fragment_ended_in, fragment_in, link_of};
use crate::protocol::codec::ntlm::{Ntlm, NtlmNames};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{
    Analyzer, CARGO, CARGO_PROTOCOL, Carrier, Category, Claim, Events, Key, Opening, Pdu, Probe, Protocol,
};

/// The registry's entry for plain requests.
pub(crate) static HTTP: Protocol = Protocol {
    name: "http",
    category: Category::Web,
    carriers: &[Carrier::Stream],
    ports: &[80, 8080, 8000, 3128, 5985],
    attributes: &[VERSION, METHOD, HOST, PATH, USER_AGENT, STATUS, SERVER, CONTENT_TYPE, UPGRADE, SUBPROTOCOL, CHOSEN],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, false),
    analyzer: || Box::new(Http::default()),
};

/// The registry's entry for CONNECT.
pub(crate) static HTTP_CONNECT: Protocol = Protocol {
    name: "http-connect",
    category: Category::Proxy,
    carriers: &[Carrier::Stream],
    ports: &[3128, 8080, 8000, 80, 8888],
    attributes: &[
        VERSION,
        METHOD,
        HOST,
        PATH,
        USER_AGENT,
        STATUS,
        SERVER,
        CONTENT_TYPE,
        UPGRADE,
        SUBPROTOCOL,
        CHOSEN,
        TARGET,
        AUTH,
        REPLY,
        CARGO_PROTOCOL,
    ],
    signs: &[],
    lasting: false,
    probe: |opening| probe(opening, true),
    analyzer: || Box::new(Http::default()),
};

const VERSION: Key = "http.version";
const METHOD: Key = "http.method";
const HOST: Key = "http.host";
const PATH: Key = "http.path";
const USER_AGENT: Key = "http.user_agent";
const STATUS: Key = "http.status";
const SERVER: Key = "http.server";
const CONTENT_TYPE: Key = "http.content_type";
const UPGRADE: Key = "http.upgrade";
/// What the client offers to speak over a WebSocket.
const SUBPROTOCOL: Key = "http.subprotocol";
/// What the server chose of it.
const CHOSEN: Key = "websocket.protocol";
const TARGET: Key = "proxy.target";
const AUTH: Key = "proxy.auth";
const REPLY: Key = "proxy.reply";

/// Bytes of a head that are read; servers commonly refuse more than 8 KiB.
const HEAD_LIMIT: usize = 16 * 1024;
/// Characters of a value that are kept.
const TEXT_KEPT: usize = 512;
/// Characters of an authentication scheme that are kept; the longest registered has 13 (IANA: SCRAM-SHA-256).
const SCHEME_KEPT: usize = 16;
/// The longest method registered has 18 letters (IANA: UPDATEREDIRECTREF); remote-desktop gateways and SSTP add theirs.
const METHOD_LIMIT: usize = 24;
/// Requests of one connection that are read: for a CONNECT that will be accepted (each 407 costs one), for one that a
/// page makes behind those for its parts.
const ROUNDS: u8 = 8;
/// Bytes after which no further request is awaited that nothing announces.
const AWAITED: usize = 64 * 1024;
/// Bytes of a body that may describe a call; a browser's offer of all it can do has some 6 kB.
const DESCRIPTION_LIMIT: usize = 16 * 1024;

/// Bytes of an HTTP/2 frame header.
const FRAME_HEADER: usize = 9;
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The originator asks, unless the capture began too late to show who that is.
fn probe(opening: &Opening<'_>, connect: bool) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    match [roles(orig, resp, connect), roles(resp, orig, connect)] {
        [Probe::Match, _] | [_, Probe::Match] => Probe::Match,
        [Probe::NeedMore, _] | [_, Probe::NeedMore] => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

fn roles(orig: &[u8], resp: &[u8], connect: bool) -> Probe {
    match answer(resp) {
        Probe::NoMatch => return Probe::NoMatch,
        // Of a response alone nobody can tell what it answers: it counts as a plain one.
        Probe::Match if orig.is_empty() && !connect => return Probe::Match,
        _ if orig.is_empty() => return Probe::NeedMore,
        _ => {}
    }
    match method(orig) {
        Line::More => Probe::NeedMore,
        Line::Not => Probe::NoMatch,
        Line::Method(name) if (name == b"CONNECT") != connect => Probe::NoMatch,
        Line::Method(_) => request_line(orig),
    }
}

enum Line<'a> {
    More,
    Not,
    Method(&'a [u8]),
}

/// The method before the first space.
fn method(bytes: &[u8]) -> Line<'_> {
    let name = bytes.split(|b| *b == b' ').next().unwrap_or_default();
    let token = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    if name.len() > METHOD_LIMIT || !name.iter().all(token) {
        Line::Not
    } else if name.len() == bytes.len() {
        Line::More
    } else if name.is_empty() {
        Line::Not
    } else {
        Line::Method(name)
    }
}

/// A request line is one only with its version at the end: RTSP, SIP and others look the same up to there.
fn request_line(bytes: &[u8]) -> Probe {
    let window = bytes.get(..HEAD_LIMIT).unwrap_or(bytes);
    let line = window.split(|b| *b == b'\n').next().unwrap_or_default();
    let whole = line.len() < window.len();
    match request_parts(line) {
        _ if line.contains(&0) || line.len() == HEAD_LIMIT => Probe::NoMatch,
        (_, Some(_)) if whole => Probe::Match,
        _ if whole => Probe::NoMatch,
        _ => Probe::NeedMore,
    }
}

/// Target and version of a request line.
fn request_parts(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    let line = line.trim_ascii();
    let (before, last) = line.iter().rposition(|b| *b == b' ').map_or((line, line), |i| line.split_at(i));
    let target = before.iter().position(|b| *b == b' ').and_then(|i| before.get(i + 1..)).unwrap_or_default();
    let version = last.trim_ascii().strip_prefix(b"HTTP/").filter(|v| matches!(v, [b'0'..=b'2', b'.', b'0'..=b'9']));
    (target.trim_ascii(), version)
}

/// What a server may begin with: a status line, or HTTP/2's SETTINGS, which need not wait for the client's preface.
fn answer(bytes: &[u8]) -> Probe {
    let header = bytes.get(..FRAME_HEADER).unwrap_or(bytes);
    let settings = header.iter().enumerate().all(|(i, b)| match i {
        1 | 2 | 4 => true,
        3 => *b == 4,
        _ => *b == 0,
    });
    match status_line(bytes) {
        Probe::NoMatch if settings => Probe::NeedMore,
        verdict => verdict,
    }
}

/// `HTTP/1.x ddd`.
fn status_line(bytes: &[u8]) -> Probe {
    const BEGIN: &[u8] = b"HTTP/1.";
    match bytes.split_at_checked(BEGIN.len() + 5) {
        None if bytes.iter().zip(BEGIN).all(|(a, b)| a == b) => Probe::NeedMore,
        Some((head, _)) if status(head).is_some() => Probe::Match,
        _ => Probe::NoMatch,
    }
}

/// Version and status of a status line.
fn status(line: &[u8]) -> Option<(u8, u16)> {
    let [minor @ b'0'..=b'9', b' ', code @ ..] = line.strip_prefix(b"HTTP/1.")? else { return None };
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = code else { return None };
    let digit = |byte: &u8| u16::from(byte - b'0');
    Some((*minor, digit(a) * 100 + digit(b) * 10 + digit(c)))
}

/// Where the conversation is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A request and its response are awaited.
    #[default]
    Heads,
    /// HTTP/2's first frame from the server is awaited.
    Frames,
    Done,
}

#[derive(Debug)]
struct Http {
    inboxes: Ends<Inbox>,
    stage: Stage,
    /// The end that asks, once its request line was read.
    client: Option<Direction>,
    /// The newest request's method was CONNECT.
    connecting: bool,
    /// It asked for a WebSocket.
    upgrading: bool,
    /// A request was read and its response was not.
    asked: bool,
    /// The answer told the client to ask again.
    awaited: bool,
    /// A page was answered, or a question that stands before another request.
    page: bool,
    rounds: u8,
    /// Who wants to sign on, and waits for the answer.
    names: Option<(Timestamp, NtlmNames)>,
    confirmed: bool,
    told: Ends<bool>,
    waits: Waits,
    calls: Calls,
    /// Bytes read.
    read: usize,
}

/// Bodies that describe one end of a call: an offer in a request and the answer in its response (WHIP, WHEP, and what
/// pages of their own make of it), or the other way round in two requests.
#[derive(Debug, Default)]
struct Calls {
    /// The body at hand, if its type is that of a description.
    kept: Ends<Option<Body>>,
    fragments: Ends<Option<Vec<u8>>>,
    linked: bool,
}

#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// How many there will be, where the head says so.
    len: Option<usize>,
}

impl Calls {
    /// A head of `dir` has passed; from now on its body does. JSON is looked at in a request, and in the response to one
    /// that described something.
    fn on_head(&mut self, dir: Direction, answers: bool, kind: &Content) {
        let name = kind.name.as_deref().and_then(|name| name.split(';').next()).unwrap_or_default().trim();
        let json = name.eq_ignore_ascii_case("application/json");
        let wanted = name.eq_ignore_ascii_case("application/sdp")
            || json && (!answers || self.fragments.of(dir.flip()).is_some());
        *self.kept.of_mut(dir) = (wanted && !self.linked).then(|| Body { bytes: Vec::new(), len: kind.len });
    }

    /// Bytes of a body; says whether the call is known now.
    fn on_body(&mut self, dir: Direction, bytes: &[u8], at: Timestamp, events: &mut Events) -> bool {
        let Some(body) = self.kept.of_mut(dir) else { return false };
        let end = body.len.unwrap_or(usize::MAX).min(DESCRIPTION_LIMIT);
        let room = end.saturating_sub(body.bytes.len());
        body.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if body.bytes.len() >= end {
            return self.on_turn(at, dir, events);
        }
        // Of unknown length: as soon as it can be told.
        let found = if body.len.is_none() { fragment_ended_in(&body.bytes) } else { None };
        found.is_some_and(|fragment| self.on_fragment(at, dir, fragment, events))
    }

    /// The other end speaks: a body of this one is whole.
    fn on_turn(&mut self, at: Timestamp, dir: Direction, events: &mut Events) -> bool {
        let found = self.kept.of_mut(dir).take().and_then(|body| fragment_in(&body.bytes));
        found.is_some_and(|fragment| self.on_fragment(at, dir, fragment, events))
    }

    fn on_fragment(&mut self, at: Timestamp, dir: Direction, fragment: Vec<u8>, events: &mut Events) -> bool {
        *self.kept.of_mut(dir) = None;
        *self.fragments.of_mut(dir) = Some(fragment);
        if let Ends { orig: Some(orig), resp: Some(resp) } = &self.fragments
            && let Some(link) = link_of(orig, resp)
        {
            self.linked = true;
            self.kept = Ends::default();
            events.link(at, dir, link);
        }
        self.linked
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(HEAD_LIMIT), resp: Inbox::new(HEAD_LIMIT) },
            stage: Stage::Heads,
            client: None,
            connecting: false,
            upgrading: false,
            asked: false,
            awaited: false,
            page: false,
            rounds: 0,
            names: None,
            confirmed: false,
            told: Ends::default(),
            waits: Waits::default(),
            calls: Calls::default(),
            read: 0,
        }
    }
}

impl Analyzer for Http {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done || pdu.bytes.is_empty() {
            return;
        }
        self.read = self.read.saturating_add(pdu.bytes.len());
        if self.is_body(pdu.dir) && self.inboxes.of(pdu.dir).bytes().is_empty() {
            return self.on_body(pdu.at, pdu.dir, pdu.bytes, events);
        }
        let mut rest = pdu.bytes;
        // A piece may be larger than the room left: fill it, read, and go on with what remains.
        while !rest.is_empty() && self.stage != Stage::Done {
            let inbox = self.inboxes.of_mut(pdu.dir);
            let room = HEAD_LIMIT.saturating_sub(inbox.bytes().len());
            let (part, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            if !inbox.push(pdu.at, part) {
                break;
            }
            rest = later;
            self.read(pdu.dir, events);
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        if self.stage != Stage::Done {
            self.settle(at, dir, events);
        }
    }

    fn on_close(&mut self, _at: Timestamp, events: &mut Events) {
        if let Some(client) = self.client {
            self.tell_names(client, Sureness::Asked, events);
        }
    }
}

impl Http {
    fn read(&mut self, dir: Direction, events: &mut Events) {
        loop {
            let more = match self.stage {
                Stage::Heads => self.on_head(dir, events),
                Stage::Frames => {
                    self.on_frame(dir, events);
                    false
                }
                Stage::Done => false,
            };
            if !more {
                return;
            }
        }
    }

    /// Reads the next head of `dir`, if it is whole or can get no longer.
    fn on_head(&mut self, dir: Direction, events: &mut Events) -> bool {
        if self.is_body(dir) {
            let inbox = self.inboxes.of_mut(dir);
            if !inbox.bytes().is_empty() {
                let (at, bytes) = (inbox.time_of(0), inbox.bytes().to_vec());
                inbox.consume(bytes.len());
                self.on_body(at, dir, &bytes, events);
            }
            return false;
        }
        if self.is_waiting(dir) {
            // What follows a CONNECT is kept: it may be cargo sent ahead of the answer. The same where a WebSocket's first
            // frame passed early.
            let size = self.inboxes.of(dir).bytes().len();
            if size == HEAD_LIMIT {
                self.inboxes.of_mut(dir).consume(size);
            }
            return false;
        }
        let inbox = self.inboxes.of(dir);
        let bytes = inbox.bytes();
        if bytes.is_empty() || PREFACE.starts_with(bytes) && bytes.len() < PREFACE.len() {
            return false;
        }
        if bytes.starts_with(PREFACE) {
            self.on_preface(dir, events);
            return true;
        }
        let size = match head_size(bytes) {
            Some(size) => size,
            None if bytes.len() >= HEAD_LIMIT => bytes.len(),
            None => return false,
        };
        let (began, at) = (inbox.time_of(0), inbox.time_of(size - 1));
        let head = Head::read(bytes.get(..size).unwrap_or(bytes));
        self.inboxes.of_mut(dir).consume(size);
        match head {
            Head::Request(request) => self.on_request((began, at), dir, request, events),
            Head::Response(response) => self.on_response(at, dir, response, events),
            Head::Neither => {
                // Behind a request line the other end may be in the middle of something: not confirmed, not refuted.
                if self.client.is_none() {
                    events.violation(at, dir, "http.no-start-line");
                }
                self.settle(at, dir, events);
            }
        }
        true
    }

    /// Whether the client has asked and goes on sending before it is answered.
    fn is_waiting(&self, dir: Direction) -> bool {
        self.client == Some(dir) && self.asked
    }

    /// Whether what `dir` sends is a request's body, or the body of a response that was read: nobody's head.
    fn is_body(&self, dir: Direction) -> bool {
        let own = self.is_waiting(dir) && !(self.connecting || self.upgrading);
        self.stage == Stage::Heads && (own || self.client == Some(dir.flip()) && !self.asked)
    }

    fn on_body(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) {
        if self.client == Some(dir) {
            self.waits.on_body(at, dir, events);
        }
        let known = self.calls.on_body(dir, bytes, at, events);
        let idle = self.calls.kept.of(dir).is_none() && !self.asked && !self.awaited;
        if known || idle && self.read > AWAITED {
            self.settle(at, dir, events);
        }
    }

    fn on_preface(&mut self, dir: Direction, events: &mut Events) {
        let at = self.inboxes.of(dir).time_of(PREFACE.len() - 1);
        events.attribute(at, dir, VERSION, "2");
        self.client = Some(dir);
        self.stage = Stage::Frames;
        self.on_frame(dir.flip(), events);
    }

    /// The server's first HTTP/2 frame must be SETTINGS on stream 0.
    fn on_frame(&mut self, dir: Direction, events: &mut Events) {
        if self.client == Some(dir) {
            let size = self.inboxes.of(dir).bytes().len();
            self.inboxes.of_mut(dir).consume(size);
            return;
        }
        let inbox = self.inboxes.of(dir);
        let Some(header) = inbox.bytes().first_chunk::<FRAME_HEADER>() else { return };
        let at = inbox.time_of(FRAME_HEADER - 1);
        if matches!(header, [0, _, _, 4, _, 0, 0, 0, 0]) {
            events.confirmed(at, dir);
        } else {
            events.violation(at, dir, "http.no-settings-frame");
        }
        self.settle(at, dir, events);
    }

    /// A request, by the times of its first and its last byte.
    fn on_request(
        &mut self,
        (began, at): (Timestamp, Timestamp),
        dir: Direction,
        request: Request,
        events: &mut Events,
    ) {
        if self.client == Some(dir.flip()) {
            events.violation(at, dir, "http.two-clients");
            self.settle(at, dir, events);
            return;
        }
        self.client = Some(dir);
        self.asked = true;
        self.rounds += 1;
        self.connecting = request.method == "CONNECT";
        self.upgrading = is_websocket(request.upgrade.as_deref());
        self.page |= request.method == "OPTIONS";
        if let Some(Ntlm::Authenticate(names)) = request.ntlm {
            self.names = Some((at, names));
        }
        if !std::mem::replace(self.told.of_mut(dir), true) {
            events.attribute(at, dir, VERSION, request.version);
            events.attribute(at, dir, METHOD, request.method);
            if let Some(host) = request.host {
                events.attribute(at, dir, HOST, host);
            }
            if self.connecting {
                events.attribute(at, dir, TARGET, request.target);
            } else {
                events.attribute(at, dir, PATH, path(&request.target));
            }
            let fields =
                [(USER_AGENT, request.user_agent), (UPGRADE, request.upgrade), (SUBPROTOCOL, request.subprotocol)];
            for (key, value) in fields {
                if let Some(value) = value {
                    events.attribute(at, dir, key, value);
                }
            }
        }
        // Often only the second request has credentials.
        if let Some(scheme) = request.auth.filter(|_| self.connecting) {
            events.attribute(at, dir, AUTH, scheme);
        }
        self.waits.on_request(began, at, dir, request.asked, events);
        if self.calls.on_turn(at, dir.flip(), events) {
            return self.settle(at, dir, events);
        }
        self.calls.on_head(dir, false, &request.content);
        // What follows the head at once has not waited for an answer.
        self.read(dir, events);
        // A response that was overtaken by its request at the capture point is waiting already.
        self.read(dir.flip(), events);
    }

    fn on_response(&mut self, at: Timestamp, dir: Direction, response: Response, events: &mut Events) {
        if self.asked && !self.confirmed {
            self.confirmed = true;
            events.confirmed(at, dir);
        }
        let told_to = self.waits.on_response(at, dir, response.told, events);
        let interim = response.status / 100 == 1 && response.status != 101;
        if interim {
            return;
        }
        self.asked = false;
        if self.calls.on_turn(at, dir.flip(), events) {
            return self.settle(at, dir, events);
        }
        if response.status / 100 == 2 {
            self.calls.on_head(dir, true, &response.content);
        }
        let refused = matches!(response.status, 401 | 407);
        let page = response.content.name.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
        if refused {
            self.names = None;
        }
        self.tell_names(dir.flip(), Sureness::Accepted, events);
        let upgraded = response.status == 101 && self.upgrading && is_websocket(response.upgrade.as_deref());
        if !std::mem::replace(self.told.of_mut(dir), true) {
            if self.client.is_none() {
                events.attribute(at, dir, VERSION, response.version);
            }
            events.attribute(at, dir, STATUS, response.status.to_string());
            let fields =
                [(SERVER, response.server), (CONTENT_TYPE, response.content.name), (UPGRADE, response.upgrade)];
            for (key, value) in fields {
                if let Some(value) = value {
                    events.attribute(at, dir, key, value);
                }
            }
        }
        if upgraded {
            self.on_websocket(at, dir, response.subprotocol, events);
            return;
        }
        let accepted = response.status / 100 == 2;
        if self.connecting && (accepted || self.rounds >= ROUNDS) {
            events.attribute(at, dir, REPLY, response.status.to_string());
        }
        self.awaited = told_to || refused;
        self.page |= page;
        let described = self.calls.kept.of(dir).is_some();
        let goes_on = self.connecting || self.awaited || self.page && self.read <= AWAITED;
        // Where only the answers were captured, nobody knows where the next one begins.
        if self.client.is_none() || !described && (self.rounds >= ROUNDS || !goes_on) {
            self.settle(at, dir, events);
        } else if accepted && self.connecting {
            // What follows belongs to somebody else, whose own bytes tell who.
            self.stage = Stage::Done;
            events.handover(at, dir, CARGO, false, unused(&self.inboxes));
        } else {
            // Refused, often to ask for a password, or sent elsewhere, or with more to ask for.
            self.read(dir, events);
            self.read(dir.flip(), events);
        }
    }

    /// The server agreed to speak WebSocket, with what it chose of the protocols offered.
    fn on_websocket(&mut self, at: Timestamp, dir: Direction, subprotocol: Option<String>, events: &mut Events) {
        events.becomes(at, dir, "websocket", Some("http"));
        events.confirmed(at, dir);
        if let Some(name) = subprotocol {
            events.attribute(at, dir, CHOSEN, name);
        }
        events.handover(at, dir, "websocket", false, unused(&self.inboxes));
        self.settle(at, dir, events);
    }

    /// The server checks the account; the machine's name is its own word.
    fn tell_names(&mut self, dir: Direction, sureness: Sureness, events: &mut Events) {
        let Some((at, NtlmNames { user, workstation })) = self.names.take() else { return };
        let named = [(IdentityKind::User, user, sureness), (IdentityKind::Host, workstation, Sureness::Said)];
        for (kind, name, worth) in named {
            if let Some(name) = name {
                events.claim(at, dir, Claim::new("ntlm", Whereabouts::End(dir), kind, name).worth(worth));
            }
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::replace(&mut self.stage, Stage::Done) != Stage::Done {
            events.settled(at, dir);
        }
    }
}

#[derive(Debug, Default)]
struct Request {
    method: String,
    target: String,
    version: String,
    host: Option<String>,
    user_agent: Option<String>,
    upgrade: Option<String>,
    /// What a WebSocket is to carry.
    subprotocol: Option<String>,
    /// Scheme of its credentials for the proxy.
    auth: Option<String>,
    /// Its NTLM message, for the server or the proxy.
    ntlm: Option<Ntlm>,
    content: Content,
    asked: Asked,
}

#[derive(Debug, Default)]
struct Response {
    version: String,
    status: u16,
    server: Option<String>,
    content: Content,
    upgrade: Option<String>,
    subprotocol: Option<String>,
    told: Option<Told>,
}

/// What a body is.
#[derive(Debug, Default)]
struct Content {
    /// Its type.
    name: Option<String>,
    /// Its length in bytes.
    len: Option<usize>,
}

impl Content {
    fn of(head: &[u8]) -> Self {
        let len = field(head, "content-length").and_then(|len| len.parse().ok());
        Self { name: field(head, "content-type"), len }
    }
}

enum Head {
    Request(Request),
    Response(Response),
    Neither,
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let field = |name: &str| field(bytes, name);
        if let Some((minor, status)) = status(line) {
            let version = format!("1.{}", char::from(minor));
            return Self::Response(Response {
                version,
                status,
                server: field("server"),
                content: Content::of(bytes),
                upgrade: field("upgrade"),
                subprotocol: field("sec-websocket-protocol"),
                told: Told::read(status, bytes),
            });
        }
        let Line::Method(name) = method(line) else { return Self::Neither };
        let (target, Some(version)) = request_parts(line) else { return Self::Neither };
        Self::Request(Request {
            method: printable(name, METHOD_LIMIT),
            target: printable(target.split(|b| *b == b' ').next().unwrap_or_default(), TEXT_KEPT),
            version: printable(version, 3),
            host: field("host"),
            user_agent: field("user-agent"),
            upgrade: field("upgrade"),
            subprotocol: field("sec-websocket-protocol"),
            auth: field("proxy-authorization").map(|value| scheme(&value)),
            ntlm: ["authorization", "proxy-authorization"].iter().find_map(|name| ntlm(fields(bytes, name).next()?)),
            content: Content::of(bytes),
            asked: Asked::read(target.split(|b| *b == b' ').next().unwrap_or_default(), bytes),
        })
    }
}

/// How credentials are given (`basic`, `ntlm`), never the credentials.
fn scheme(value: &str) -> String {
    value.split(' ').next().unwrap_or_default().chars().take(SCHEME_KEPT).collect::<String>().to_ascii_lowercase()
}

/// Whether an `Upgrade` field names the WebSocket protocol (RFC 6455, 4.1).
fn is_websocket(upgrade: Option<&str>) -> bool {
    upgrade.is_some_and(|names| names.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket")))
}

/// The path of a request's target. What stands behind a `?` may hold passwords and is nobody's business.
fn path(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => path,
    }
}

/// The first field of that name with a value, as text.
fn field(head: &[u8], name: &str) -> Option<String> {
    fields(head, name).next().map(|value| printable(value, TEXT_KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use data_encoding::BASE64;
    use proptest::prelude::*;

    fn attributes(events: &[Event]) -> Vec<(Key, String)> {
        let pair = |e: &Event| match &e.kind {
            EventKind::Attribute { key, value } => Some((*key, value.clone())),
            _ => None,
        };
        events.iter().filter_map(pair).collect()
    }

    fn value(events: &[Event], key: Key) -> Option<String> {
        attributes(events).into_iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// An AUTHENTICATE message of CORP\\alice on PC7 ([MS-NLMP] 2.2.1.3).
    fn authenticate() -> String {
        let mut ntlm = b"NTLMSSP\0\x03\0\0\0".to_vec();
        ntlm.extend([0; 16]);
        for (offset, len) in [(64u32, 8u16), (72, 10), (82, 6)] {
            ntlm.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
            ntlm.extend(offset.to_le_bytes());
        }
        ntlm.extend([0; 8]);
        ntlm.extend([1, 0, 0, 0]);
        ntlm.extend("CORPalicePC7".encode_utf16().flat_map(u16::to_le_bytes));
        BASE64.encode(&ntlm)
    }

    /// A sign-on over three requests; the last answer has this status.
    fn sign_on(field: &str, scheme: &str, status: &str) -> Vec<(Direction, Vec<u8>)> {
        let refused = if field.starts_with("Proxy") { 407 } else { 401 };
        let begin = BASE64.encode(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
        let request = |token: &str| {
            format!("POST /wsman HTTP/1.1\r\nHost: srv\r\n{field}: {scheme} {token}\r\nContent-Length: 4\r\n\r\nbody")
        };
        let answer = |status: &str| format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nwords").into_bytes();
        vec![
            (Orig, request(&begin).into_bytes()),
            (Resp, answer(&refused.to_string())),
            (Orig, request(&authenticate()).into_bytes()),
            (Resp, answer(status)),
        ]
    }

    fn claims(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<String> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        let told = |e: &Event| match &e.kind {
            EventKind::Claim(c) => Some(format!("{} {:?} {}", c.identity.name, c.place, c.sureness.name())),
            _ => None,
        };
        testkit::stream(&HTTP, &turns, piece).iter().filter_map(told).collect()
    }

    #[test]
    fn who_signs_on_with_ntlm_is_told_once_the_server_accepts() {
        let known = ["CORP\\alice End(Orig) accepted", "PC7 End(Orig) said"];
        for (field, scheme) in
            [("Authorization", "NTLM"), ("authorization", "Negotiate"), ("Proxy-Authorization", "NTLM")]
        {
            for piece in [1, 7, 4096] {
                assert_eq!(claims(&sign_on(field, scheme, "200"), piece), known, "{field} {scheme} {piece}");
            }
        }
        assert!(claims(&sign_on("Authorization", "NTLM", "401"), 4096).is_empty(), "refused");
        let asked = sign_on("Authorization", "NTLM", "200");
        assert_eq!(claims(&asked[..3], 4096), ["CORP\\alice End(Orig) asked", "PC7 End(Orig) said"]);
        assert!(claims(&sign_on("X-Authorization", "NTLM", "200"), 4096).is_empty());
        assert!(claims(&sign_on("Authorization", "Basic", "200"), 4096).is_empty(), "a password stands there");
    }

    #[test]
    fn a_call_described_in_bodies_is_linked() {
        let describe = |fragment: &str| format!("v=0\r\ns=-\r\na=ice-ufrag:{fragment}\r\na=ice-pwd:x\r\n");
        let json = |fragment: &str| format!("{{\"type\":\"x\",\"sdp\":\"v=0\\r\\na=ice-ufrag:{fragment}\\r\\n\"}}");
        let ask = |line: &str, kind: &str, body: &str| {
            let len = body.len();
            format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n{body}")
                .into_bytes()
        };
        let tell = |status: &str, kind: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_bytes()
        };
        let linked = |turns: &[&[u8]]| {
            let turns: Vec<Turn<'_>> = [Orig, Resp].into_iter().cycle().zip(turns.iter().copied()).collect();
            let whole = testkit::stream(&HTTP, &turns, usize::MAX);
            for piece in [1, 7, 100] {
                assert_eq!(testkit::stream(&HTTP, &turns, piece), whole);
            }
            whole.into_iter().filter(|e| matches!(e.kind, EventKind::Link(_))).map(|e| e.kind).collect::<Vec<_>>()
        };
        let call = [EventKind::Link(link_of(b"abcd", b"wxyz").unwrap())];
        let (sdp, js) = ("application/sdp", "application/json; charset=utf-8");
        // RFC 9725, 4.2; and what pages of their own do.
        let offer = ask("POST /whip/endpoint", sdp, &describe("abcd"));
        let answer = tell("201 Created", sdp, &describe("wxyz"));
        assert_eq!(linked(&[&offer, &answer]), call);
        assert_eq!(linked(&[&ask("POST /offer", js, &json("abcd")), &tell("200 OK", js, &json("wxyz"))]), call);
        // Behind a page, and a question whether it may be asked.
        let page = [
            ask("GET /", "x", ""),
            tell("200 OK", "text/html", "<html>"),
            ask("GET /a.js", "x", ""),
            tell("200 OK", "text/javascript", "a"),
        ];
        let may = [ask("OPTIONS /whip/endpoint", "x", ""), b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()];
        for before in [&page[..], &may] {
            let turns: Vec<&[u8]> = before.iter().map(Vec::as_slice).chain([&offer[..], &answer]).collect();
            assert_eq!(linked(&turns), call);
        }
        // The server offers, the client answers with the next request.
        let empty = ask("POST /whep/endpoint", sdp, "");
        let offered = tell("201 Created", sdp, &describe("wxyz"));
        assert_eq!(linked(&[&empty, &offered, &ask("PATCH /whep/1", sdp, &describe("abcd")), &may[1]]), call);
        // One end alone, another type, a refusal, the same description sent back.
        for turns in [
            [&offer[..], &may[1]],
            [&offer, &tell("200 OK", "text/plain", &describe("wxyz"))],
            [&ask("POST /x", "text/plain", &describe("abcd")), &answer],
            [&offer, &tell("400 Bad Request", sdp, &describe("wxyz"))],
            [&offer, &tell("201 Created", sdp, &describe("abcd"))],
            [&offer, &tell("201 Created", sdp, &[&"x".repeat(DESCRIPTION_LIMIT), &describe("wxyz")[..]].concat())],
        ] {
            assert_eq!(linked(&turns), []);
        }
    }

    #[test]
    fn answers_alone_are_read_once() {
        let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
        let events = testkit::stream(&HTTP, &[(Resp, page), (Resp, &[b'x'; 40_000])], 1_000);
        assert_eq!(value(&events, STATUS).as_deref(), Some("200"));
        assert!(!events.iter().any(|e| matches!(e.kind, EventKind::Violation(_))));
    }

    #[test]
    fn what_a_page_loads_is_awaited_up_to_a_bound() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let page =
            |size: usize| [&b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"[..], &vec![b'x'; size]].concat();
        for (size, settled) in [(100, 0), (AWAITED, 1)] {
            let events = testkit::stream(&HTTP, &[(Orig, get), (Resp, &page(size))], 1_000);
            assert_eq!(events.iter().filter(|e| e.kind == EventKind::Settled).count(), settled, "{size}");
        }
    }

    fn loops(turns: &[Turn<'_>]) -> Vec<(Timestamp, Timestamp, &'static str)> {
        for piece in [1, 7] {
            assert_eq!(testkit::stream(&HTTP, turns, piece), testkit::stream(&HTTP, turns, usize::MAX), "{piece}");
        }
        testkit::loops(&testkit::stream(&HTTP, turns, usize::MAX))
    }

    #[test]
    fn a_body_that_waited_for_the_server_is_timed() {
        let head = |field: &str| format!("PUT / HTTP/1.1\r\nHost: a\r\n{field}Content-Length: 4\r\n\r\n").into_bytes();
        let (asks, silent) = (head("Expect: 100-Continue\r\n"), head(""));
        let go: Turn<'_> = (Resp, b"HTTP/1.1 100 Continue\r\n\r\n");
        let done: Turn<'_> = (Resp, b"HTTP/1.1 200 OK\r\n\r\n");
        let body: Turn<'_> = (Orig, b"body");
        let [one, two] = [1, 2].map(testkit::at);
        assert_eq!(loops(&[(Orig, &asks), go, body, done]), [(one, two, "continue")]);
        assert_eq!(loops(&[(Orig, &asks), go, (Resp, b"HTTP/1.1 103 Early Hints\r\n\r\n"), body, done]).len(), 1);
        // It did not ask, did not wait, was sent away, or began in the same segment.
        assert_eq!(loops(&[(Orig, &silent), go, body, done]), []);
        assert_eq!(loops(&[(Orig, &asks), (Orig, b"bo"), go, (Orig, b"dy"), done]), []);
        assert_eq!(loops(&[(Orig, &asks), (Resp, b"HTTP/1.1 417 No\r\n\r\n"), body]), []);
        assert_eq!(loops(&[(Orig, &[&asks[..], b"bo"].concat()), go, (Orig, b"dy"), done]), []);
        // So late that its own patience may have ended.
        let late = [(Orig, &asks[..]), (Resp, b"")].into_iter().chain(std::iter::repeat_n((Resp, &b""[..]), 900));
        assert_eq!(loops(&late.chain([go, body, done]).collect::<Vec<_>>()), []);
    }

    #[test]
    fn credentials_made_of_a_challenge_are_timed() {
        let ask = |field: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{field}\r\n").into_bytes();
        let refuse = |field: &str| format!("HTTP/1.1 401 No\r\n{field}Content-Length: 2\r\n\r\nno").into_bytes();
        let first = ask("");
        let challenge = refuse(
            "WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=\"x\", cnonce=\"no\", nonce=\"7a\"\r\n",
        );
        let made = ask("Authorization: Digest username=\"u\", cnonce=\"0\", NONCE=\"7a\", uri=\"/a\"\r\n");
        let done: Turn<'_> = (Resp, b"HTTP/1.1 200 OK\r\n\r\n");
        let timed = |turns: &[&[u8]]| {
            let ends = [Orig, Resp].into_iter().cycle();
            loops(&ends.zip(turns.iter().copied()).chain([done]).collect::<Vec<_>>()).len()
        };
        assert_eq!(timed(&[&first, &challenge, &made]), 1);
        // Others' credentials, none, the same nonce again, a nonce without quotation marks or end.
        let other = ask("Authorization: Digest nonce=\"7b\"\r\n");
        let basic = ask("Authorization: Basic eDp5\r\n");
        for next in [&other, &basic, &first] {
            assert_eq!(timed(&[&first, &challenge, next]), 0);
        }
        assert_eq!(timed(&[&made, &challenge, &made]), 0);
        for field in ["Digest nonce=7a", "Digest nonce=\"7a", "Digest nonce=\"\"", "Basic nonce=\"7a\""] {
            assert_eq!(timed(&[&first, &refuse(&format!("WWW-Authenticate: {field}\r\n")), &made]), 0, "{field}");
        }
        // NTLM's second leg, also at a proxy; its first one waits for whoever knows the password.
        let token = BASE64.encode(b"NTLMSSP\0\x02\0\0\0 and what the server says");
        let challenge = refuse(&format!("WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM {token}\r\n"));
        let turns = sign_on("Authorization", "NTLM", "200");
        assert_eq!(timed(&[&turns[0].1, &challenge, &turns[2].1]), 1);
        assert_eq!(timed(&[&first, &refuse("WWW-Authenticate: NTLM\r\n"), &turns[0].1, &challenge, &turns[2].1]), 1);
        // Somebody who types.
        let typed = [(Orig, &first[..]), (Resp, &challenge[..])].into_iter();
        let typed = typed.chain(std::iter::repeat_n((Resp, &b""[..]), 1_500)).chain([(Orig, &made[..]), done]);
        assert_eq!(loops(&typed.collect::<Vec<_>>()), []);
    }

    #[test]
    fn a_request_for_the_place_that_an_answer_names_is_timed() {
        let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: A.example:80\r\n\r\n").into_bytes();
        let to = |status: u16, place: &str| {
            format!("HTTP/1.1 {status} X\r\nLocation: {place}\r\n\r\nsee there").into_bytes()
        };
        let timed = |status, place: &str, next: &str| {
            let (first, answer, second) = (ask("/a?b"), to(status, place), ask(next));
            loops(&[(Orig, &first), (Resp, &answer), (Orig, &second), (Resp, b"HTTP/1.1 200 OK\r\n\r\n")])
        };
        let whole = [(testkit::at(1), testkit::at(2), "redirect")];
        for (place, next) in [
            ("/login?x=1", "/login?x=1"),
            ("http://a.EXAMPLE/c#part", "/c"),
            ("HTTP://a.example", "/"),
            ("/c", "http://a.example/c"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                assert_eq!(timed(status, place, next), whole, "{place}");
            }
        }
        for (status, place, next) in [
            (302, "/login", "/login?x=1"),
            (302, "/login", "/Login"),
            (302, "http://b.example/c", "/c"),
            (302, "https://a.example/c", "/c"),
            (302, "//b.example/c", "/c"),
            (302, "c", "/c"),
            (302, "/a?b", "/a?b"),
            (302, "", "/"),
            (304, "/c", "/c"),
            (201, "/c", "/c"),
        ] {
            assert_eq!(timed(status, place, next), [], "{status} {place} {next}");
        }
        // One after the other; and no further than a sign-on goes.
        let hops: Vec<_> = (0..12).map(|i| (ask(&format!("/{i}")), to(302, &format!("/{}", i + 1)))).collect();
        let turns: Vec<Turn<'_>> = hops.iter().flat_map(|(a, b)| [(Orig, &a[..]), (Resp, &b[..])]).collect();
        let followed = loops(&turns);
        assert_eq!(followed.len(), usize::from(ROUNDS) - 1);
    }

    /// Protocol, whether it is a carrier, and the pieces that were handed on.
    type Handed<'a> = (&'static str, bool, Vec<(Direction, &'a [u8])>);

    fn handed(events: &[Event]) -> Option<Handed<'_>> {
        events.iter().find_map(|e| match &e.kind {
            EventKind::Handover { to, as_carrier, rest } => {
                Some((*to, *as_carrier, rest.iter().map(|piece| (piece.dir, piece.bytes.as_slice())).collect()))
            }
            _ => None,
        })
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    #[test]
    fn the_first_exchange_is_told_in_any_header_order() {
        let request = b"GET /where?q=now HTTP/1.1\r\nuser-agent: curl/7.16.3\r\nX: \xff\r\n folded\r\n:\r\nHOST:  www.example.com \r\n\r\n";
        let response = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nServer: Apache\r\n\r\nHello";
        let events = testkit::stream(&HTTP, &[(Orig, request), (Resp, response)], 4096);
        let expected = [
            (VERSION, "1.1"),
            (METHOD, "GET"),
            (HOST, "www.example.com"),
            (PATH, "/where"),
            (USER_AGENT, "curl/7.16.3"),
            (STATUS, "200"),
            (SERVER, "Apache"),
        ];
        assert_eq!(attributes(&events), expected.map(|(k, v)| (k, v.to_owned())));
        assert!(confirmed(&events));
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Settled).count(), 1);
    }

    #[test]
    fn an_upgrade_is_noted() {
        let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello";
        let events = testkit::stream(&HTTP, &[(Orig, request), (Resp, response)], 4096);
        assert_eq!(value(&events, UPGRADE).as_deref(), Some("websocket"));
        assert_eq!(value(&events, STATUS).as_deref(), Some("101"));
        assert_eq!(handed(&events), Some(("websocket", false, vec![(Resp, &b"\x81\x05hello"[..])])));
    }

    #[test]
    fn a_websocket_is_one_when_both_ends_agree() {
        let ask = b"GET http://a/b/ws?token=secret HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nSec-WebSocket-Protocol: binary, base64\r\n\r\n";
        let accept =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: binary\r\n\r\n";
        let frame = [0x82, 0x80, 0, 0, 0, 0];
        let events = testkit::stream(&HTTP, &[(Orig, ask), (Orig, &frame), (Resp, accept)], 4096);
        assert!(events.iter().any(|e| e.kind == EventKind::Becomes { to: "websocket", over: Some("http") }));
        assert_eq!(value(&events, "websocket.protocol").as_deref(), Some("binary"));
        assert_eq!(value(&events, PATH).as_deref(), Some("/b/ws"));
        assert_eq!(handed(&events), Some(("websocket", false, vec![(Orig, &frame[..])])));
        let refusals: [&[u8]; 3] = [
            b"HTTP/1.1 403 Forbidden\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ];
        for refusal in refusals {
            let events = testkit::stream(&HTTP, &[(Orig, ask), (Resp, refusal)], 4096);
            assert_eq!(handed(&events), None);
        }
        let unasked = testkit::stream(&HTTP, &[(Orig, b"GET / HTTP/1.1\r\n\r\n"), (Resp, accept)], 4096);
        assert_eq!(handed(&unasked), None);
    }

    #[test]
    fn an_accepted_connect_hands_its_cargo_over() {
        let ask = b"CONNECT desk.example:443 HTTP/1.1\r\nHost: desk.example:443\r\n\r\n";
        let accept = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let hello = [0x16, 3, 1, 0, 2, 1, 0];
        let events = testkit::stream(&HTTP_CONNECT, &[(Orig, ask), (Resp, accept), (Orig, &hello)], 4096);
        assert_eq!(value(&events, TARGET).as_deref(), Some("desk.example:443"));
        assert_eq!(value(&events, REPLY).as_deref(), Some("200"));
        assert_eq!(handed(&events), Some((CARGO, false, vec![])));
        let early = testkit::stream(&HTTP_CONNECT, &[(Orig, &[&ask[..], &hello].concat()), (Resp, accept)], 4096);
        assert_eq!(handed(&early), Some((CARGO, false, vec![(Orig, &hello[..])])));
        assert!(confirmed(&early));
        let refuse = b"HTTP/1.1 403 Forbidden\r\n\r\n";
        assert_eq!(handed(&testkit::stream(&HTTP_CONNECT, &[(Orig, ask), (Resp, refuse), (Orig, &hello)], 4096)), None);
    }

    #[test]
    fn what_both_ends_sent_around_the_accepting_answer_is_kept() {
        let eager = b"CONNECT a:22 HTTP/1.1\r\n\r\nSSH-2.0-client\r\n";
        let accept = b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n";
        let events = testkit::stream(&HTTP_CONNECT, &[(Orig, eager), (Resp, accept)], usize::MAX);
        let both = vec![(Orig, &b"SSH-2.0-client\r\n"[..]), (Resp, b"SSH-2.0-server\r\n")];
        assert_eq!(handed(&events), Some((CARGO, false, both)));
        let patient = b"CONNECT a:22 HTTP/1.1\r\n\r\n";
        let events = testkit::stream(&HTTP_CONNECT, &[(Orig, patient), (Resp, accept)], usize::MAX);
        assert_eq!(handed(&events), Some((CARGO, false, vec![(Resp, &b"SSH-2.0-server\r\n"[..])])));
    }

    #[test]
    fn a_connect_that_needs_a_password_is_read_again() {
        let ask = b"CONNECT a:22 HTTP/1.1\r\n\r\n";
        let refuse = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
        let again = b"CONNECT a:22 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n";
        let accept = b"HTTP/1.0 200 OK\r\n\r\n";
        let turns: [Turn<'_>; 5] = [(Orig, ask), (Resp, refuse), (Orig, again), (Resp, accept), (Orig, b"SSH-2.0-y")];
        let events = testkit::stream(&HTTP_CONNECT, &turns, 4096);
        assert_eq!(handed(&events).map(|h| h.0), Some(CARGO));
        let told = [STATUS, REPLY, AUTH].map(|key| value(&events, key).unwrap());
        assert_eq!(told, ["407", "200", "basic"]);
    }

    #[test]
    fn http_2_is_known_by_its_preface_and_settings() {
        let turns: [Turn<'_>; 2] = [(Orig, PREFACE), (Resp, &[0, 0, 0, 4, 0, 0, 0, 0, 0])];
        let events = testkit::stream(&HTTP, &turns, 5);
        assert_eq!(value(&events, VERSION).as_deref(), Some("2"));
        assert!(confirmed(&events));
        assert_eq!(testkit::probe(&HTTP, Carrier::Stream, PREFACE, b""), Probe::Match);
    }

    #[test]
    fn what_looks_alike_is_told_apart() {
        let probe = |p: &Protocol, orig: &[u8], resp: &[u8]| testkit::probe(p, Carrier::Stream, orig, resp);
        assert_eq!(probe(&HTTP, b"GET / HTTP/1.0\r\n", b""), Probe::Match);
        assert_eq!(probe(&HTTP, b"GE", b""), Probe::NeedMore);
        assert_eq!(probe(&HTTP, b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\n", b""), Probe::Match);
        assert_eq!(probe(&HTTP, b"OPTIONS rtsp://a RTSP/1.0\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"REGISTER sip:a SIP/2.0\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"CONNECT a:1 HTTP/1.1\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP_CONNECT, b"CONNECT a:1 HTTP/1.1\r\n", b""), Probe::Match);
        assert_eq!(probe(&HTTP_CONNECT, b"GET / HTTP/1.1\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"", b"HTTP/1.1 200 OK\r\n"), Probe::Match);
        // A capture that began too late to show who opened the connection.
        assert_eq!(probe(&HTTP_CONNECT, b"HTTP/1.1 200 OK\r\n", b"CONNECT a:1 HTTP/1.1\r\n"), Probe::Match);
        // What the server has begun with decides, also before and after the client's bytes are there.
        assert_eq!(probe(&HTTP, b"", b"\x11"), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"Z", b"\x11"), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"GET /\0", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP, b"GET /\0 HTTP/1.1\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(&HTTP_CONNECT, b"", b"HTTP/1.1 200 OK\r\n"), Probe::NeedMore);
        assert_eq!(probe(&HTTP_CONNECT, b"CONNECT a:1 HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"), Probe::Match);
        assert_eq!(probe(&HTTP, b"", &[0, 0, 18, 4, 0, 0, 0, 0, 0, 0]), Probe::NeedMore);
        assert_eq!(probe(&HTTP, PREFACE, &[0, 0, 18, 4, 0, 0, 0, 0, 0, 0]), Probe::Match);
        // TLS, SSH or VNC spoken to a web server that answers in HTTP.
        for spoken in [&b"\x16\x03\x01\x02"[..], b"SSH-2.0-x\r\n", b"RFB 003.008\n", b"EHLO x\r\n"] {
            assert_eq!(probe(&HTTP, spoken, b"HTTP/1.1 400 Bad Request\r\n"), Probe::NoMatch);
        }
    }

    #[test]
    fn a_head_without_end_is_read_up_to_the_limit() {
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        request.resize(3 * HEAD_LIMIT, b'y');
        let turns: [Turn<'_>; 2] = [(Orig, &request), (Resp, b"HTTP/1.1 431 Too Large\r\n\r\n")];
        let whole = testkit::stream(&HTTP, &turns, usize::MAX);
        assert_eq!(value(&whole, HOST).as_deref(), Some("a"));
        assert_eq!(value(&whole, STATUS).as_deref(), Some("431"));
        assert_eq!(whole, testkit::stream(&HTTP, &turns, 1000));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..90, connect: bool, body in "[a-z\r\n]{0,40}") {
            let ask: &[u8] = if connect { b"CONNECT a:22 HTTP/1.1\r\n\r\n" } else { b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" };
            let answer = [&b"HTTP/1.1 401 No\r\nServer: s\r\n\r\n"[..], body.as_bytes()].concat();
            let last: Turn<'_> = if connect { (Orig, ask) } else { (Orig, body.as_bytes()) };
            let turns = [(Orig, ask), (Resp, &answer[..]), last, (Resp, &answer[..])];
            prop_assert_eq!(testkit::stream(&HTTP, &turns, piece), testkit::stream(&HTTP, &turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), "(GET / HTTP/1.1\r\n|HTTP/1.1 200 \r\n|CONNECT a HTTP/1.0\n)?", proptest::collection::vec(any::<u8>(), 0..50), any::<bool>()),
            0..10,
        )) {
            let mut all = Vec::new();
            for (orig, line, bytes, ends) in &turns {
                let mut said = [line.as_bytes(), bytes].concat();
                if *ends {
                    said.extend(b"\r\n\r\n");
                }
                testkit::probe(&HTTP, Carrier::Stream, &said, bytes);
                all.push((if *orig { Orig } else { Resp }, said));
            }
            let turns: Vec<Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
            testkit::stream(&HTTP, &turns, 3);
        }
    }
}
