//! SIP: who sets up a call, and, where the call is one of WebRTC, which.
//!
//! Reads: requests and answers over UDP and TCP, their session descriptions too. Emits: the first method, the first final
//! status, the programs; the link to the call whose ICE fragments both ends have named. Does not: tell who calls whom, or
//! follow a call's RTP where there is no ICE, or more calls of a flow than its first.
//!
//! Reference: RFC 3261, RFC 3264 (offer and answer), RFC 8839 section 5.4 (`a=ice-ufrag`).

use crate::base::{Direction, Ends, Timestamp};
use crate::protocol::codec::fields::{fields, head_size};
use crate::protocol::codec::ice::{fragment_in, link_of};
use crate::protocol::codec::sip_line::{Line, line};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry.
pub(crate) static SIP: Protocol = Protocol {
    name: "sip",
    category: Category::Conferencing,
    carriers: &[Carrier::Stream, Carrier::Datagram],
    ports: &[5060],
    attributes: &[METHOD, STATUS, USER_AGENT, SERVER],
    signs: &[],
    lasting: true,
    probe,
    analyzer: || Box::new(Sip::default()),
};

const METHOD: Key = "sip.method";
const STATUS: Key = "sip.status";
const USER_AGENT: Key = "sip.user_agent";
const SERVER: Key = "sip.server";

/// Bytes of a message in a stream; over UDP no more fit (RFC 3261, 18.1.1).
const MESSAGE_LIMIT: usize = 65_535;
/// Characters of a value that are kept.
const TEXT_KEPT: usize = 128;
const METHOD_KEPT: usize = 9;
/// Bytes of what names a call or a request.
const NAME_LIMIT: usize = 256;

fn probe(opening: &Opening<'_>) -> Probe {
    match [opening.sent.orig, opening.sent.resp].map(line) {
        [Line::Not, _] | [_, Line::Not] => Probe::NoMatch,
        [Line::Request(_) | Line::Status(_), _] | [_, Line::Request(_) | Line::Status(_)] => Probe::Match,
        // A datagram has its first line whole.
        _ if opening.carrier != Carrier::Stream => Probe::NoMatch,
        _ => Probe::NeedMore,
    }
}

#[derive(Debug)]
struct Sip {
    inboxes: Ends<Inbox>,
    /// Each end's first unanswered request: its call and its number in it.
    asked: Ends<Option<(Vec<u8>, Vec<u8>)>>,
    confirmed: bool,
    /// A method, a status, and whose program was told.
    told: (bool, bool, Ends<bool>),
    /// The call that is linked, once a description with ICE named it.
    call: Option<Vec<u8>>,
    fragments: Ends<Option<Vec<u8>>>,
    linked: bool,
    done: bool,
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            inboxes: Ends { orig: Inbox::new(MESSAGE_LIMIT), resp: Inbox::new(MESSAGE_LIMIT) },
            asked: Ends::default(),
            confirmed: false,
            told: (false, false, Ends::default()),
            call: None,
            fragments: Ends::default(),
            linked: false,
            done: false,
        }
    }
}

impl Analyzer for Sip {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.done {
            return;
        }
        if pdu.carrier == Carrier::Stream {
            self.on_stream(pdu, events);
        } else if let Some(size) = head_size(pdu.bytes)
            && let Some((head, body)) = pdu.bytes.split_at_checked(size)
        {
            self.on_message(pdu.at, pdu.dir, head, body, events);
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        self.settle(at, dir, events);
    }
}

