//! WebSocket: what an HTTP connection has become, and which remote-desktop, shell, VPN or proxy protocol is in it.
//!
//! Reads: the frames behind the accepted upgrade, handed over by HTTP; once it is known what they carry, the headers
//! and control frames alone, as long as the connection lasts. Emits: what the cargo's own reader tells, and
//! that the session is the cargo's (noVNC and websockify put RFB in a WebSocket, other gateways SSH; RustDesk puts one
//! of its messages in each); the link to a call that is set up in JSON (Janus, `PiKVM`, `JetKVM`) or SIP; the loop from a ping
//! to its pong, which brings the same bytes back. Does not: read compressed messages, or look into what is none of
//! these.
//!
//! Reference: RFC 6455, of which 5.5.2 and 5.5.3 tell ping and pong; websockify, whose older versions wrap binary bytes in base64 and text messages.

use crate::base::{Direction, Ends, Layer, Piece, Timestamp};
use crate::protocol::codec::ice::{fragment_in, link_of};
use crate::protocol::codec::sip_line::{Line, line};
use crate::protocol::codec::websocket::{Frames, Kind, Part};
use crate::protocol::{
    Analyzer, Carrier, Category, EventKind, Events, IN_MESSAGES, Opening, Pdu, Probe, Protocol, REGISTRY, named,
};

/// The registry's entry. HTTP hands over to it; nothing else shows that a stream is one.
pub(crate) static WEBSOCKET: Protocol = Protocol {
    name: "websocket",
    category: Category::Web,
    carriers: &[],
    ports: &[],
    attributes: &[],
    signs: &[],
    lasting: true,
    probe: |_| Probe::NoMatch,
    analyzer: || Box::new(WebSocket::default()),
};

/// Bytes of each end that the cargo's probes get to see; as many as a flow's.
const PROBE_LIMIT: usize = 2_048;
/// How `RFB 00` begins in base64.
const RFB_BASE64: &[u8] = b"UkZCIDAw";
/// A text message in base64 that is kept until it is whole: the longest one of an RFB handshake is a desktop's name.
/// Or a browser's session description.
const TEXT_LIMIT: usize = 16 * 1024;
/// Messages of JSON among which the descriptions of a call are looked for: a page asks for its own state first.
const JSON_LIMIT: u16 = 200;

/// Bytes that are read for the cargo; as many as any reader gets.
const READ_LIMIT: usize = 256 * 1024;
const PING: &str = "ping";

struct WebSocket {
    stage: Stage,
    frames: Ends<Frames>,
    /// The payload of an unfinished control frame of each end.
    control: Ends<Vec<u8>>,
    /// What each end has asked with its latest ping, while that is unanswered.
    pings: Ends<Option<Vec<u8>>>,
    /// Bytes read.
    read: usize,
    cargo: Cargo,
    /// An unfinished text message of each end.
    text: Ends<Vec<u8>>,
    /// The client's first binary message, until it is whole or too long to be a message protocol's.
    first: Option<Vec<u8>>,
    /// As a stream the cargo is nobody's.
    no_stream: bool,
    /// ICE's user fragment that each end has named in JSON.
    fragments: Ends<Option<Vec<u8>>>,
    /// Messages of JSON.
    json: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Messages are read.
    Reading,
    /// They are passed over; pings are timed.
    Timing,
    Over,
}

enum Cargo {
    Unknown(Unknown),
    Known(Known),
}

/// What both ends have said while nobody knows whose it is.
#[derive(Default)]
struct Unknown {
    kept: Ends<Vec<u8>>,
    order: Vec<Piece>,
    refused: Vec<&'static str>,
}

/// The cargo's reader.
struct Known {
    protocol: &'static Protocol,
    reader: Box<dyn Analyzer>,
    /// How it reads: as a stream, or message by message.
    carrier: Carrier,
    /// An unfinished message of each end.
    message: Ends<Vec<u8>>,
    inner: Events,
    /// The session has been given the cargo's name.
    told: bool,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            stage: Stage::Reading,
            frames: Ends::default(),
            control: Ends::default(),
            pings: Ends::default(),
            read: 0,
            cargo: Cargo::Unknown(Unknown::default()),
            text: Ends::default(),
            first: Some(Vec::new()),
            no_stream: false,
            fragments: Ends::default(),
            json: 0,
        }
    }
}

