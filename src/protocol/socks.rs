//! SOCKS 4, 4a and 5: who asks which proxy for which connection, and what is relayed then.
//!
//! Reads: the greeting, the choice of a method, the user name, the request and its reply; over UDP the header before
//! each datagram. Emits: version, command, method, user, target, reply, the address of a UDP association as a link to
//! its datagrams, and the handover of what is relayed. Does not: keep passwords, read into GSSAPI's wrapping or the
//! datagrams' cargo, or time anything: clients that do not wait for the proxy are too many.
//!
//! Reference: RFC 1928 (SOCKS 5), RFC 1929 (user name and password), Lee, "SOCKS: A protocol for TCP proxy across
//! firewalls" and "SOCKS 4A" (both at openssh.com/txt), Tor's socks-extensions.txt (RESOLVE).

use crate::base::{Direction, Ends, Reader, Timestamp};
use crate::protocol::codec::socks_message::{
    ANSWER_4, ASSOCIATE, Address, BIND, CONNECT, GSSAPI, Greeting, NO_AUTH, NONE_ACCEPTABLE, PASSWORD, Part, Request,
    Request4, TEXT_LIMIT, UdpHeader, command_name, method_name, reply_name,
};
use crate::protocol::codec::{Inbox, printable, unused};
use crate::protocol::{
    Analyzer, CARGO, CARGO_PROTOCOL, Carrier, Category, Events, Key, Link, Opening, Pdu, Probe, Protocol,
};
use std::net::SocketAddr;

/// The registry's entry.
pub(crate) static SOCKS: Protocol = Protocol {
    name: "socks",
    category: Category::Proxy,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[1080, 1081, 9050, 9150, 10_808],
    attributes: &[VERSION, COMMAND, USER, BOUND, PREAMBLE, AUTH, TARGET, REPLY, CARGO_PROTOCOL],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(Socks::default()),
};

const VERSION: Key = "socks.version";
const COMMAND: Key = "socks.command";
const USER: Key = "socks.user";
const BOUND: Key = "socks.bound";
const PREAMBLE: Key = "socks.preamble";
const AUTH: Key = "proxy.auth";
const TARGET: Key = "proxy.target";
const REPLY: Key = "proxy.reply";

/// What joins an association's datagrams with the connection that asked for it.
const LINK: &str = "socks";

/// Bytes kept of an end: an eager client sends a TLS ClientHello behind its request.
const INBOX_LIMIT: usize = 16 * 1024;
/// Bytes that a proxy which calls back may say of itself.
const PREAMBLE_LIMIT: usize = 32;

fn probe(opening: &Opening<'_>) -> Probe {
    let (orig, resp) = (opening.sent.orig, opening.sent.resp);
    if opening.carrier == Carrier::Datagram {
        return probe_datagrams(orig, resp);
    }
    // The capture may have begun too late to show who opened the connection.
    let verdicts = [roles(orig, resp), roles(resp, orig), verdict(&behind_preamble(resp, orig))];
    let any = |wanted| verdicts.contains(&wanted);
    match () {
        () if any(Probe::Match) => Probe::Match,
        () if any(Probe::NeedMore) => Probe::NeedMore,
        () => Probe::NoMatch,
    }
}

/// A proxy that called its user back: it says who it is in a word of its own, and then answers as a proxy. Whole are the
/// bytes of that word.
fn behind_preamble(client: &[u8], server: &[u8]) -> Part<usize> {
    let window = server.get(..PREAMBLE_LIMIT + 2).unwrap_or(server);
    let answer = window.windows(2).skip(1).position(|pair| pair == [5, NO_AUTH]).map(|at| at + 1);
    if answer.is_none() && server.len() > window.len() {
        return Part::Wrong;
    }
    let asked = match Greeting::read(client) {
        Part::Whole(greeting) if !greeting.allows(NO_AUTH) => return Part::Wrong,
        Part::Whole(greeting) => Request::read(client.get(greeting.size..).unwrap_or_default(), true),
        Part::More => return Part::More,
        Part::Wrong => return Part::Wrong,
    };
    match (asked, answer) {
        (Part::Whole(_), Some(at)) => Part::Whole(at),
        (Part::Wrong, _) => Part::Wrong,
        _ => Part::More,
    }
}

