//! X11: a program asks a display server for leave to draw, and the display says what it is.
//!
//! Reads: the connection setup of both ends in either byte order. Emits: how the program proves itself, what became of
//! it, the display's vendor, release and first screen, and two closed loops. Does not: read requests and events, or keep
//! the authorization's data.
//!
//! The server of X11 is where the screen and the keyboard are; the client is the program.
//!
//! Reference: X Window System Protocol, X Version 11, Release 7.7, chapter 8 and appendix B.

use crate::base::{Direction, Ends, Layer, Link, Reader, Timestamp};
use crate::protocol::codec::{Inbox, printable};
use crate::protocol::{Analyzer, Carrier, Category, Events, Key, Opening, Pdu, Probe, Protocol};

/// The registry's entry. Displays 0 to 5, and those that SSH forwards (10 and up).
pub(crate) static X11: Protocol = Protocol {
    name: "x11",
    category: Category::RemoteDesktop,
    carriers: &[Carrier::Stream],
    ports: &[6000, 6001, 6002, 6003, 6004, 6005, 6010, 6011, 6012],
    attributes: &[AUTH, RESULT, REASON, VENDOR, RELEASE, SCREEN],
    signs: &[],
    lasting: false,
    probe,
    analyzer: || Box::new(X11Setup::default()),
};

const AUTH: Key = "x11.auth";
const RESULT: Key = "x11.result";
const REASON: Key = "x11.reason";
const VENDOR: Key = "x11.vendor";
const RELEASE: Key = "x11.release";
const SCREEN: Key = "x11.screen";

/// The reply's length is counted in 16 bits of four bytes.
const INBOX_LIMIT: usize = 8 + 4 * 65_535;
/// Bytes of a setup request before the names.
const REQUEST: usize = 12;
/// The longest authorization name and data taken; MIT-MAGIC-COOKIE-1 has 18 and 16 bytes, Kerberos tickets more.
const NAME_LIMIT: usize = 64;
const DATA_LIMIT: usize = 4_096;
/// Characters of a vendor or reason that are kept.
const TEXT_KEPT: usize = 255;

fn probe(opening: &Opening<'_>) -> Probe {
    let (asked, order) = match Setup::read(opening.sent.orig) {
        Unit::Not => return Probe::NoMatch,
        Unit::More => (Probe::NeedMore, opening.sent.orig.first().and_then(|byte| Order::of(*byte))),
        Unit::Whole(setup) => (Probe::Match, Some(setup.order)),
    };
    match Answer::is_possible(opening.sent.resp, order) {
        false => Probe::NoMatch,
        true => asked,
    }
}