impl Analyzer for WebSocket {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        let mut bytes = pdu.bytes;
        self.read = self.read.saturating_add(bytes.len());
        if self.read > READ_LIMIT {
            self.conclude(pdu.at, pdu.dir, events);
        }
        while self.stage != Stage::Over {
            let frames = self.frames.of_mut(pdu.dir);
            let part = match self.stage {
                Stage::Reading => frames.next(pdu.at, &mut bytes),
                _ => frames.next_control(pdu.at, &mut bytes),
            };
            match part {
                Ok(Some(part)) => self.on_part(pdu.at, pdu.dir, part, events),
                Ok(None) => return,
                Err(_) => {
                    events.violation(pdu.at, pdu.dir, "websocket.malformed-frame");
                    self.settle(pdu.at, pdu.dir, events);
                }
            }
        }
    }

    fn on_gap(&mut self, at: Timestamp, dir: Direction, _len: u64, events: &mut Events) {
        self.settle(at, dir, events);
    }

    fn on_close(&mut self, at: Timestamp, events: &mut Events) {
        if let Cargo::Known(known) = &mut self.cargo {
            known.reader.on_close(at, &mut known.inner);
            known.tell(at, Direction::Orig, events);
        }
        self.settle(at, Direction::Orig, events);
    }
}

impl WebSocket {
    fn on_part(&mut self, at: Timestamp, dir: Direction, part: Part, events: &mut Events) {
        match part.kind {
            Kind::Ping | Kind::Pong | Kind::Control => self.on_control(at, dir, part, events),
            _ if part.compressed => self.conclude(at, dir, events),
            Kind::Binary => self.on_binary(at, dir, &part, events),
            Kind::Text => {
                let text = self.text.of_mut(dir);
                text.extend(part.bytes);
                let plausible = text.iter().zip(RFB_BASE64).all(|(a, b)| a == b);
                let known = matches!(self.cargo, Cargo::Known(_));
                // SIP describes what it offers as well (RFC 7118).
                let json = !known && !text.is_empty() && (text.first() == Some(&b'{') || line(text) != Line::Not);
                if text.len() > TEXT_LIMIT || !known && !plausible && !json {
                    self.conclude(at, dir, events);
                } else if part.ends {
                    let text = std::mem::take(self.text.of_mut(dir));
                    if json {
                        return self.on_json(at, dir, &text, events);
                    }
                    match base64(&text) {
                        Some(bytes) => self.on_cargo(at, dir, &bytes, events),
                        None => self.conclude(at, dir, events),
                    }
                }
            }
        }
    }

    /// A pong brings back what the latest ping said (RFC 6455, 5.5.3).
    fn on_control(&mut self, at: Timestamp, dir: Direction, part: Part, events: &mut Events) {
        let payload = self.control.of_mut(dir);
        payload.extend(part.bytes);
        if !part.ends {
            return;
        }
        let payload = std::mem::take(payload);
        match part.kind {
            Kind::Ping => {
                *self.pings.of_mut(dir) = Some(payload);
                events.ask(at, dir, Layer::WebSocket, PING);
            }
            Kind::Pong if self.pings.of_mut(dir.flip()).take_if(|asked| *asked == payload).is_some() => {
                events.answer(part.began, dir, Layer::WebSocket, PING);
            }
            _ => {}
        }
    }

    /// A call is set up where both ends have described what they offer.
    fn on_json(&mut self, at: Timestamp, dir: Direction, text: &[u8], events: &mut Events) {
        self.json += 1;
        if let Some(fragment) = fragment_in(text) {
            *self.fragments.of_mut(dir) = Some(fragment);
            if let Ends { orig: Some(orig), resp: Some(resp) } = &self.fragments {
                if let Some(link) = link_of(orig, resp) {
                    events.link(at, dir, link);
                }
                self.fragments = Ends::default();
            }
        }
        if self.json >= JSON_LIMIT {
            self.conclude(at, dir, events);
        }
    }