fn roles(client: &[u8], server: &[u8]) -> Probe {
    match client.first().or(server.first()) {
        // A server of version 4 answers with a zero.
        Some(5) => roles_5(client, server),
        Some(4 | 0) => roles_4(client, server),
        None => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

/// What a message that is read off the front says of the whole.
const fn verdict<T>(part: &Part<T>) -> Probe {
    match part {
        Part::Whole(_) => Probe::Match,
        Part::More => Probe::NeedMore,
        Part::Wrong => Probe::NoMatch,
    }
}

/// Version 5: the greeting, one of the methods it offers as answer, and what that method asks for next. One end's bytes
/// alone tell enough only with the request or the reply in them.
///
/// Each end rules the protocol out by its own bytes, or by what both have settled; never by what the other has not said
/// yet, for it may still come.
fn roles_5(client: &[u8], server: &[u8]) -> Probe {
    let (greeting, told) = (Greeting::read(client), answer_5(server));
    let greeting = match greeting {
        Part::Wrong => return Probe::NoMatch,
        _ if told == Probe::NoMatch => return Probe::NoMatch,
        Part::More if client.is_empty() => return told,
        Part::More => return Probe::NeedMore,
        Part::Whole(greeting) => greeting,
    };
    let rest = client.get(greeting.size..).unwrap_or_default();
    match server.get(1) {
        Some(method) if greeting.allows(*method) => behind_method(*method, rest),
        Some(_) => Probe::NoMatch,
        None if greeting.methods.iter().all(|method| behind_method(*method, rest) == Probe::NoMatch) => Probe::NoMatch,
        // Alone, the request must be whole.
        None if greeting.allows(NO_AUTH) && !rest.is_empty() && Request::read(rest, true).is_whole() => Probe::Match,
        None => Probe::NeedMore,
    }
}

/// What a client says behind its greeting, once a method is chosen.
fn behind_method(method: u8, rest: &[u8]) -> Probe {
    match (method, rest) {
        (NONE_ACCEPTABLE, []) => Probe::Match,
        (NONE_ACCEPTABLE, _) => Probe::NoMatch,
        (_, []) => Probe::NeedMore,
        (NO_AUTH, _) => match Request::read(rest.get(..4).unwrap_or(rest), true) {
            Part::More if rest.len() >= 4 => Probe::Match,
            begun => verdict(&begun),
        },
        (PASSWORD | GSSAPI, [1, ..]) | (3.., _) => Probe::Match,
        (PASSWORD | GSSAPI, _) => Probe::NoMatch,
    }
}

/// What a server of version 5 says, whether or not its client is heard: a method, and behind one whose messages are
/// known the reply to the request.
fn answer_5(server: &[u8]) -> Probe {
    match server {
        [] | [5] => Probe::NeedMore,
        [5, NO_AUTH, rest @ ..] => verdict(&Request::read(rest, false)),
        [5, PASSWORD, rest @ ..] => sub_reply(rest),
        // Behind a refusal the connection is closed; nobody offers the methods that are not assigned.
        [5, NONE_ACCEPTABLE] => Probe::NeedMore,
        [5, NONE_ACCEPTABLE | 10..=0x7f, ..] => Probe::NoMatch,
        [5, _, ..] => Probe::NeedMore,
        _ => Probe::NoMatch,
    }
}

/// A sub-negotiation's status, with its own version or, of some servers, that of SOCKS; and behind success the reply.
fn sub_reply(bytes: &[u8]) -> Probe {
    match bytes {
        [] | [1 | 5] | [1 | 5, _] => Probe::NeedMore,
        [1 | 5, 0, rest @ ..] => verdict(&Request::read(rest, false)),
        _ => Probe::NoMatch,
    }
}

/// Version 4: a whole request, and an answer of eight bytes.
fn roles_4(client: &[u8], server: &[u8]) -> Probe {
    let answer = match server {
        [] | [0] => false,
        [0, 0x5a..=0x5d, ..] => server.len() >= ANSWER_4,
        _ => return Probe::NoMatch,
    };
    match Request4::read(client) {
        Part::Wrong => Probe::NoMatch,
        Part::Whole(_) if answer => Probe::Match,
        _ => Probe::NeedMore,
    }
}

/// Both ends' newest datagrams name the same far end.
fn probe_datagrams(orig: &[u8], resp: &[u8]) -> Probe {
    let (asked, told) = (UdpHeader::read(orig), UdpHeader::read(resp));
    match (asked, told) {
        (None, _) if !orig.is_empty() => Probe::NoMatch,
        (_, None) if !resp.is_empty() => Probe::NoMatch,
        (Some(a), Some(b)) if a.far.may_be(&b.far) => Probe::Match,
        (Some(_), Some(_)) => Probe::NoMatch,
        _ => Probe::NeedMore,
    }
}

/// What is awaited next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What shows who is the client.
    #[default]
    Version,
    Greeting,
    Method,
    /// User name and password.
    Password,
    Status,
    Request,
    Reply,
    /// BIND's second reply: somebody has connected.
    Accepted,
    Request4,
    Answer4,
    /// The second answer to version 4's BIND.
    Accepted4,
    Done,
}

#[derive(Debug)]
struct Socks {
    inboxes: Ends<Inbox>,
    step: Step,
    client: Direction,
    command: u8,
    method_known: bool,
}

impl Default for Socks {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) },
            step: Step::Version,
            client: Direction::Orig,
            command: 0,
            method_known: false,
        }
    }
}