/// The byte order of a connection, which its client chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl Order {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'B' => Some(Self::Big),
            b'l' => Some(Self::Little),
            _ => None,
        }
    }

    fn u16(self, reader: &mut Reader<'_>) -> Option<u16> {
        let bytes = reader.array()?;
        Some(if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, reader: &mut Reader<'_>) -> Option<u32> {
        let bytes = reader.array()?;
        Some(if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// How version 11.0 is written.
    const fn version(self) -> [u8; 4] {
        match self {
            Self::Big => [0, 11, 0, 0],
            Self::Little => [11, 0, 0, 0],
        }
    }
}

enum Unit<T> {
    More,
    Not,
    Whole(T),
}

/// The client's connection setup.
#[derive(Debug, Clone, Copy)]
struct Setup<'a> {
    order: Order,
    auth: &'a [u8],
    size: usize,
}

impl<'a> Setup<'a> {
    fn read(bytes: &'a [u8]) -> Unit<Self> {
        let Some(first) = bytes.first() else { return Unit::More };
        let Some(order) = Order::of(*first) else { return Unit::Not };
        let after = bytes.get(2..).unwrap_or_default();
        if !after.iter().zip(order.version()).all(|(a, b)| *a == b) {
            return Unit::Not;
        }
        let Some(lengths) = bytes.get(6..REQUEST) else { return Unit::More };
        let mut reader = Reader::new(lengths);
        let (Some(name), Some(data)) = (order.u16(&mut reader), order.u16(&mut reader)) else { return Unit::Not };
        let (name, data) = (usize::from(name), usize::from(data));
        if name > NAME_LIMIT || data > DATA_LIMIT {
            return Unit::Not;
        }
        let text = bytes.get(REQUEST..).unwrap_or_default();
        let text = text.get(..name).unwrap_or(text);
        if !text.iter().all(u8::is_ascii_graphic) {
            return Unit::Not;
        }
        let size = REQUEST + name.next_multiple_of(4) + data.next_multiple_of(4);
        if bytes.len() < size { Unit::More } else { Unit::Whole(Self { order, auth: text, size }) }
    }
}

/// The server's.
#[derive(Debug, Clone, Copy)]
enum Answer<'a> {
    Refused(&'a [u8]),
    Accepted(&'a [u8]),
    MoreNeeded(&'a [u8]),
}

impl<'a> Answer<'a> {
    /// Whether these bytes may begin an answer in this order; in an unknown one, if either fits.
    fn is_possible(bytes: &[u8], order: Option<Order>) -> bool {
        let orders = [Order::Big, Order::Little];
        let version = bytes.get(2..).unwrap_or_default();
        let fits = |o: &Order| version.iter().zip(o.version()).all(|(a, b)| *a == b);
        match bytes.first() {
            None | Some(2) => true,
            Some(0 | 1) => orders.iter().filter(|o| order.is_none_or(|known| known == **o)).any(fits),
            Some(_) => false,
        }
    }

    /// Also says how long it is.
    fn read(bytes: &'a [u8], order: Order) -> Unit<(Self, usize)> {
        if !Self::is_possible(bytes, Some(order)) {
            return Unit::Not;
        }
        let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return Unit::More };
        let [kind, reason, _, _, _, _, a, b] = *head;
        let Some(words) = order.u16(&mut Reader::new(&[a, b])) else { return Unit::Not };
        let len = 4 * usize::from(words);
        let Some(body) = rest.get(..len) else { return Unit::More };
        let answer = match kind {
            0 => Self::Refused(body.get(..usize::from(reason)).unwrap_or(body)),
            1 => Self::Accepted(body),
            _ => Self::MoreNeeded(body),
        };
        Unit::Whole((answer, 8 + len))
    }
}

/// What a display says of itself.
struct Display<'a> {
    release: u32,
    vendor: &'a [u8],
    /// Width and height of the first screen, in pixels.
    screen: Option<(u16, u16)>,
}

impl<'a> Display<'a> {
    fn read(body: &'a [u8], order: Order) -> Option<Self> {
        let mut reader = Reader::new(body);
        let release = order.u32(&mut reader)?;
        // Resource ids and the size of the motion buffer.
        reader.take(12)?;
        let vendor_len = usize::from(order.u16(&mut reader)?);
        // The largest request, the number of screens.
        reader.take(3)?;
        let formats = usize::from(reader.u8()?);
        // Image orders, scanlines, key codes, and what is unused.
        reader.take(10)?;
        let vendor = reader.take(vendor_len)?;
        reader.take(vendor_len.next_multiple_of(4) - vendor_len)?;
        reader.take(8 * formats)?;
        // Root window, colours and event mask.
        let screen = reader.take(20).and_then(|_| Some((order.u16(&mut reader)?, order.u16(&mut reader)?)));
        Some(Self { release, vendor, screen })
    }
}

/// What is awaited.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Setup,
    Answer(Order),
    /// The program's first request.
    Request,
    Done,
}

#[derive(Debug)]
struct X11Setup {
    inboxes: Ends<Inbox>,
    stage: Stage,
}

impl Default for X11Setup {
    fn default() -> Self {
        let inboxes = Ends { orig: Inbox::new(INBOX_LIMIT), resp: Inbox::new(INBOX_LIMIT) };
        Self { inboxes, stage: Stage::Setup }
    }
}

impl Analyzer for X11Setup {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if self.stage == Stage::Done {
            return;
        }
        if self.stage == Stage::Request {
            self.on_first_request(pdu, events);
            return;
        }
        if !self.inboxes.of_mut(pdu.dir).push(pdu.at, pdu.bytes) {
            self.give_up(pdu.at, pdu.dir, "x11.beyond-buffer", events);
            return;
        }
        if self.stage == Stage::Setup {
            self.on_setup(events);
        }
        if let Stage::Answer(order) = self.stage {
            self.on_answer(order, events);
        }
    }
}