    /// The client's first message may be one of a protocol that puts its messages in these; otherwise it is a stream.
    fn on_binary(&mut self, at: Timestamp, dir: Direction, part: &Part, events: &mut Events) {
        if let Some(first) = self.first.as_mut().filter(|_| dir == Direction::Orig) {
            first.extend(&part.bytes);
            let too_long = first.len() > PROBE_LIMIT;
            if too_long || part.ends {
                let message = self.first.take().unwrap_or_default();
                let unknown = matches!(self.cargo, Cargo::Unknown(_)) && !too_long;
                if let Some(protocol) = in_messages(&message).filter(|_| unknown) {
                    self.cargo = Cargo::Known(Known::new(protocol, Carrier::Datagram));
                    return self.on_cargo(at, dir, &message, events);
                }
            }
        }
        if let Cargo::Known(known) = &mut self.cargo
            && known.carrier == Carrier::Datagram
        {
            let message = known.message.of_mut(dir);
            message.extend(&part.bytes);
            if message.len() > TEXT_LIMIT {
                self.conclude(at, dir, events);
            } else if part.ends {
                let message = std::mem::take(message);
                self.on_cargo(at, dir, &message, events);
            }
            return;
        }
        if !self.no_stream {
            self.on_cargo(at, dir, &part.bytes, events);
        }
        // A message that has begun may yet be somebody's.
        if self.no_stream && self.first.as_ref().is_none_or(Vec::is_empty) {
            self.conclude(at, dir, events);
        }
    }

    fn on_cargo(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) {
        match &mut self.cargo {
            Cargo::Known(known) => {
                if !known.read(at, dir, bytes, events) {
                    self.conclude(at, dir, events);
                }
            }
            Cargo::Unknown(unknown) => match unknown.look(at, dir, bytes) {
                Look::Open => {}
                Look::Nobodys => self.no_stream = true,
                Look::Is(protocol) => {
                    let pieces = std::mem::take(&mut unknown.order);
                    self.cargo = Cargo::Known(Known::new(protocol, Carrier::Stream));
                    for Piece { at, dir, bytes } in pieces {
                        if self.stage == Stage::Reading {
                            self.on_cargo(at, dir, &bytes, events);
                        }
                    }
                }
            },
        }
    }

    /// What the messages are is known, or nobody's business; from here on pings are timed.
    fn conclude(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if self.stage != Stage::Reading {
            return;
        }
        self.stage = Stage::Timing;
        if let Cargo::Known(known) = &mut self.cargo {
            // Recognised, and neither confirmed nor refuted.
            known.rename(at, dir, events);
        }
        self.cargo = Cargo::Unknown(Unknown::default());
        self.text = Ends::default();
        self.first = None;
        events.established(at, dir);
    }

    /// Frames can't be read any more.
    fn settle(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        self.conclude(at, dir, events);
        if std::mem::replace(&mut self.stage, Stage::Over) != Stage::Over {
            events.settled(at, dir);
        }
    }
}

enum Look {
    Open,
    Nobodys,
    Is(&'static Protocol),
}

impl Unknown {
    /// Asks the probes that have not said no yet.
    fn look(&mut self, at: Timestamp, dir: Direction, bytes: &[u8]) -> Look {
        self.order.push(Piece { at, dir, bytes: bytes.to_vec() });
        let kept = self.kept.of_mut(dir);
        let room = PROBE_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let sent = Ends { orig: self.kept.orig.as_slice(), resp: self.kept.resp.as_slice() };
        let opening = Opening { carrier: Carrier::Stream, sent, before: &[], newest: dir, ports: Ends::default() };
        let mut open = false;
        for protocol in REGISTRY.iter().filter(|protocol| may_be_cargo(protocol)) {
            if self.refused.contains(&protocol.name) {
                continue;
            }
            match (protocol.probe)(&opening) {
                Probe::Match => return Look::Is(protocol),
                Probe::NeedMore => open = true,
                Probe::NoMatch => self.refused.push(protocol.name),
            }
        }
        if open && self.kept.of(dir).len() < PROBE_LIMIT { Look::Open } else { Look::Nobodys }
    }
}

/// The protocol whose message this is.
fn in_messages(message: &[u8]) -> Option<&'static Protocol> {
    let sent = Ends { orig: message, resp: &[][..] };
    let (carrier, newest) = (Carrier::Datagram, Direction::Orig);
    let opening = Opening { carrier, sent, before: &[], newest, ports: Ends::default() };
    let mut entries = IN_MESSAGES.iter().filter_map(|name| named(name));
    entries.find(|protocol| (protocol.probe)(&opening) == Probe::Match)
}