/// What a step came to.
enum Came {
    /// So many bytes of the message were used; what follows is known.
    Next(usize, Step),
    /// The message is not whole yet.
    Wait,
    Fault(&'static str),
}

impl Analyzer for Socks {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.step == Step::Done || pdu.bytes.is_empty() {
            return;
        }
        if pdu.carrier == Carrier::Datagram {
            self.on_datagram(pdu, events);
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            // An eager client may send more than is kept before the proxy has answered.
            self.settle(pdu.at, pdu.dir, events);
            return;
        }
        self.run(pdu.dir, events);
    }

    /// One direction alone: the other's answers are passed over, as far as the bytes tell what they must have been.
    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if self.step == Step::Done {
            return;
        }
        let silent = |inbox: &Inbox| inbox.bytes().is_empty();
        match self.step {
            Step::Method if silent(self.inboxes.of(self.client.flip())) => {
                let next = self.inboxes.of(self.client).bytes().first().copied();
                self.step = if next == Some(1) { Step::Password } else { Step::Request };
                self.run(self.client, events);
            }
            Step::Greeting if silent(self.inboxes.of(self.client)) => {
                self.step = Step::Method;
                self.run(self.client.flip(), events);
            }
            _ => {}
        }
        self.settle(at, self.client, events);
    }
}

impl Socks {
    /// Takes step after step while what is awaited is there.
    fn run(&mut self, newest: Direction, events: &mut Events) {
        loop {
            if self.step == Step::Version && !self.meet(newest, events) {
                return;
            }
            let dir = self.awaited();
            let at = |inbox: &Inbox, used: usize| inbox.time_of(used.saturating_sub(1));
            let bytes = std::mem::replace(self.inboxes.of_mut(dir), Inbox::new(INBOX_LIMIT));
            let came = self.step(bytes.bytes(), |used| at(&bytes, used), dir, events);
            let newest_at = at(&bytes, bytes.bytes().len());
            *self.inboxes.of_mut(dir) = bytes;
            match came {
                Came::Wait => return,
                Came::Fault(name) => {
                    events.violation(newest_at, newest, name);
                    self.settle(newest_at, newest, events);
                    return;
                }
                Came::Next(used, next) => {
                    let at = at(self.inboxes.of(dir), used);
                    self.inboxes.of_mut(dir).consume(used);
                    let before = std::mem::replace(&mut self.step, next);
                    if next == Step::Done {
                        self.finish(before, at, dir, events);
                        return;
                    }
                }
            }
        }
    }

    /// Whose bytes come next.
    fn awaited(&self) -> Direction {
        match self.step {
            Step::Version | Step::Greeting | Step::Password | Step::Request | Step::Request4 | Step::Done => {
                self.client
            }
            Step::Method | Step::Status | Step::Reply | Step::Accepted | Step::Answer4 | Step::Accepted4 => {
                self.client.flip()
            }
        }
    }

    fn step(&mut self, bytes: &[u8], time: impl Fn(usize) -> Timestamp, dir: Direction, events: &mut Events) -> Came {
        match self.step {
            Step::Greeting => match Greeting::read(bytes) {
                Part::Whole(greeting) => {
                    events.attribute(time(greeting.size), dir, VERSION, "5");
                    Came::Next(greeting.size, Step::Method)
                }
                Part::More => Came::Wait,
                Part::Wrong => Came::Fault("socks.malformed-greeting"),
            },
            Step::Method => self.on_method(bytes, time(2), dir, events),
            Step::Password => on_password(bytes, &time, dir, events),
            Step::Status => match bytes {
                [] | [_] => Came::Wait,
                [_, 0, ..] => Came::Next(2, Step::Request),
                _ => {
                    events.attribute(time(2), dir, REPLY, "password-refused");
                    Came::Next(2, Step::Done)
                }
            },
            Step::Request => self.on_request(bytes, &time, dir, events),
            Step::Reply | Step::Accepted => self.on_reply(bytes, &time, dir, events),
            Step::Request4 => self.on_request_4(bytes, &time, dir, events),
            Step::Answer4 | Step::Accepted4 => self.on_answer_4(bytes, time(ANSWER_4), dir, events),
            Step::Version | Step::Done => Came::Wait,
        }
    }