impl X11Setup {
    fn on_setup(&mut self, events: &mut Events) {
        let inbox = &mut self.inboxes.orig;
        let dir = Direction::Orig;
        match Setup::read(inbox.bytes()) {
            Unit::More => {}
            Unit::Not => {
                let at = inbox.time_of(0);
                self.give_up(at, dir, "x11.no-setup", events);
            }
            Unit::Whole(setup) => {
                let at = inbox.time_of(setup.size - 1);
                let auth = if setup.auth.is_empty() { "none".to_owned() } else { printable(setup.auth, NAME_LIMIT) };
                events.attribute(at, dir, AUTH, auth);
                events.ask(at, dir, Layer::X11, "setup");
                self.stage = Stage::Answer(setup.order);
                let size = setup.size;
                inbox.consume(size);
            }
        }
    }

    fn on_answer(&mut self, order: Order, events: &mut Events) {
        let inbox = &self.inboxes.resp;
        let dir = Direction::Resp;
        let (answer, size) = match Answer::read(inbox.bytes(), order) {
            Unit::More => return,
            Unit::Not => {
                let at = inbox.time_of(0);
                self.give_up(at, dir, "x11.no-answer", events);
                return;
            }
            Unit::Whole(whole) => whole,
        };
        let (first, at) = (inbox.time_of(0), inbox.time_of(size - 1));
        events.answer(first, dir, Layer::X11, "setup");
        events.confirmed(at, dir);
        events.link(at, dir, Link::Pair("x11"));
        match answer {
            Answer::Accepted(body) => {
                events.attribute(at, dir, RESULT, "accepted");
                if let Some(display) = Display::read(body, order) {
                    tell_display(at, &display, events);
                }
                events.ask(at, dir, Layer::X11, "setup-reply");
                self.stage = Stage::Request;
            }
            Answer::Refused(reason) | Answer::MoreNeeded(reason) => {
                let result = if matches!(answer, Answer::Refused(_)) { "refused" } else { "more-needed" };
                events.attribute(at, dir, RESULT, result);
                let end = reason.iter().rposition(|byte| !matches!(byte, 0 | b'\n')).map_or(0, |last| last + 1);
                events.attribute(at, dir, REASON, printable(reason.get(..end).unwrap_or(reason), TEXT_KEPT));
                self.settle(at, dir, events);
            }
        }
    }