/// The web in a WebSocket is of no interest.
fn may_be_cargo(protocol: &Protocol) -> bool {
    let kind = match protocol.category {
        Category::RemoteDesktop | Category::RemoteShell | Category::Kvm | Category::Vpn | Category::Proxy => true,
        _ => protocol.name == "tls",
    };
    kind && protocol.carriers.contains(&Carrier::Stream)
}

impl Known {
    fn new(protocol: &'static Protocol, carrier: Carrier) -> Self {
        let reader = (protocol.analyzer)();
        Self { protocol, reader, carrier, message: Ends::default(), inner: Events::default(), told: false }
    }

    /// Gives the reader its bytes; `false` if there is nothing more to be learned.
    fn read(&mut self, at: Timestamp, dir: Direction, bytes: &[u8], events: &mut Events) -> bool {
        self.reader.on_pdu(&Pdu { at, dir, bytes, carrier: self.carrier, missing: 0 }, &mut self.inner);
        self.tell(at, dir, events)
    }

    /// Passes on what the reader told; `false` if it has done.
    fn tell(&mut self, at: Timestamp, dir: Direction, events: &mut Events) -> bool {
        let mut goes_on = true;
        let mut next = None;
        let told: Vec<_> = self.inner.drain().collect();
        for event in told {
            match event.kind {
                EventKind::Handover { to, rest, .. } => next = Some((to, rest)),
                EventKind::Settled => goes_on = false,
                EventKind::Becomes { .. } => {}
                EventKind::Confirmed => {
                    self.rename(at, dir, events);
                    events.confirmed(event.at, event.dir);
                }
                // What the probe took it for it is not: the session stays a WebSocket.
                EventKind::Violation(_) => {
                    self.told = true;
                    events.pass_on(event);
                }
                _ => events.pass_on(event),
            }
        }
        // TLS inside RFB, say. The WebSocket is what carries both.
        let Some((to, rest)) = next else { return goes_on };
        let Some(child) = named(to) else { return false };
        self.reader = (child.analyzer)();
        rest.into_iter().all(|Piece { at, dir, bytes }| self.read(at, dir, &bytes, events))
    }

    fn rename(&mut self, at: Timestamp, dir: Direction, events: &mut Events) {
        if !std::mem::replace(&mut self.told, true) {
            events.becomes(at, dir, self.protocol.name, Some(WEBSOCKET.name));
        }
    }
}