impl Sip {
    fn on_stream(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let mut rest = pdu.bytes;
        while !rest.is_empty() && !self.done {
            let inbox = self.inboxes.of_mut(pdu.dir);
            let room = MESSAGE_LIMIT - inbox.bytes().len();
            let (part, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            if part.is_empty() || !inbox.push(pdu.at, part) {
                return self.settle(pdu.at, pdu.dir, events);
            }
            rest = later;
            self.read(pdu.at, pdu.dir, events);
        }
    }

    /// Reads the messages that are whole: in a stream `Content-Length` says where one ends (RFC 3261, 18.3).
    fn read(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        let mut inbox = std::mem::replace(self.inboxes.of_mut(dir), Inbox::new(MESSAGE_LIMIT));
        while !self.done {
            let bytes = inbox.bytes();
            // What is sent to keep the connection open (RFC 5626, 4.4.1), and answers to it.
            let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if blank > 0 {
                inbox.consume(blank);
                continue;
            }
            if line(bytes) == Line::Not {
                self.settle(at, dir, events);
                break;
            }
            let Some(size) = head_size(bytes) else { break };
            let Some((head, behind)) = bytes.split_at_checked(size) else { break };
            let Some(body) = behind.get(..length(head)) else { break };
            let (at, whole) = (inbox.time_of(size - 1), size + body.len());
            self.on_message(at, dir, head, body, events);
            inbox.consume(whole);
        }
        *self.inboxes.of_mut(dir) = inbox;
    }

    fn on_message(&mut self, at: Timestamp, dir: Direction, head: &[u8], body: &[u8], events: &mut Events) {
        match line(head) {
            Line::Request(method) => self.on_request(at, dir, method, head, events),
            Line::Status(status) => self.on_response(at, dir, status, head, events),
            Line::More | Line::Not => return,
        }
        if !std::mem::replace(self.told.2.of_mut(dir), true) {
            let key = if matches!(line(head), Line::Request(_)) { USER_AGENT } else { SERVER };
            if let Some(program) = either(head, "user-agent", "server") {
                events.attribute(at, dir, key, printable(program, TEXT_KEPT));
            }
        }
        if !self.linked && !body.is_empty() {
            self.on_description(at, dir, head, body, events);
        }
    }

    fn on_request(&mut self, at: Timestamp, dir: Direction, method: &[u8], head: &[u8], events: &mut Events) {
        if !std::mem::replace(&mut self.told.0, true) {
            events.attribute(at, dir, METHOD, printable(method, METHOD_KEPT));
        }
        if !self.confirmed {
            *self.asked.of_mut(dir) = named(head);
        }
    }

    /// An answer that bears the names of the other end's request.
    fn on_response(&mut self, at: Timestamp, dir: Direction, status: u16, head: &[u8], events: &mut Events) {
        if !self.confirmed && named(head).is_some_and(|name| self.asked.of(dir.flip()).as_ref() == Some(&name)) {
            self.confirmed = true;
            self.asked = Ends::default();
            events.confirmed(at, dir);
        }
        if status >= 200 && !std::mem::replace(&mut self.told.1, true) {
            events.attribute(at, dir, STATUS, status.to_string());
        }
    }

    /// A description with ICE in it; the first call of the flow that has one is linked.
    fn on_description(&mut self, at: Timestamp, dir: Direction, head: &[u8], body: &[u8], events: &mut Events) {
        let Some(call) = either(head, "call-id", "i").filter(|call| call.len() <= NAME_LIMIT) else { return };
        if self.call.as_ref().is_some_and(|known| known != call) {
            return;
        }
        let Some(fragment) = fragment_in(body) else { return };
        self.call.get_or_insert_with(|| call.to_vec());
        *self.fragments.of_mut(dir) = Some(fragment);
        if let Ends { orig: Some(orig), resp: Some(resp) } = &self.fragments
            && let Some(link) = link_of(orig, resp)
        {
            self.linked = true;
            events.link(at, dir, link);
        }
    }

    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.done, true) {
            events.settled(at, dir);
        }
    }
}

/// A field by its name or its short form (RFC 3261, 7.3.3).
fn either<'h>(head: &'h [u8], long: &str, short: &str) -> Option<&'h [u8]> {
    fields(head, long).next().or_else(|| fields(head, short).next())
}

/// What names a request and its answers: the call and the number.
fn named(head: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (call, number) = (either(head, "call-id", "i")?, fields(head, "cseq").next()?);
    (call.len() <= NAME_LIMIT && number.len() <= NAME_LIMIT).then(|| (call.to_vec(), number.to_vec()))
}