    /// Finds out who is the client, as the probe did; whether that is known.
    fn meet(&mut self, newest: Direction, events: &mut Events) -> bool {
        let (orig, resp) = (self.inboxes.orig.bytes(), self.inboxes.resp.bytes());
        self.client = match [roles(orig, resp), roles(resp, orig)] {
            [Probe::Match, _] => Direction::Orig,
            [_, Probe::Match] => Direction::Resp,
            both => match (behind_preamble(resp, orig), both) {
                (Part::Whole(size), _) => {
                    self.skip_preamble(size, events);
                    Direction::Resp
                }
                (Part::Wrong, [Probe::NoMatch, Probe::NoMatch]) => {
                    let inbox = self.inboxes.of(newest);
                    let at = inbox.time_of(inbox.bytes().len());
                    events.violation(at, newest, "socks.malformed-greeting");
                    self.settle(at, newest, events);
                    return false;
                }
                _ => return false,
            },
        };
        let version_4 = self.inboxes.of(self.client).bytes().first() == Some(&4);
        self.step = if version_4 { Step::Request4 } else { Step::Greeting };
        true
    }

    fn skip_preamble(&mut self, size: usize, events: &mut Events) {
        let inbox = &mut self.inboxes.orig;
        let word = inbox.bytes().get(..size).unwrap_or_default();
        let hex: String = word.iter().map(|byte| format!("{byte:02x}")).collect();
        events.attribute(inbox.time_of(size.saturating_sub(1)), Direction::Orig, PREAMBLE, hex);
        inbox.consume(size);
    }

    fn on_method(&mut self, bytes: &[u8], at: Timestamp, dir: Direction, events: &mut Events) -> Came {
        let [version, method, ..] = bytes else { return Came::Wait };
        if *version != 5 {
            return Came::Fault("socks.malformed-method");
        }
        self.method_known = true;
        events.attribute(at, dir, AUTH, method_name(*method));
        match *method {
            NO_AUTH => Came::Next(2, Step::Request),
            PASSWORD => Came::Next(2, Step::Password),
            // Refused, or a method whose messages are not read.
            _ => Came::Next(2, Step::Done),
        }
    }

    fn on_request(
        &mut self,
        bytes: &[u8],
        time: &impl Fn(usize) -> Timestamp,
        dir: Direction,
        events: &mut Events,
    ) -> Came {
        match Request::read(bytes, true) {
            Part::Whole(request) => {
                self.ask(request.code, &request.address, time(request.size), dir, events);
                Came::Next(request.size, Step::Reply)
            }
            Part::More => Came::Wait,
            Part::Wrong => Came::Fault("socks.malformed-request"),
        }
    }

    fn ask(&mut self, code: u8, address: &Address, at: Timestamp, dir: Direction, events: &mut Events) {
        self.command = code;
        events.attribute(at, dir, COMMAND, command_name(code).unwrap_or_default());
        // An association names the client's own address, or none.
        if code != ASSOCIATE {
            events.attribute(at, dir, TARGET, address.to_string());
        }
    }

    fn on_reply(
        &mut self,
        bytes: &[u8],
        time: &impl Fn(usize) -> Timestamp,
        dir: Direction,
        events: &mut Events,
    ) -> Came {
        let reply = match Request::read(bytes, false) {
            Part::Whole(reply) => reply,
            Part::More => return Came::Wait,
            Part::Wrong => return Came::Fault("socks.malformed-reply"),
        };
        let at = time(reply.size);
        if self.step == Step::Reply {
            if self.method_known {
                events.confirmed(at, dir);
            }
            events.attribute(at, dir, REPLY, reply_name(reply.code));
            if reply.code == 0 {
                events.attribute(at, dir, BOUND, reply.address.to_string());
            }
        }
        match (reply.code, self.command, self.step) {
            (0, BIND, Step::Reply) => Came::Next(reply.size, Step::Accepted),
            (0, ASSOCIATE, _) => {
                if let Some(socket) = reply.address.socket() {
                    events.link(at, dir, Link::Endpoint(LINK, socket));
                }
                Came::Next(reply.size, Step::Done)
            }
            (code, ..) => {
                if code != 0 {
                    self.command = 0;
                }
                Came::Next(reply.size, Step::Done)
            }
        }
    }