/// The bytes that base64 stands for (RFC 4648, 4), padded.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = text.get(..text.len() - padding)?;
    if padding > 2 || !text.len().is_multiple_of(4) {
        return None;
    }
    let (mut bits, mut held) = (0u32, 0);
    for byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held).to_le_bytes()[0]);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, Fault};
    use proptest::prelude::*;

    /// One frame; a client's with the mask 1, 2, 3, 4.
    fn frame(dir: Direction, first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        if dir == Resp {
            return [&[first, length][..], payload].concat();
        }
        let mask = [1, 2, 3, 4];
        let masked: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        [&[first, length | 0x80][..], &mask, &masked].concat()
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&WEBSOCKET, &turns, piece)
    }

    fn vnc() -> Vec<(Direction, Vec<u8>)> {
        let said: [Turn<'_>; 6] = [
            (Resp, b"RFB 003.008\n"),
            (Orig, b"RFB 003.008\n"),
            (Resp, &[1, 1]),
            (Orig, &[1]),
            (Resp, &[0, 0, 0, 0]),
            (Orig, &[1]),
        ];
        let mut turns: Vec<_> = said.iter().map(|(dir, bytes)| (*dir, frame(*dir, 0x82, bytes))).collect();
        let init = b"\x05\x00\x03\x00................\x00\x00\x00\x04desk";
        // A ping between, and the last message in two fragments.
        turns.insert(1, (Resp, frame(Resp, 0x89, b"ping")));
        turns.push((Resp, [frame(Resp, 0x02, &init[..9]), frame(Resp, 0x80, &init[9..])].concat()));
        turns
    }

    fn becomes(events: &[Event]) -> Option<&'static str> {
        events.iter().find_map(|event| match event.kind {
            EventKind::Becomes { to, .. } => Some(to),
            _ => None,
        })
    }

    #[test]
    fn a_desktop_in_binary_messages_is_one() {
        let events = run(&vnc(), 4_096);
        assert_eq!(becomes(&events), Some("rfb"));
        assert_eq!(testkit::said(&events, "rfb.desktop_name"), Some("desk"));
        let at = |wanted: &EventKind| events.iter().position(|event| event.kind == *wanted).unwrap();
        assert!(at(&EventKind::Becomes { to: "rfb", over: Some("websocket") }) < at(&EventKind::Confirmed));
        assert_eq!(events.last().map(|event| &event.kind), Some(&EventKind::Settled));
    }

    #[test]
    fn base64_in_text_messages_too() {
        let turns: Vec<_> = [(Resp, &b"UkZCIDAwMy4wMDgK"[..]), (Orig, b"UkZCIDAwMy4wMDgK"), (Resp, b"AQE=")]
            .iter()
            .map(|(dir, text)| (*dir, frame(*dir, 0x81, text)))
            .collect();
        let events = run(&turns, 4_096);
        assert_eq!(becomes(&events), Some("rfb"));
        assert_eq!(testkit::said(&events, "rfb.security_types"), Some("none"));
        assert_eq!(base64(b"aGk="), Some(b"hi".to_vec()));
        assert_eq!((base64(b"aGk"), base64(b"a*k="), base64(b"===="), base64(b"")), (None, None, None, Some(vec![])));
    }

    /// What Janus says when a page wants to see a screen, and others say.
    fn signalling() -> Vec<(Direction, Vec<u8>)> {
        let offer = br#"{"jsep":{"type":"offer","sdp":"v=0\r\na=ice-ufrag:abcd\r\n"}}"#;
        let answer = br#"{"jsep":{"type":"answer","sdp":"v=0\r\na=ice-ufrag:wxyz\r\n"}}"#;
        let said: [Turn<'_>; 4] =
            [(Orig, br#"{"janus":"create"}"#), (Resp, br#"{"janus":"success"}"#), (Resp, offer), (Orig, answer)];
        said.iter().map(|(dir, text)| (*dir, frame(*dir, 0x81, text))).collect()
    }

    #[test]
    fn a_call_set_up_in_json_is_linked() {
        let events = run(&signalling(), 4_096);
        let links: Vec<_> = events.iter().filter(|event| matches!(event.kind, EventKind::Link(_))).collect();
        assert_eq!(links.len(), 1);
        assert_eq!(links[0].kind, EventKind::Link(link_of(b"abcd", b"wxyz").unwrap()));
        assert_eq!(becomes(&events), None);
        let sip = [
            (Orig, &b"INVITE sip:bob@b.example SIP/2.0\r\n\r\na=ice-ufrag:abcd\r\n"[..]),
            (Resp, b"SIP/2.0 200 OK\r\n\r\na=ice-ufrag:wxyz\r\n"),
        ];
        let sip = sip.map(|(dir, text)| (dir, frame(dir, 0x81, text)));
        assert!(run(&sip, 4_096).iter().any(|event| event.kind == links[0].kind));
        // One end alone, or the same description sent back, sets up nothing.
        for turns in [
            &signalling()[..3],
            &[signalling()[2].clone(), (Orig, frame(Orig, 0x81, br#"{"a":"a=ice-ufrag:abcd\r"}"#))],
        ] {
            assert!(!run(turns, 4_096).iter().any(|event| matches!(event.kind, EventKind::Link(_))));
        }
    }

    /// `RustDesk` at its relay: a session's name, then the peers' greeting, each a message without a frame.
    fn relay() -> Vec<(Direction, Vec<u8>)> {
        let ask = b"\x92\x01\x26\x12\x24123e4567-e89b-12d3-a456-426614174000";
        let key = [&[0x22, 0x54, 0x0a, 0x20][..], &[1; 32], &[0x12, 0x30], &[2; 48]].concat();
        let id = [&[0x0a, 9][..], b"123456789", &[0x12, 32], &[7; 32]].concat();
        let signed = [&[9; 64][..], &id].concat();
        let len = u8::try_from(signed.len()).unwrap();
        let offer = [&[0x1a, len + 2, 0x0a, len][..], &signed].concat();
        let said: [Turn<'_>; 4] = [(Orig, ask), (Resp, &offer), (Orig, &key), (Resp, &[0xee; 90])];
        said.iter().map(|(dir, bytes)| (*dir, frame(*dir, 0x82, bytes))).collect()
    }

    #[test]
    fn messages_without_frames_of_their_own_are_read_one_by_one() {
        let events = run(&relay(), 4_096);
        assert_eq!(becomes(&events), Some("rustdesk"));
        assert_eq!(testkit::said(&events, "rustdesk.role"), Some("relay"));
        assert!(events.iter().any(|event| event.kind == EventKind::Confirmed));
        assert_eq!(testkit::loops(&events).len(), 2);
        // The same behind something else, or cut short, is a WebSocket.
        let other = (Orig, frame(Orig, 0x82, b"\x08\x01\x12\x03abc"));
        let short = (Orig, frame(Orig, 0x82, b"\x92\x01\x26\x12\x24123e4567"));
        for first in [other, short] {
            let turns = [&[first][..], &relay()].concat();
            assert_eq!(becomes(&run(&turns, 4_096)), None);
        }
    }

    #[test]
    fn a_version_line_alone_is_told_at_the_end() {
        let one = run(&[(Resp, frame(Resp, 0x82, b"RFB 003.008\n"))], 4_096);
        assert_eq!(becomes(&one), Some("rfb"));
        assert!(!one.iter().any(|event| event.kind == EventKind::Confirmed));
    }

    #[test]
    fn chat_telemetry_and_compressed_messages_stay_a_websocket() {
        let cases: [(u8, &[u8]); 6] = [
            (0x81, b"RFB 003.008\n"),
            (0x81, b"{\"text\":\"RFB 003.008\\n\"}"),
            (0x82, b"{\"text\":\"RFB 003.008\\n\"}"),
            (0x82, b"\x08\x01\x12\x0cRFB 003.008\n"),
            (0xc2, b"RFB 003.008\n"),
            (0x88, b"\x03\xe8RFB 003.008\n"),
        ];
        for (first, payload) in cases {
            let events = run(&[(Resp, frame(Resp, first, payload)), (Orig, frame(Orig, 0x82, b"ok"))], 4_096);
            assert_eq!(becomes(&events), None, "{payload:?}");
        }
        let broken = run(&[(Resp, b"HTTP/1.1 200 OK\r\n".to_vec())], 4_096);
        assert_eq!(broken[0].kind, EventKind::Violation(Fault("websocket.malformed-frame")));
    }

    /// Pings of both ends around chat, which nobody reads.
    fn pings() -> Vec<(Direction, Vec<u8>)> {
        let chat = |dir| (dir, frame(dir, 0x81, b"see you"));
        let [ping, pong] = [0x89, 0x8a].map(|first| move |dir, said: &[u8]| (dir, frame(dir, first, said)));
        let mut long = vec![0x82, 0x7e, 0x27, 0x10];
        long.resize(4 + 10_000, 0x8a);
        vec![
            chat(Resp),
            ping(Resp, b"1234"),
            pong(Orig, b"1234"),
            (Resp, long),
            ping(Orig, b""),
            ping(Resp, b"5678"),
            pong(Resp, b""),
            chat(Orig),
            pong(Orig, b"5678"),
        ]
    }

    #[test]
    fn a_ping_is_timed_to_its_pong_as_long_as_the_connection_lasts() {
        let events = run(&pings(), 4_096);
        let of = crate::base::Loop { layer: Layer::WebSocket, method: PING };
        let told: Vec<_> = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Ask(told) | EventKind::Answer(told) if told == of))
            .map(|event| (event.at, event.dir, event.kind == EventKind::Ask(of)))
            .collect();
        let loops =
            [(1, Resp, true), (2, Orig, false), (4, Orig, true), (5, Resp, true), (6, Resp, false), (8, Orig, false)];
        assert_eq!(told, loops.map(|(at, dir, asked)| (testkit::at(at), dir, asked)));
        let established = events.iter().filter(|event| event.kind == EventKind::Established).count();
        assert_eq!((established, becomes(&events)), (1, None));
    }

    #[test]
    fn a_pong_that_nobody_asked_for_answers_nothing() {
        let ping = (Resp, frame(Resp, 0x89, b"1234"));
        let pong = |dir, said: &[u8]| (dir, frame(dir, 0x8a, said));
        let close = (Orig, frame(Orig, 0x88, b"1234"));
        let cases: [&[(Direction, Vec<u8>)]; 5] = [
            // A heartbeat of one end, other bytes, its own ping, something else with the same bytes, asked too late.
            &[pong(Orig, b""), pong(Orig, b"")],
            &[ping.clone(), pong(Orig, b"1235"), pong(Orig, b"123")],
            &[ping.clone(), pong(Resp, b"1234")],
            &[ping.clone(), close],
            &[pong(Orig, b"1234"), ping.clone()],
        ];
        for turns in cases {
            assert_eq!(testkit::loops(&run(turns, 4_096)), [], "{turns:02x?}");
        }
        let twice = run(&[ping, pong(Orig, b"1234"), pong(Orig, b"1234")], 4_096);
        assert_eq!(testkit::loops(&twice).len(), 1);
        // Behind bytes that were not captured nobody knows where a frame begins.
        let mut reader = (WEBSOCKET.analyzer)();
        let mut events = Events::default();
        reader.on_gap(testkit::at(0), Resp, 7, &mut events);
        for (dir, bytes) in pings() {
            let pdu = Pdu { at: testkit::at(1), dir, bytes: &bytes, carrier: Carrier::Stream, missing: 0 };
            reader.on_pdu(&pdu, &mut events);
        }
        let told: Vec<_> = events.drain().map(|event| event.kind).collect();
        assert_eq!(told, [EventKind::Established, EventKind::Settled]);
    }

    #[test]
    fn what_is_read_is_bounded() {
        let mut turns = signalling();
        let mut long = vec![0x81, 0x7e, 0x27, 0x10, b'{'];
        long.resize(4 + 10_000, b' ');
        turns.splice(2..2, std::iter::repeat_n((Resp, long), 27));
        // The descriptions come too late.
        assert!(!run(&turns, 4_096).iter().any(|event| matches!(event.kind, EventKind::Link(_))));
        turns.drain(2..4);
        assert!(run(&turns, 4_096).iter().any(|event| matches!(event.kind, EventKind::Link(_))));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..40) {
            prop_assert_eq!(run(&pings(), piece), run(&pings(), usize::MAX));
            prop_assert_eq!(run(&vnc(), piece), run(&vnc(), usize::MAX));
            prop_assert_eq!(run(&signalling(), piece), run(&signalling(), usize::MAX));
            prop_assert_eq!(run(&relay(), piece), run(&relay(), usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..6,
            turns in proptest::collection::vec((any::<bool>(), 0x80u8..0x8b, proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
            raw in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut all = vnc();
            all.truncate(kept);
            for (orig, first, payload) in &turns {
                let dir = if *orig { Orig } else { Resp };
                all.push((dir, frame(dir, *first, payload)));
            }
            all.push((Resp, raw));
            run(&all, 3);
        }
    }
}