    /// No request can be made before the answer gave the ids to make it with.
    fn on_first_request(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        if pdu.dir == Direction::Orig {
            events.answer(pdu.at, pdu.dir, Layer::X11, "setup-reply");
            self.settle(pdu.at, pdu.dir, events);
        }
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

fn tell_display(at: Timestamp, display: &Display<'_>, events: &mut Events) {
    let dir = Direction::Resp;
    events.attribute(at, dir, VENDOR, printable(display.vendor, TEXT_KEPT));
    events.attribute(at, dir, RELEASE, display.release.to_string());
    if let Some((width, height)) = display.screen {
        events.attribute(at, dir, SCREEN, format!("{width}x{height}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Direction::{Orig, Resp};
    use crate::protocol::testkit::{self, Turn};
    use crate::protocol::{Event, EventKind};
    use proptest::prelude::*;

    fn word(order: Order, value: u16) -> [u8; 2] {
        if order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn setup(order: Order, auth: &[u8]) -> Vec<u8> {
        let mut out = vec![if order == Order::Big { b'B' } else { b'l' }, 0];
        out.extend(order.version());
        out.extend(word(order, u16::try_from(auth.len()).unwrap()));
        let data = if auth.is_empty() { 0 } else { 16 };
        out.extend(word(order, data));
        out.extend([0, 0]);
        out.extend(auth);
        out.resize(out.len().next_multiple_of(4) + usize::from(data), 0);
        out
    }

    fn answer(order: Order, kind: u8, reason: u8, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let mut out = vec![kind, reason];
        out.extend(order.version());
        out.extend(word(order, u16::try_from(body.len() / 4).unwrap()));
        out.extend(body);
        out
    }

    /// A display of one screen of 1280 by 1024 pixels, with two pixmap formats.
    fn display(order: Order) -> Vec<u8> {
        let mut body =
            if order == Order::Big { 12_101_007u32.to_be_bytes() } else { 12_101_007u32.to_le_bytes() }.to_vec();
        body.extend([0; 12]);
        body.extend(word(order, 20));
        body.extend([0xff, 0xff, 1, 2]);
        body.extend([0; 10]);
        body.extend(b"The X.Org Foundation");
        body.extend([1; 16]);
        body.extend([0; 20]);
        body.extend(word(order, 1_280));
        body.extend(word(order, 1_024));
        body.extend([0; 16]);
        answer(order, 1, 0, &body)
    }

    fn run(turns: &[(Direction, Vec<u8>)], piece: usize) -> Vec<Event> {
        let turns: Vec<Turn<'_>> = turns.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        testkit::stream(&X11, &turns, piece)
    }

    fn dialogue(order: Order) -> Vec<(Direction, Vec<u8>)> {
        vec![(Orig, setup(order, b"MIT-MAGIC-COOKIE-1")), (Resp, display(order)), (Orig, vec![98, 0, 5, 0])]
    }

    #[test]
    fn a_setup_is_read_in_either_byte_order() {
        for order in [Order::Big, Order::Little] {
            let events = run(&dialogue(order), 4096);
            for (key, value) in [
                (AUTH, "MIT-MAGIC-COOKIE-1"),
                (RESULT, "accepted"),
                (VENDOR, "The X.Org Foundation"),
                (RELEASE, "12101007"),
                (SCREEN, "1280x1024"),
            ] {
                assert_eq!(testkit::said(&events, key), Some(value), "{key}");
            }
            assert!(events.iter().any(|e| e.kind == EventKind::Confirmed));
            let at = testkit::at;
            assert_eq!(testkit::loops(&events), [(at(0), at(1), "setup"), (at(1), at(2), "setup-reply")]);
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let order = Order::Little;
        let no = b"No protocol specified\n";
        let refused = run(&[(Orig, setup(order, b"")), (Resp, answer(order, 0, 22, no))], 4096);
        let told = [(AUTH, "none"), (RESULT, "refused"), (REASON, "No protocol specified")];
        assert!(told.iter().all(|(key, value)| testkit::said(&refused, key) == Some(value)), "{refused:?}");
        let more = run(&[(Orig, setup(order, b"")), (Resp, answer(order, 2, 0, b"again"))], 4096);
        assert_eq!(testkit::said(&more, RESULT), Some("more-needed"));
    }

    #[test]
    fn others_that_begin_alike_are_not_x11() {
        let probe = |orig: &[u8], resp: &[u8]| testkit::probe(&X11, Carrier::Stream, orig, resp);
        let little = setup(Order::Little, b"MIT-MAGIC-COOKIE-1");
        assert_eq!((probe(&little, b""), probe(&little[..11], b"")), (Probe::Match, Probe::NeedMore));
        assert_eq!(probe(&little, &display(Order::Little)), Probe::Match);
        assert_eq!(probe(&little, &display(Order::Big)), Probe::NoMatch);
        assert_eq!(probe(&little, b"HTTP/1.1 400"), Probe::NoMatch);
        // D-Bus begins with its byte order too; letters; another version; an authorization that is no name.
        assert_eq!(probe(b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00", b""), Probe::NoMatch);
        assert_eq!(probe(b"ls -l\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(b"Bye\r\n", b""), Probe::NoMatch);
        assert_eq!(probe(b"B\0\0\x0a\0\0\0\0\0\0\0\0", b""), Probe::NoMatch);
        assert_eq!(probe(b"B\0\0\x0b\0\0\0\x02\0\0\0\0\x01\x02\0\0", b""), Probe::NoMatch);
        assert_eq!(probe(b"", &display(Order::Big)), Probe::NeedMore);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(piece in 1usize..80, big: bool) {
            let turns = dialogue(if big { Order::Big } else { Order::Little });
            prop_assert_eq!(run(&turns, piece), run(&turns, usize::MAX));
        }

        #[test]
        fn random_bytes_never_panic(
            kept in 0usize..3,
            turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
        ) {
            let mut all = dialogue(Order::Little);
            all.truncate(kept);
            all.extend(turns.iter().map(|(orig, bytes)| (if *orig { Orig } else { Resp }, bytes.clone())));
            run(&all, 3);
            for (_, bytes) in &turns {
                testkit::probe(&X11, Carrier::Stream, bytes, bytes);
                run(&[(Orig, setup(Order::Big, b"")), (Resp, answer(Order::Big, 1, 0, bytes))], 4096);
            }
        }
    }
}