    fn on_request_4(
        &mut self,
        bytes: &[u8],
        time: &impl Fn(usize) -> Timestamp,
        dir: Direction,
        events: &mut Events,
    ) -> Came {
        match Request4::read(bytes) {
            Part::Whole(request) => {
                let at = time(request.size);
                events.attribute(at, dir, VERSION, if request.named { "4a" } else { "4" });
                self.ask(request.code, &request.address, at, dir, events);
                if !request.user.is_empty() {
                    events.attribute(at, dir, USER, request.user);
                }
                Came::Next(request.size, Step::Answer4)
            }
            Part::More => Came::Wait,
            Part::Wrong => Came::Fault("socks.malformed-request"),
        }
    }

    fn on_answer_4(&mut self, bytes: &[u8], at: Timestamp, dir: Direction, events: &mut Events) -> Came {
        let Some([zero, code, port @ .., a, b, c, d]) = bytes.first_chunk::<ANSWER_4>() else { return Came::Wait };
        let name = match (zero, code) {
            (0, 0x5a) => "succeeded",
            (0, 0x5b) => "refused",
            (0, 0x5c) => "identd-unreachable",
            (0, 0x5d) => "identd-mismatch",
            _ => return Came::Fault("socks.malformed-reply"),
        };
        let bound = SocketAddr::from(([*a, *b, *c, *d], u16::from_be_bytes(*port)));
        let first = self.step == Step::Answer4;
        if first {
            events.confirmed(at, dir);
            events.attribute(at, dir, REPLY, name);
        }
        match (*code, self.command) {
            (0x5a, BIND) if first => {
                events.attribute(at, dir, BOUND, bound.to_string());
                return Came::Next(ANSWER_4, Step::Accepted4);
            }
            (0x5a, _) => {}
            _ => self.command = 0,
        }
        Came::Next(ANSWER_4, Step::Done)
    }

    /// The last step is taken: a connection that stands is somebody else's from here on.
    fn finish(&mut self, last: Step, at: Timestamp, dir: Direction, events: &mut Events) {
        let replied = matches!(last, Step::Reply | Step::Accepted | Step::Answer4 | Step::Accepted4);
        if replied && matches!(self.command, CONNECT | BIND) {
            events.handover(at, dir, CARGO, false, unused(&self.inboxes));
        } else {
            events.settled(at, dir);
        }
    }

    /// Datagrams of an association: the first tells who is at the far end, and that is all.
    fn on_datagram(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        self.step = Step::Done;
        let Some(header) = UdpHeader::read(pdu.bytes) else {
            events.violation(pdu.at, pdu.dir, "socks.malformed-datagram");
            events.settled(pdu.at, pdu.dir);
            return;
        };
        events.attribute(pdu.at, pdu.dir, VERSION, "5");
        events.attribute(pdu.at, pdu.dir, COMMAND, "datagrams");
        events.attribute(pdu.at, pdu.dir, TARGET, header.far.to_string());
        events.link(pdu.at, pdu.dir, Link::Here(LINK));
        events.settled(pdu.at, pdu.dir);
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if std::mem::replace(&mut self.step, Step::Done) != Step::Done {
            events.settled(at, dir);
        }
    }
}