/// Bytes of the body; one that is no number, or too large, is more than is ever held.
fn length(head: &[u8]) -> usize {
    let Some(value) = either(head, "content-length", "l") else { return 0 };
    let digit = |n: usize, b: &u8| n.saturating_mul(10).saturating_add(usize::from(b.saturating_sub(b'0')));
    if value.iter().all(u8::is_ascii_digit) { value.iter().fold(0, digit) } else { usize::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn message(first: &str, call: &str, more: &str, body: &str) -> Vec<u8> {
        let via = "Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds\r\nCSeq: 314159 INVITE\r\n";
        let len = body.len();
        format!("{first}\r\n{via}Call-ID: {call}\r\n{more}Content-Length: {len}\r\n\r\n{body}").into_bytes()
    }

    fn description(fragment: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 9 RTP/SAVPF 0\r\na=ice-ufrag:{fragment}\r\na=mid:0\r\n"
        )
    }

    /// A call between Alice and Bob, after RFC 3261, 24.2, with ICE.
    fn call(name: &str, fragments: [&str; 2]) -> Vec<(Direction, Vec<u8>)> {
        let [offer, answer] = fragments.map(description);
        let sdp = "Content-Type: application/sdp\r\n";
        vec![
            (
                Orig,
                message(
                    "INVITE sip:bob@biloxi.example SIP/2.0",
                    name,
                    &format!("User-Agent: phone/1\r\n{sdp}"),
                    &offer,
                ),
            ),
            (Resp, message("SIP/2.0 180 Ringing", name, "Server: proxy/2\r\n", "")),
            (Resp, message("SIP/2.0 200 OK", name, sdp, &answer)),
            (Orig, message("ACK sip:bob@192.0.2.4 SIP/2.0", name, "", "")),
        ]
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: Option<usize>) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        piece.map_or_else(|| testkit::datagrams(&SIP, &turns), |piece| testkit::stream(&SIP, &turns, piece))
    }

    fn links(events: &[Event]) -> Vec<EventKind> {
        events.iter().map(|event| event.kind.clone()).filter(|kind| matches!(kind, EventKind::Link(_))).collect()
    }

    fn confirmed(events: &[Event]) -> bool {
        events.iter().any(|event| event.kind == EventKind::Confirmed)
    }

    #[test]
    fn a_call_is_read_and_linked_over_udp_and_tcp() {
        for piece in [None, Some(7), Some(4_096)] {
            let events = run(&call("a84b4c76e66710", ["abcd", "wxyz"]), piece);
            assert!(confirmed(&events));
            let told = [METHOD, STATUS, USER_AGENT, SERVER].map(|key| testkit::said(&events, key));
            assert_eq!(told, [Some("INVITE"), Some("200"), Some("phone/1"), Some("proxy/2")]);
            assert_eq!(links(&events), [EventKind::Link(link_of(b"abcd", b"wxyz").unwrap())]);
        }
    }

    #[test]
    fn calls_are_not_mixed_up() {
        let (one, other) = (call("one", ["abcd", "wxyz"]), call("other", ["efgh", "stuv"]));
        let crossed = [one[0].clone(), other[0].clone(), other[2].clone(), one[2].clone()];
        assert_eq!(links(&run(&crossed, None)), [EventKind::Link(link_of(b"abcd", b"wxyz").unwrap())]);
        assert_eq!(links(&run(&[one[0].clone(), other[2].clone()], None)), []);
        // Both ends with the same fragment, and a call without ICE.
        assert_eq!(links(&run(&call("x", ["abcd", "abcd"]), None)), []);
        assert_eq!(links(&run(&[(Orig, message("INVITE sip:b SIP/2.0", "x", "", "v=0\r\n"))], None)), []);
    }

    #[test]
    fn an_answer_bears_its_requests_names() {
        let mut turns = call("one", ["abcd", "wxyz"]);
        turns[1] = (Resp, message("SIP/2.0 180 Ringing", "other", "", ""));
        turns[2] = (Orig, message("SIP/2.0 200 OK", "one", "", ""));
        assert!(!confirmed(&run(&turns, None)));
    }

    #[test]
    fn what_looks_alike_is_told_apart() {
        for carrier in [Carrier::Stream, Carrier::Datagram] {
            let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&SIP, carrier, orig, resp);
            assert_eq!(probe(b"REGISTER sip:registrar.example SIP/2.0\r\n", b""), Probe::Match);
            assert_eq!(probe(b"", b"SIP/2.0 200 OK\r\n"), Probe::Match);
            for other in
                [&b"OPTIONS rtsp://a RTSP/1.0\r\n"[..], b"GET / HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\r\n", b"\0\x01"]
            {
                assert_eq!(probe(other, b""), Probe::NoMatch);
                assert_eq!(probe(other, b"SIP/2.0 400 Bad Request\r\n"), Probe::NoMatch);
            }
            let more = if carrier == Carrier::Stream { Probe::NeedMore } else { Probe::NoMatch };
            assert_eq!((probe(b"REGISTER sip:a", b""), probe(b"\r\n\r\n", b"")), (more, more));
        }
    }

    #[test]
    fn a_stream_is_read_message_by_message() {
        let mut turns = call("one", ["abcd", "wxyz"]);
        turns.insert(0, (Orig, b"\r\n\r\n".to_vec()));
        turns.insert(1, (Resp, b"\r\n".to_vec()));
        let joined: Vec<u8> =
            turns.iter().filter(|(dir, _)| *dir == Orig).flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(links(&run(&[(Orig, joined), turns[4].clone()], Some(4_096))).len(), 1);
        // A length beyond what is held, and bytes that are no message.
        for behind in [&b"INVITE sip:b SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n"[..], b"hello\r\n"] {
            let long = [behind, &[b'x'; 70_000]].concat();
            let events = run(&[(Orig, long)], Some(1_000));
            assert_eq!(events.last().map(|event| &event.kind), Some(&EventKind::Settled));
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..200, tail in "[a-zA-Z:/\r\n ]{0,30}") {
            let mut turns = call("one", ["abcd", "wxyz"]);
            turns.push((Resp, tail.into_bytes()));
            prop_assert_eq!(run(&turns, Some(piece)), run(&turns, Some(usize::MAX)));
        }

        #[test]
        fn random_bytes_never_panic(turns in proptest::collection::vec(
            (any::<bool>(), "(INVITE sip:a SIP/2.0\r\n|SIP/2.0 200 OK\r\n|l: 3\r\n|i: x\r\n)?", proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            0..8,
        )) {
            let mut all = Vec::new();
            for (orig, first, bytes, ends) in turns {
                let said = [first.as_bytes(), &bytes, if ends { b"\r\n\r\n" } else { b"" }].concat();
                testkit::probe(&SIP, Carrier::Stream, &said, &bytes);
                all.push((if orig { Orig } else { Resp }, said));
            }
            run(&all, Some(3));
            run(&all, None);
        }
    }
}