/// User name and password (RFC 1929); the password is passed over.
fn on_password(bytes: &[u8], time: &impl Fn(usize) -> Timestamp, dir: Direction, events: &mut Events) -> Came {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        Some(1) => {}
        Some(_) => return Came::Fault("socks.malformed-password"),
        None => return Came::Wait,
    }
    let (Some(user), Some(_)) = (reader.block_u8(), reader.block_u8()) else { return Came::Wait };
    let size = bytes.len() - reader.len();
    if !user.is_empty() {
        events.attribute(time(size), dir, USER, printable(user.rest(), TEXT_LIMIT));
    }
    Came::Next(size, Step::Status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn, said};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    const GREETING: &[u8] = &[5, 2, 0, 2];
    const REQUEST: &[u8] = b"\x05\x01\0\x03\x0cdesk.example\x0d\x3d";
    const REPLY_OK: &[u8] = &[5, 0, 0, 1, 192, 0, 2, 9, 0x9c, 0x40];
    const REQUEST_4A: &[u8] = b"\x04\x01\0\x16\0\0\0\x01me\0host.example\0";

    fn handed(events: &[Event]) -> Option<Vec<(Direction, Vec<u8>)>> {
        events.iter().find_map(|e| match &e.kind {
            EventKind::Handover { to, as_carrier: false, rest } if *to == CARGO => {
                Some(rest.iter().map(|piece| (piece.dir, piece.bytes.clone())).collect())
            }
            _ => None,
        })
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|e| e.kind == EventKind::Confirmed)
    }

    fn links(events: &[Event]) -> Vec<Link> {
        let link = |e: &Event| if let EventKind::Link(link) = e.kind { Some(link) } else { None };
        events.iter().filter_map(link).collect()
    }

    fn stream(turns: &[Turn<'_>]) -> Vec<Event> {
        let events = testkit::stream(&SOCKS, turns, usize::MAX);
        assert_eq!(events, testkit::stream(&SOCKS, turns, 1), "any cut gives the same");
        events
    }

    fn probe(orig: &[u8], resp: &[u8]) -> Probe {
        testkit::probe(&SOCKS, Carrier::Stream, orig, resp)
    }

    #[test]
    fn a_connection_is_asked_for_and_handed_over() {
        let turns = [(Orig, GREETING), (Resp, &[5, 0]), (Orig, REQUEST), (Resp, REPLY_OK)];
        let events = stream(&turns);
        let told = [VERSION, AUTH, COMMAND, TARGET, REPLY, BOUND].map(|key| said(&events, key).unwrap());
        assert_eq!(told, ["5", "none", "connect", "desk.example:3389", "succeeded", "192.0.2.9:40000"]);
        assert!(confirmed(&events));
        assert_eq!(handed(&events), Some(vec![]));
    }

    #[test]
    fn a_client_that_waits_for_nothing_is_read() {
        let eager = [GREETING, REQUEST, b"SSH-2.0-x\r\n"].concat();
        let answers = [&[5, 0], REPLY_OK, b"SSH-2.0-y\r\n"].concat();
        let events = testkit::stream(&SOCKS, &[(Orig, &eager), (Resp, &answers)], usize::MAX);
        let both = vec![(Orig, b"SSH-2.0-x\r\n".to_vec()), (Resp, b"SSH-2.0-y\r\n".to_vec())];
        assert_eq!(handed(&events), Some(both));
        assert_eq!(probe(&eager, b""), Probe::Match);
        assert_eq!(probe(&eager, &answers), Probe::Match);
    }

    #[test]
    fn the_user_is_told_and_never_the_password() {
        let login = b"\x01\x04anna\x06secret";
        let turns: [Turn<'_>; 6] = [
            (Orig, GREETING),
            (Resp, &[5, 2]),
            (Orig, login),
            (Resp, &[1, 0]),
            (Orig, REQUEST),
            (Resp, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]),
        ];
        let events = stream(&turns);
        assert_eq!((said(&events, USER), said(&events, REPLY)), (Some("anna"), Some("refused")));
        assert!(confirmed(&events) && handed(&events).is_none());
        assert!(!format!("{events:?}").contains("secret"));
        let wrong: [Turn<'_>; 4] = [(Orig, GREETING), (Resp, &[5, 2]), (Orig, login), (Resp, &[1, 1])];
        assert_eq!(said(&stream(&wrong), REPLY), Some("password-refused"));
        let none: [Turn<'_>; 2] = [(Orig, GREETING), (Resp, &[5, 0xff])];
        assert_eq!(said(&stream(&none), AUTH), Some("refused"));
    }

    #[test]
    fn an_association_names_where_its_datagrams_go() {
        let ask: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
        let turns: [Turn<'_>; 4] = [(Orig, GREETING), (Resp, &[5, 0]), (Orig, ask), (Resp, REPLY_OK)];
        let events = stream(&turns);
        let there = SocketAddr::from(([192, 0, 2, 9], 40_000));
        assert_eq!(links(&events), [Link::Endpoint(LINK, there)]);
        assert_eq!((said(&events, COMMAND), said(&events, TARGET)), (Some("associate"), None));
        let far = b"\0\0\0\x01\xc6\x33\x64\x01\0\x35payload";
        let named = b"\0\0\0\x03\x07example\0\x35payload";
        let datagrams = testkit::datagrams(&SOCKS, &[(Orig, far), (Resp, far)]);
        assert_eq!(links(&datagrams), [Link::Here(LINK)]);
        assert_eq!(said(&datagrams, TARGET), Some("198.51.100.1:53"));
        let probe = |orig, resp| testkit::probe(&SOCKS, Carrier::Datagram, orig, resp);
        assert_eq!(
            (probe(far, b""), probe(far, far), probe(named, far)),
            (Probe::NeedMore, Probe::Match, Probe::Match)
        );
        assert_eq!(probe(far, b"\0\0\0\x01\xc6\x33\x64\x02\0\x35payload"), Probe::NoMatch);
        assert_eq!(probe(b"\0\x01\0\x01\xc6\x33\x64\x01\0\x35payload", b""), Probe::NoMatch);
        // Counters that look like an address of network 0.
        assert_eq!(probe(b"\0\0\0\x01\0\0\x0d\xdb\0\x01payload", b""), Probe::NoMatch);
        // A BitTorrent tracker's answer to an announcement begins like one, its request does not.
        assert_eq!(probe(b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\x12\x34\x56\x78", b""), Probe::NoMatch);
    }

    #[test]
    fn bind_waits_for_somebody_to_connect() {
        let ask = [&[5, 2, 0, 1], &[198, 51, 100, 1, 0, 21][..]].concat();
        let mut turns = vec![(Orig, GREETING), (Resp, &[5, 0][..]), (Orig, &ask), (Resp, REPLY_OK)];
        assert_eq!(handed(&stream(&turns)), None);
        turns.push((Resp, REPLY_OK));
        assert_eq!(handed(&stream(&turns)), Some(vec![]));
    }

    #[test]
    fn version_4_and_4a() {
        let ok = [0, 0x5a, 0, 0, 0, 0, 0, 0];
        let events = stream(&[(Orig, REQUEST_4A), (Resp, &ok)]);
        let told = [VERSION, COMMAND, TARGET, USER, REPLY].map(|key| said(&events, key).unwrap());
        assert_eq!(told, ["4a", "connect", "host.example:22", "me", "succeeded"]);
        assert_eq!(handed(&events), Some(vec![]));
        let plain = b"\x04\x01\x01\xbb\xc6\x33\x64\x01\0";
        let events = stream(&[(Orig, plain), (Resp, &[0, 0x5b, 0, 0, 0, 0, 0, 0])]);
        assert_eq!((said(&events, TARGET), said(&events, REPLY)), (Some("198.51.100.1:443"), Some("refused")));
        assert_eq!(handed(&events), None);
        assert_eq!((probe(plain, b""), probe(plain, &ok)), (Probe::NeedMore, Probe::Match));
    }

    #[test]
    fn one_direction_tells_what_it_can() {
        let asked = [GREETING, REQUEST].concat();
        let events = stream(&[(Orig, &asked)]);
        assert_eq!((said(&events, TARGET), confirmed(&events)), (Some("desk.example:3389"), false));
        let answered = [&[5, 0], REPLY_OK].concat();
        assert_eq!((probe(&asked, b""), probe(b"", &answered)), (Probe::Match, Probe::Match));
        let events = stream(&[(Resp, &answered)]);
        assert!(!confirmed(&events));
        // Seen from its middle, the roles may be the other way round.
        let turns = [(Resp, GREETING), (Orig, &[5, 0][..]), (Resp, REQUEST), (Orig, REPLY_OK)];
        assert_eq!(probe(&[5, 0], &asked), Probe::Match);
        assert!(confirmed(&testkit::stream(&SOCKS, &turns, usize::MAX)));
    }

    /// As in a capture of a back-connect proxy: who opened the connection is the proxy.
    #[test]
    fn a_proxy_that_calls_back_says_a_word_first() {
        let answers = [&[5, 0], REPLY_OK].concat();
        let asked = [&[5, 1, 0], REQUEST].concat();
        let turns = [(Orig, &b"NZ\x8d\x08\x87N"[..]), (Resp, &asked), (Orig, &answers), (Resp, b"GET / HTTP/1.1\r\n")];
        let events = testkit::stream(&SOCKS, &turns, usize::MAX);
        let told = [PREAMBLE, VERSION, TARGET, REPLY].map(|key| said(&events, key).unwrap());
        assert_eq!(told, ["4e5a8d08874e", "5", "desk.example:3389", "succeeded"]);
        assert!(confirmed(&events) && handed(&events).is_some());
        assert_eq!(events, testkit::stream(&SOCKS, &turns, 1)[..events.len()]);
        let said = [&b"NZ\x8d\x08\x87N"[..], &answers].concat();
        assert_eq!((probe(&said[..6], b""), probe(&said, &asked)), (Probe::NeedMore, Probe::Match));
        assert_eq!(probe(&said, &asked[..12]), Probe::NeedMore);
        assert_eq!(probe(&[7; 40], b""), Probe::NoMatch);
        assert_eq!(probe(b"hello", b"world"), Probe::NoMatch);
    }

    #[test]
    fn what_looks_alike_is_told_apart() {
        // One way round; what a proxy that calls back may begin with is nearly anything.
        assert_eq!(roles(GREETING, b""), Probe::NeedMore);
        assert_eq!(roles(GREETING, &[5, 0]), Probe::NeedMore);
        assert_ne!(roles(GREETING, &[5, 1]), Probe::Match);
        assert_eq!(probe(&[5, 0], b""), Probe::NeedMore);
        assert_eq!(roles(&[5, 40, 1], b""), Probe::NoMatch);
        assert_eq!(roles(&[5, 2, 0, 0], b""), Probe::NoMatch);
        assert_eq!(roles(&[5, 1, 0, 0x16, 3, 1], b""), Probe::NoMatch);
        assert_eq!(roles(b"\x05\x64\x05\xc9", b""), Probe::NoMatch);
        // DCE/RPC begins with a five too, and TPKT-like formats with a four.
        assert_eq!(roles(&[5, 0, 11, 3, 16, 0, 0, 0, 72, 0], b""), Probe::NoMatch);
        assert_eq!(roles(&[4, 1, 0, 80, 1, 2, 3, 4, 7], b""), Probe::NoMatch);
        assert_eq!(roles(&[4, 9], b""), Probe::NoMatch);
        assert_eq!(roles(b"\x04\x01\x01\xbb\xc6\x33\x64\x01\0", b"\x04\x01"), Probe::NoMatch);
    }

    /// What the other end has not said yet may still come.
    #[test]
    fn a_refusal_does_not_rest_on_silence() {
        // A method whose messages are not read, and something behind it, before the client is heard.
        assert_eq!(roles(b"", &[5, 3, 9]), Probe::NeedMore);
        assert_eq!(roles(&[5, 1, 3, 9], &[5, 3, 9]), Probe::Match);
        // One that nobody offers, and a reply that is none.
        assert_eq!((roles(b"", &[5, 40]), roles(&[5, 1, 0], &[5, 40])), (Probe::NoMatch, Probe::NoMatch));
        assert_eq!((roles(b"", &[5, 0, 9]), roles(&[5], &[5, 0, 9])), (Probe::NoMatch, Probe::NoMatch));
        // What is no request may be the message of another method on offer.
        assert_eq!(roles(&[5, 2, 0, 3, 9], b""), Probe::NeedMore);
        assert_eq!(roles(&[5, 2, 0, 3, 9], &[5, 3]), Probe::Match);
        assert_eq!(roles(&[5, 2, 0, 2, 9], b""), Probe::NoMatch);
    }

    proptest! {
        /// With so few different bytes, messages that are nearly right are frequent.
        #[test]
        fn a_probe_that_said_no_stays_with_it(
            said in proptest::collection::vec((any::<bool>(), prop_oneof![4 => 0u8..6, 1 => any::<u8>()]), 0..24),
        ) {
            let mut sent = Ends { orig: Vec::new(), resp: Vec::new() };
            let mut refused = false;
            for (from_orig, byte) in said {
                if from_orig { sent.orig.push(byte) } else { sent.resp.push(byte) }
                let answer = probe(&sent.orig, &sent.resp);
                prop_assert!(!refused || answer == Probe::NoMatch, "{sent:?}: {answer:?} after no");
                refused = answer == Probe::NoMatch;
            }
        }

        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..30, password: bool, tail in proptest::collection::vec(any::<u8>(), 0..20)) {
            let login = b"\x01\x01a\x01b";
            let method = if password { [5, 2] } else { [5, 0] };
            let mut turns: Vec<Turn<'_>> = vec![(Orig, GREETING), (Resp, &method)];
            if password {
                turns.extend([(Orig, &login[..]), (Resp, &[1, 0])]);
            }
            turns.extend([(Orig, REQUEST), (Resp, REPLY_OK)]);
            let random: Vec<Turn<'_>> = vec![(Orig, GREETING), (Resp, &method), (Orig, &tail), (Resp, &tail)];
            for turns in [turns, random] {
                prop_assert_eq!(testkit::stream(&SOCKS, &turns, piece), testkit::stream(&SOCKS, &turns, usize::MAX));
            }
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), 0usize..4, proptest::collection::vec(any::<u8>(), 0..40)), 0..10,
        )) {
            let begins: [&[u8]; 4] = [b"", GREETING, REQUEST_4A, b"\0\0\0\x03"];
            let all: Vec<_> = turns.iter().map(|(orig, i, tail)| {
                (if *orig { Orig } else { Resp }, [begins[*i], tail].concat())
            }).collect();
            let turns: Vec<Turn<'_>> = all.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
            testkit::stream(&SOCKS, &turns, 3);
            testkit::datagrams(&SOCKS, &turns);
            for (_, bytes) in &all {
                testkit::probe(&SOCKS, Carrier::Datagram, bytes, bytes);
                probe(bytes, bytes);
            }
        }
    }
}
